"""Worlds that are gone when their test is over."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from .harness import NewWorld, World

MEMORY = Path("/dev/shm")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder in memory, where there is one: hundreds of small stores wait for no disk there."""
    folder = MEMORY if os.access(MEMORY, os.W_OK) else None
    with TemporaryDirectory(dir=folder) as path:
        yield Path(path)


@pytest.fixture
def new_world(scratch: Path) -> Iterator[NewWorld]:
    numbers = count()
    with ExitStack() as opened:

        def new(**given: Any) -> World:
            world = World(root=scratch / f"world-{next(numbers)}", **given)
            return opened.enter_context(closing(world))

        yield new
