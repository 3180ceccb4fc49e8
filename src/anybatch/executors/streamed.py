"""One answer from the pieces it was streamed in."""

from collections.abc import Sequence
from typing import Any

from ..core.model import Json

_SAID_ANEW = frozenset(("index", "id", "type", "role", "finish_reason"))
"""What a later piece replaces; texts and lists are continued."""


def whole(pieces: Sequence[Json]) -> Json:
    """The answer that chat or completions would have given at once; an error as it is."""
    last = pieces[-1]
    if "choices" not in last:
        return last
    choices: dict[int, Json] = {}
    for piece in pieces:
        for choice in piece["choices"]:
            _extend(choices.setdefault(choice["index"], {}), choice)
    return {
        **last,
        "object": last["object"].removesuffix(".chunk"),
        "choices": [_finished(choices[index]) for index in sorted(choices)],
    }


def _finished(choice: Json) -> Json:
    if "delta" not in choice:
        return choice
    message = choice.pop("delta")
    return {**choice, "message": {"content": None, **message}}


def _extend(so_far: Json, piece: Json) -> None:
    for name, value in piece.items():
        old = so_far.get(name)
        if old is None or name in _SAID_ANEW:
            so_far[name] = value
        elif value is not None:
            so_far[name] = _continued(old, value)


def _continued(old: Any, new: Any) -> Any:
    match old:
        case dict():
            _extend(old, new)
            return old
        case list():
            for entry in new:
                _place(old, entry)
            return old
        case _:
            return old + new


def _place(entries: list[Any], entry: Any) -> None:
    """Continue the entry of the same index, as the calls of tools have one; else add it."""
    index = entry.get("index") if isinstance(entry, dict) else None
    same = next((e for e in entries if index is not None and e.get("index") == index), None)
    if same is None:
        entries.append(entry)
    else:
        _extend(same, entry)
