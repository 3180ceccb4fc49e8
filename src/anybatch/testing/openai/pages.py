"""Lists, a page at a time: the cursor is the id of the last entry that the client has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from ...core.model import Json
from .errors import Refused


class Named(Protocol):
    @property
    def id(self) -> str: ...


N = TypeVar("N", bound=Named)


def page(
    entries: Sequence[N],
    query: Mapping[str, str],
    write: Callable[[N], Json],
    *,
    usual: int,
    most: int,
) -> Json:
    """The page of `entries` that `query` asks for, `usual` of them if it does not say."""
    limit = _limit(query, usual=usual, most=most)
    rest = entries[_start(entries, query.get("after")) :]
    written = [write(entry) for entry in rest[:limit]]
    return {
        "object": "list",
        "data": written,
        "first_id": rest[0].id if written else None,
        "last_id": rest[len(written) - 1].id if written else None,
        "has_more": len(rest) > limit,
    }


def _limit(query: Mapping[str, str], *, usual: int, most: int) -> int:
    text = query.get("limit", str(usual))
    if not text.isascii() or not text.isdigit():
        raise Refused(400, "Invalid 'limit': not an integer.", param="limit", code="invalid_type")
    limit = int(text)
    if 1 <= limit <= most:
        return limit
    side, bound = ("above_max", f"<= {most}") if limit else ("below_min", ">= 1")
    message = f"Invalid 'limit': expected a value {bound}, but got {limit} instead."
    raise Refused(400, message, param="limit", code=f"integer_{side}_value")


def _start(entries: Sequence[N], after: str | None) -> int:
    if after is None:
        return 0
    for place, entry in enumerate(entries, start=1):
        if entry.id == after:
            return place
    raise Refused(400, f"Invalid 'after': no entry {after!r}.", param="after", code="invalid_value")
