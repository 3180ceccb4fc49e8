"""Rows come out in input order, each with what stands of it now."""

import csv
import os
import resource
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybatch.core.model import Batch, Result, Run, Segment
from anybatch.effects import unwatched
from anybatch.engine.delivery import results
from anybatch.errors import OutputExists, StoreCorrupt
from anybatch.store.journal import SegmentWriter, segment_path
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import CrashAt, FakeEndpoint, Status, matching
from anybatch.testing.clock import START
from anybatch.wire.jsonl import write_line

from .harness import Model, NewWorld, spec


def test_a_run_that_is_half_done_comes_out_with_its_other_rows_pending(
    new_world: NewWorld,
) -> None:
    world = new_world(spec=spec(), model=Model())
    assert world.die(CrashAt(8, only="journal.fsync"))
    workspace = world.open()
    run = workspace.store.find_run("last")
    answered = sum(workspace.progress(run).counts.values())

    out = world.root / "half.csv"
    workspace.deliver(run, out, force=False, raw=False)

    with out.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["text"] for row in written] == [row["text"] for row in world.rows]
    pending = [row for row in written if row["_outcome"] == "pending"]
    assert 0 < answered < 12
    assert len(pending) == 12 - answered
    assert {row["answer"] for row in pending} == {""}


def test_a_result_that_was_tried_again_takes_the_place_of_the_earlier_one(
    new_world: NewWorld,
) -> None:
    with FakeEndpoint(script=matching("row 003", Status(400), times=1)) as endpoint:
        world = new_world(spec=spec(endpoint.base_url), endpoint=endpoint)
        world.live()
        workspace = world.open()
        run = workspace.store.find_run("last")
        before = [result.outcome for result in workspace.results(run) if result is not None]
        workspace.retry(run, frozenset(["bad_request"]))
        during = [result.outcome for result in workspace.results(run) if result is not None]
        world.live()
        workspace = world.open()
        after = [result.outcome for result in workspace.results(run) if result is not None]

    assert before == during == ["succeeded"] * 3 + ["bad_request"] + ["succeeded"] * 8
    assert after == ["succeeded"] * 12


def test_a_delivery_does_not_overwrite_unless_told_to(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model())
    run = world.live()
    whole = world.out.read_bytes()
    world.out.write_bytes(b"mine")
    workspace = world.open()

    with pytest.raises(OutputExists):
        workspace.deliver(run, world.out, force=False, raw=False)
    assert world.out.read_bytes() == b"mine"
    workspace.deliver(run, world.out, force=True, raw=False)
    assert world.out.read_bytes() == whole


# --- whatever the journals look like ---


def run_of(total: int) -> Run:
    return Run(
        id="run",
        created_at=START,
        source="rows",
        spec=spec(),
        fingerprint="f",
        parts={},
        columns=("text",),
        total=total,
    )


class Journals:
    """Batches whose results are written as their owners would have, segment by segment."""

    def __init__(self, store: SqliteStore, total: int) -> None:
        self.run = run_of(total)
        self.store = store
        store.add_run(self.run, [])
        store.folder(self.run.id).mkdir()

    def write(self, segments: list[list[Result]]) -> None:
        wave = self.run.wave + 1
        held = sorted({result.n for segment in segments for result in segment})
        batch = Batch(
            id=f"run-{wave}-0",
            run_id="run",
            wave=wave,
            part=0,
            status="collected",
            first=held[0] if held else 0,
            size=len(held),
            journal=tuple(
                self._segment(f"run-{wave}-0", token, segment)
                for token, segment in enumerate(segments, start=1)
                if segment
            ),
        )
        assert self.store.add_wave(self.run, [batch], [])
        self.run = self.store.run("run")

    def _segment(self, batch_id: str, token: int, segment: list[Result]) -> Segment:
        path = segment_path(self.store.folder("run"), batch_id, token)
        writer = SegmentWriter(path, probe=unwatched)
        size = writer.append(b"".join(map(write_line, segment)))
        writer.append(b'{"n":0,"outcome":"succeeded"}\n{"torn')  # written, never committed
        writer.close()
        return Segment(token=token, size=size)


def result(n: int, text: str, length: int) -> Result:
    body = msgspec.Raw(msgspec.json.encode(text * length))
    return Result(n=n, outcome="succeeded", body=body)


@st.composite
def waves(draw: st.DrawFn) -> list[list[list[Result]]]:
    """Waves of segments of results, in any order, short and long."""
    total = 12
    lengths = st.sampled_from([0, 1, 50, 1 << 16, 3 << 17])

    def a_wave(wave: int) -> list[list[Result]]:
        numbers = draw(st.lists(st.integers(0, total - 1), unique=True, max_size=total))
        made = [result(n, f"{wave}.{n} ", draw(lengths)) for n in numbers]
        cut = draw(st.integers(0, len(made)))
        return [made[:cut], made[cut:]]

    return [a_wave(wave) for wave in range(1, 1 + draw(st.integers(1, 3)))]


@settings(max_examples=25, deadline=None)
@given(waves())
def test_the_latest_result_of_each_request_is_read_wherever_it_lies(
    waves: list[list[list[Result]]],
) -> None:
    with TemporaryDirectory() as root, closing(SqliteStore(Path(root))) as store:
        journals = Journals(store, total=12)
        latest: dict[int, Result] = {}
        for segments in waves:
            journals.write(segments)
            latest |= {result.n: result for segment in segments for result in segment}

        read = list(results(store, journals.run))

    assert read == [latest.get(n) for n in range(12)]


def test_more_journals_are_read_than_may_be_open_at_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    journals = Journals(store, total=80)
    for first in range(0, 80, 2):
        journals.write([[result(first, "a", 1)], [result(first + 1, "b", 1)]])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 70, hard))
    try:
        read = list(results(store, journals.run))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    store.close()
    assert [one.n for one in read if one is not None] == list(range(80))


def test_a_journal_that_lost_committed_results_is_reported(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    journals = Journals(store, total=2)
    journals.write([[result(0, "a", 10), result(1, "b", 10)]])
    path = segment_path(store.folder("run"), "run-2-0", 1)
    path.write_bytes(path.read_bytes()[:40])

    with pytest.raises(StoreCorrupt, match="lost results that were committed"):
        list(results(store, journals.run))
    store.close()
