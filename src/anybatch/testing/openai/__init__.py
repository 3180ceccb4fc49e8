"""OpenAI's files and batches: a fake that keeps books of what it would have billed."""

from .fake import FakeOpenAI

__all__ = ["FakeOpenAI"]
