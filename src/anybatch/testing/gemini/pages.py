"""Lists, a page at a time: the token of the next page is the name of the last entry on this one."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from .errors import refused


class Named(Protocol):
    @property
    def id(self) -> str: ...


N = TypeVar("N", bound=Named)


def page(
    entries: Sequence[N], query: Mapping[str, str], *, usual: int, most: int
) -> tuple[Sequence[N], dict[str, str]]:
    """The page of `entries` that `query` asks for, and what tells how to go on."""
    text = query.get("pageSize") or "0"
    if not text.isascii() or not text.isdigit():
        raise refused(400, f"Invalid value at 'page_size': {text!r}")
    size = min(int(text) or usual, most)
    rest = entries[_start(entries, query.get("pageToken")) :]
    chosen = rest[:size]
    return chosen, {"nextPageToken": chosen[-1].id} if len(rest) > size else {}


def _start(entries: Sequence[N], token: str | None) -> int:
    if not token:
        return 0
    for place, entry in enumerate(entries, start=1):
        if entry.id == token:
            return place
    raise refused(400, "The page token is not valid.")
