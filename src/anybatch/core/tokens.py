"""How many tokens a text has, where it can be counted and where it can only be judged."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

BYTES_PER_TOKEN = 4
"""About so many bytes of English text, or of JSON with text in it, are a token."""

_UNKNOWN_BAND = 0.35
"""By so much of itself a count may be off that goes by bytes alone: code and other scripts than the
Latin one have fewer bytes a token, long words more."""
_UNKNOWN_TAUGHT = 0.15
"""The same once a factor is learned: the next table may be in another language."""


class Counted(NamedTuple):
    """How good counts are."""

    how: str
    """In words."""
    band: float
    """The true number is within this share of what was counted."""
    taught: float
    """The same once earlier requests to the model have taught what a token is there."""


class Counter(Protocol):
    """Counts the tokens of texts as one model does, or nearly."""

    counted: Counted

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each."""
        ...


class ByBytes:
    """A judgement by length, for a model whose vocabulary nobody has published."""

    counted = Counted("judged by length", _UNKNOWN_BAND, taught=_UNKNOWN_TAUGHT)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts]


class Learned(NamedTuple):
    """What earlier requests to the same model taught of a way to count."""

    factor: float
    """So many tokens were charged for each that was counted."""
    requests: int
    band: float
    """A count with this factor is within this share of what will be charged."""

    @property
    def words(self) -> str:
        return f"× {self.factor:.3g} as {self.requests:,} earlier requests were charged"


_ENOUGH = 20
"""So many requests teach something."""


def learned(pairs: Sequence[tuple[int, int]], *, taught: float) -> Learned | None:
    """What requests teach that were charged, each given as (counted, charged); None: too few.

    `taught` is the least that a count may be off by: prompts to come may be of other words.
    """
    counted, charged = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    if len(pairs) < _ENOUGH or not counted or not charged:
        return None
    factor = charged / counted
    off = sum((paid - each * factor) ** 2 for each, paid in pairs) ** 0.5 / charged
    return Learned(factor, len(pairs), max(taught, 2 * off))
