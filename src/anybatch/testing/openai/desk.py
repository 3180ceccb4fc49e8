"""What all parts of the fake work with, and what it takes."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from ..batches import desk


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What the service takes; None: as much as comes."""

    max_rows: int
    """Of a batch."""
    max_bytes: int
    """Of its input."""
    enqueued_tokens: int | None
    """Of the prompts of all batches of a model that are under way."""
    max_batches: int | None
    """At once."""
    creations_per_hour: int | None
    unbatched_models: Collection[str]
    """That are not served in batches."""


Desk: TypeAlias = desk.Desk[Quotas]
