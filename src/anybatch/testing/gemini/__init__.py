"""Gemini's files and batches: a fake that keeps books of what it would have billed."""

from .fake import FakeGemini

__all__ = ["FakeGemini"]
