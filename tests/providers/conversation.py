"""Holding a flow's conversation by hand: no connection, no clock."""

from collections.abc import Generator
from typing import Any, TypeVar

import msgspec

from anybatch.providers.flow import Call, Reply

T = TypeVar("T")


def held(flow: Generator[Call, Reply, T], *replies: Reply) -> tuple[T, list[Call]]:
    """What a flow returns for these replies, and what it asked."""
    calls = [next(flow)]
    for reply in replies:
        try:
            calls.append(flow.send(reply))
        except StopIteration as end:
            said: T = end.value
            return said, calls
    raise AssertionError(f"the flow wants more: {calls[-1]}")


def ok(value: Any, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status=200, body=msgspec.json.encode(value), headers=named)
