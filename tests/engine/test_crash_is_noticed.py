"""The crash tests fail when what they test is missing: each store here lacks one part of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.model import Batch
from anybatch.store.sqlite import SqliteStore

from .harness import Model, World, spec
from .test_crash import NewWorld, broken, deaths_at


class ForgetsWhatIsAnswered(SqliteStore):
    """Who takes a batch over starts from its beginning."""

    def claim(self, batch: Batch, **claiming: Any) -> Batch | None:
        claimed = super().claim(batch, **claiming)
        return None if claimed is None else replace(claimed, journal=())


class KeepsOneSegment(SqliteStore):
    """Who takes a batch over drops what those before it wrote."""

    def save(self, batch: Batch) -> None:
        super().save(replace(batch, journal=batch.journal[-1:]))


class CommitsAtTheEnd(SqliteStore):
    """Results are said to be durable before they are."""

    def save(self, batch: Batch) -> None:
        if batch.owner is None:
            super().save(batch)


class CommitsAhead(SqliteStore):
    """The database says of a result that it is in the journal before it is.

    All results of a batch are of one length here, so the next one's end is known.
    """

    def save(self, batch: Batch) -> None:
        *earlier, last = batch.journal
        ahead = replace(last, size=last.size + last.size // batch.answered)
        super().save(replace(batch, journal=(*earlier, ahead) if batch.owner else batch.journal))


class LosesWhatIsOwned(SqliteStore):
    """Batches of others are not looked at, dead or alive."""

    def batches(self, run_id: str) -> list[Batch]:
        return [batch for batch in super().batches(run_id) if batch.owner is None]


def world_with(new_store: Callable[..., SqliteStore], scratch: Path, **changes: Any) -> NewWorld:
    @contextmanager
    def new_world(name: str) -> Iterator[World]:
        root = scratch / name
        given = {"spec": spec(), "model": Model(), "new_store": new_store, **changes}
        with World(root=root, **given) as world:
            yield world

    return new_world


@pytest.mark.parametrize(
    ("new_store", "name"),
    [
        (ForgetsWhatIsAnswered, "journal.fsync"),
        (KeepsOneSegment, "journal.fsync"),
        (CommitsAtTheEnd, "model.send"),
        (CommitsAhead, "journal.write"),
        (LosesWhatIsOwned, "model.send"),
    ],
)
def test_a_store_that_does_not_recover_is_noticed(
    new_store: Callable[..., SqliteStore], name: str, scratch: Path
) -> None:
    assert broken(deaths_at(name, world_with(new_store, scratch))) != {}
    assert broken(deaths_at(name, world_with(SqliteStore, scratch / "sound"))) == {}


@pytest.mark.parametrize("name", ["plan.mark", "requests.write", "plan.unmark"])
def test_planning_that_is_not_swept_up_is_noticed(name: str, scratch: Path) -> None:
    nobody_knows_it_died = world_with(SqliteStore, scratch, owner="elsewhere")

    assert broken(deaths_at(name, nobody_knows_it_died)) != {}
