"""The event loop that everything runs on."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop that many answers at once wake with one system call, where asyncio's takes one each.

    Each of those calls lets go of the interpreter and has to get it back from whoever works.
    """
    import uvloop  # here, because `--help` needs none

    return uvloop.new_event_loop()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)
