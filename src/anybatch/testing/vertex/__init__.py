"""Vertex AI's jobs and a bucket: a fake that keeps books of what it would have billed."""

from .fake import FakeVertex

__all__ = ["FakeVertex"]
