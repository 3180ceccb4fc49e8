"""Lists, a page at a time, from either side of a batch that the client has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...core.model import Json
from .batch import Batch
from .errors import refused

USUAL: Final = 20
MOST: Final = 1_000


def page(
    batches: Sequence[Batch], query: Mapping[str, str], write: Callable[[Batch], Json]
) -> Json:
    """The page of `batches` that `query` asks for."""
    limit = _limit(query.get("limit", str(USUAL)))
    if "before_id" in query:
        rest = list(batches[: _place(batches, query["before_id"])])
        chosen = rest[-limit:]
    else:
        after = query.get("after_id")
        rest = list(batches[0 if after is None else _place(batches, after) + 1 :])
        chosen = rest[:limit]
    return {
        "data": [write(batch) for batch in chosen],
        "has_more": len(rest) > len(chosen),
        "first_id": chosen[0].id if chosen else None,
        "last_id": chosen[-1].id if chosen else None,
    }


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST:
        return int(text)
    raise refused(400, f"limit: Input should be a number from 1 to {MOST}")


def _place(batches: Sequence[Batch], batch_id: str) -> int:
    for place, batch in enumerate(batches):
        if batch.id == batch_id:
            return place
    raise refused(400, f"There is no message batch {batch_id!r} to page from.")
