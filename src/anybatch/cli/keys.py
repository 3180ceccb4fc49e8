"""`anybatch keys`: who may call our server. A key is shown once, when it is made."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ..clock import SystemClock
from ..core.served import ApiKey
from ..errors import UsageError
from ..server.owners import new_key
from ..settings import load
from ..store.served import ServedStore
from .report import print_json

_NAME = re.compile(r"[\w.@-]{1,64}")


def add_command(name: str, store: Path | None, *, as_json: bool, **terms: int | None) -> None:
    """Make a key for the owner `name`; on stdout is the key, which is not kept."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name: use letters, digits and .@_-, 64 at most")
    text, key = new_key(name, now=SystemClock().now(), **terms)
    with _open(store) as there:
        there.add_api_key(key)
    if as_json:
        print_json({**_shown(key), "key": text})
        return
    print(text, flush=True)
    print(f"{key.id} of {name!r}. It is shown this once, and not kept.", file=sys.stderr)


def list_command(store: Path | None, *, as_json: bool) -> None:
    """All keys there were, without the keys."""
    with _open(store) as there:
        keys = there.api_keys()
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    for key in keys:
        print("  ".join((key.id, key.owner, _terms(key), _standing(key))))
    if not keys:
        print("no keys; `anybatch keys add NAME` makes one", file=sys.stderr)


def revoke_command(word: str, store: Path | None, *, as_json: bool) -> None:
    """Take a key back by its id, or all keys of an owner by its name."""
    with _open(store) as there:
        valid = [key for key in there.api_keys() if key.revoked_at is None]
        meant = [key for key in valid if word in (key.id, key.owner)]
        if not meant:
            raise UsageError(f"no valid key is {word!r}, or of {word!r}; see `anybatch keys list`")
        now = SystemClock().now()
        for key in meant:
            there.revoke_api_key(key.id, at=now)
    if as_json:
        print_json([key.id for key in meant])
    else:
        print(f"{', '.join(key.id for key in meant)}: revoked", file=sys.stderr)


@contextmanager
def _open(store: Path | None) -> Iterator[ServedStore]:
    settings = load(folder=Path.cwd(), environment=os.environ, store=store)
    there = ServedStore(settings.home)
    try:
        yield there
    finally:
        there.close()


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.owner,
        "made_at": _date(key.made_at),
        "revoked_at": None if key.revoked_at is None else _date(key.revoked_at),
        "weight": key.weight,
        "rpm": key.rpm,
        "max_batches": key.max_batches,
        "tokens_a_day": key.tokens_a_day,
    }


def _date(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _terms(key: ApiKey) -> str:
    names = ("weight", "rpm", "max_batches", "tokens_a_day")
    said = ((name, getattr(key, name)) for name in names)
    return " ".join(f"{name}={value}" for name, value in said if value is not None)


def _standing(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_date(key.revoked_at)}"
    return f"made {_date(key.made_at)}"
