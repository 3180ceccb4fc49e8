"""What all parts of the fake work with, and what it takes."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from ..batches import desk

MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What the service takes; None: as much as comes."""

    max_bytes: int = 2_000 * MB
    """Of a file."""
    max_inline_bytes: int = 20 * MB
    """Of a body that creates a batch."""
    max_batches: int | None = None
    """At once."""
    enqueued_tokens: int | None = None
    """Of the prompts of all batches of a model that are under way."""


Desk: TypeAlias = desk.Desk[Quotas]
