"""What all parts of the fake work with, and what it takes."""

from dataclasses import dataclass
from typing import TypeAlias

from ..batches import desk


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What the service takes; None: as much as comes."""

    max_rows: int = 200_000
    """Of a job."""
    max_batches: int | None = None
    """At once."""
    shards: int = 1
    """So many files the results of a job are parted into."""


Desk: TypeAlias = desk.Desk[Quotas]
