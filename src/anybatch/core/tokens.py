"""How many tokens a text has, where it can be counted and where it can only be judged."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

BYTES_PER_TOKEN = 4
"""About so many bytes of English text, or of JSON with text in it, are a token."""

_UNKNOWN_BAND = 0.35
"""By so much of itself a count may be off that goes by bytes alone: code and other scripts than the
Latin one have fewer bytes a token, long words more."""
_LEARNED_BAND = 0.05


class Counted(NamedTuple):
    """How good counts are."""

    how: str
    """In words."""
    band: float
    """The true number is within this share of what was counted."""


class Counter(Protocol):
    """Counts the tokens of texts as one model does, or nearly."""

    counted: Counted

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each."""
        ...


class ByBytes:
    """A judgement by length, for a model whose vocabulary nobody has published."""

    counted = Counted("judged by length", _UNKNOWN_BAND)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts]


class Learned(NamedTuple):
    """What earlier requests to the same model taught of a way to count."""

    factor: float
    """So many tokens were charged for each that was counted."""
    requests: int

    @property
    def band(self) -> float:
        return _LEARNED_BAND

    @property
    def words(self) -> str:
        return f"× {self.factor:.3g} as {self.requests:,} earlier requests were charged"


def learned(counted: int, charged: int, *, requests: int) -> Learned | None:
    """What `charged` says of `counted`; None if it is too little to say anything."""
    if requests < 20 or not counted or not charged:
        return None
    return Learned(charged / counted, requests)
