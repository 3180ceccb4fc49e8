"""Rows come out in input order, each with what stands of it now."""

import csv
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from zipfile import ZipFile

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anybatch.core.model import Batch, Result, Run, Segment
from anybatch.core.plan import Limits
from anybatch.datasets.sink import open_sink
from anybatch.effects import Moment, unwatched
from anybatch.engine.delivery import results
from anybatch.errors import OutputExists, StoreCorrupt
from anybatch.store.journal import SegmentWriter, segment_path
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import CrashAt, FakeEndpoint, Status, matching
from anybatch.testing.clock import START
from anybatch.wire.jsonl import write_line

from .harness import Model, NewWorld, rows, spec


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


FORMATS = ["out.csv", "out.json", "out.jsonl", "out.parquet", "out.xlsx"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_that_is_there_already_is_left_as_it_is(name: str, new_world: NewWorld) -> None:
    world = new_world(
        spec=spec(), model=Model(), rows=rows(5_000), limits=Limits(max_requests=5_000)
    )
    run = world.live()
    workspace, out = world.open(), world.out.with_name(name)

    first = workspace.deliver(run, out, force=False, raw=False)
    before = out.stat()
    second = workspace.deliver(run, out, force=False, raw=False)

    assert (first, second) == (True, False)
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {path.name for path in out.parent.iterdir()} == {name, world.out.name}


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def rewrite(workbook: Path, part: str, old: bytes, new: bytes) -> None:
    """Another workbook that holds the same but for what is replaced in one part."""
    with ZipFile(workbook) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    assert old in parts[part]
    parts[part] = parts[part].replace(old, new)
    with ZipFile(workbook, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)


def edited(path: Path) -> None:
    rewrite(path, "xl/worksheets/sheet1.xml", b"row 003", b"row 00x")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, change) for name in FORMATS for change in (shorter, emptied)),
        *((name, longer) for name in FORMATS if name != "out.xlsx"),
        ("out.xlsx", edited),
    ],
)
def test_a_table_that_differs_in_anything_is_not_overwritten(
    name: str, change: Callable[[Path], None], new_world: NewWorld
) -> None:
    world = new_world(spec=spec(), model=Model())
    run = world.live()
    workspace, out = world.open(), world.out.with_name(name)
    workspace.deliver(run, out, force=False, raw=False)
    change(out)
    before = out.read_bytes()

    with pytest.raises(OutputExists, match=name):
        workspace.deliver(run, out, force=False, raw=False)

    assert out.read_bytes() == before
    assert {path.name for path in out.parent.iterdir()} == {name, world.out.name}


def test_a_workbook_of_another_moment_is_the_same_table(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model())
    run = world.live()
    workspace, out = world.open(), world.out.with_name("out.xlsx")
    workspace.deliver(run, out, force=False, raw=False)
    rewrite(out, "docProps/core.xml", b"<dcterms:created", b"<made-long-ago")

    assert not workspace.deliver(run, out, force=False, raw=False)


Became = bool | type[OutputExists]


def deliver_at_once(out: Path, texts: list[str]) -> list[Became]:
    """Each text as a table of its own, all published at the same moment; what became of each."""
    barrier = Barrier(len(texts))

    def probe(effect: str, moment: Moment) -> None:
        if (effect, moment) == ("sink.rename", "before"):
            barrier.wait(30)

    def deliver(text: str) -> Became:
        try:
            with open_sink(out, columns=["text"], probe=probe) as sink:
                sink.write([[text]] * 1_000)
            return not sink.was_there
        except OutputExists as error:
            return type(error)

    with ThreadPoolExecutor(len(texts)) as threads:
        return list(threads.map(deliver, texts))


@pytest.mark.parametrize("name", FORMATS)
def test_of_many_who_write_one_table_at_once_one_does_and_the_others_see_it(
    name: str, tmp_path: Path
) -> None:
    became = deliver_at_once(tmp_path / name, ["same"] * 8)

    assert sorted(became, key=str) == [*[False] * 7, True]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_of_many_who_write_different_tables_at_once_one_wins_whole(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(8)]

    became = deliver_at_once(tmp_path / "out.csv", texts)

    assert became.count(True) == 1
    assert became.count(OutputExists) == 7
    winner = texts[became.index(True)]
    assert (tmp_path / "out.csv").read_text() == "text\n" + f"{winner}\n" * 1_000
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_what_a_killed_writer_of_parquet_had_staged_is_swept_up(new_world: NewWorld) -> None:
    world = new_world(spec=spec(), model=Model())
    run = world.live()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    out = world.out.with_name("out.parquet")
    begun = f".{out.name}.{socket.gethostname()}.{dead.pid}-1.part"
    for left in (begun, begun + ".jsonl"):
        out.with_name(left).touch()

    world.open().deliver(run, out, force=False, raw=False)

    assert {path.name for path in out.parent.iterdir()} == {out.name, world.out.name}


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
        crc = writer.crc
        writer.append(b'{"n":0,"outcome":"succeeded"}\n{"torn')  # written, never committed
        writer.close()
        return Segment(token=token, size=size, crc=crc)


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
