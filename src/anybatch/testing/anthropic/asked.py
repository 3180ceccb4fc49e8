"""What a client asks for when it creates a batch: of the rows only the envelope is looked at."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ...wire.reading import is_object
from .errors import refused

MB: Final = 1_000_000
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What the service takes; None: as much as comes."""

    max_rows: int = 100_000
    """Of a batch."""
    max_bytes: int = 256 * MB
    """Of the body that creates one."""
    max_queued: int | None = None
    """Rows of all batches that have not ended."""


class _Element(msgspec.Struct):
    custom_id: Any = UNSET
    params: msgspec.Raw = msgspec.Raw()


class _Create(msgspec.Struct):
    requests: list[_Element]


_CREATE: Final = msgspec.json.Decoder(_Create)


def read_asked(raw: bytes, quotas: Quotas) -> list[tuple[str, msgspec.Raw]]:
    """The rows, which are views of `raw`. Raises Refused for what does not become a batch."""
    try:
        elements = _CREATE.decode(raw).requests
    except (ValueError, RecursionError) as e:
        raise refused(400, f"requests: {e}") from None
    if not elements:
        raise refused(400, "requests: List should have at least 1 item")
    if len(elements) > quotas.max_rows:
        raise refused(400, f"requests: List should have at most {quotas.max_rows} items")
    return list(_checked(elements))


def _checked(elements: list[_Element]) -> Iterator[tuple[str, msgspec.Raw]]:
    names: set[str] = set()
    for place, element in enumerate(elements):
        name, params = element.custom_id, element.params
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            wanted = f"String should match pattern '^{_NAME.pattern}$'"
            raise refused(400, f"requests.{place}.custom_id: {wanted}")
        if name in names:
            raise refused(400, f"requests.{place}.custom_id: {name!r} is there already")
        if not is_object(params):
            raise refused(400, f"requests.{place}.params: Input should be a valid dictionary")
        names.add(name)
        yield name, params
