"""Anthropic's message batches: a fake that keeps books of what it would have billed."""

from .fake import FakeAnthropic

__all__ = ["FakeAnthropic"]
