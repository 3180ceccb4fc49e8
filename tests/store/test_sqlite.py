"""The SQLite store keeps a store's promises, and a few of its own."""

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from importlib.resources import files
from pathlib import Path

import pytest
from msgspec.structs import replace

from anybatch.core.model import Batch, Segment
from anybatch.errors import SchemaTooNew, StoreCorrupt, StoreError, StoreUnwritable
from anybatch.store import sqlite
from anybatch.store.journal import segment_path
from anybatch.store.sqlite import SqliteStore, migrations
from anybatch.store.store import Event
from anybatch.store.values import batch_values, run_values

from .contract import StoreContract
from .given import NOW, RUN, batch
from .limits import largest_file
from .racing import Opener, among_processes, opens_in_step

NAME = "anybatch.db"


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return partial(SqliteStore, tmp_path / "a store")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path)
    yield store
    store.close()


def opened(root: Path) -> None:
    SqliteStore(root).close()


def ask(root: Path, statement: str) -> list[tuple[object, ...]]:
    """What the database in `root` says, without the store."""
    db = sqlite3.connect(root / NAME)
    try:
        with db:
            return db.execute(statement).fetchall()
    finally:
        db.close()


# --- the schema ---


def test_a_new_store_has_the_whole_schema_and_our_mark(tmp_path: Path) -> None:
    opened(tmp_path)

    tables = {name for (name,) in ask(tmp_path, "select name from sqlite_schema")}
    assert {"runs", "batches", "events"} <= tables
    assert ask(tmp_path, "pragma user_version") == [(len(migrations()),)]
    assert ask(tmp_path, "pragma application_id") == [(int.from_bytes(b"anyB"),)]
    assert ask(tmp_path, "pragma journal_mode") == [("wal",)]


def test_a_step_of_the_schema_is_taken_once(store: SqliteStore, tmp_path: Path) -> None:
    store.add_run(RUN, [batch(RUN)])
    before = ask(tmp_path, "select sql from sqlite_schema order by name")

    opened(tmp_path)

    assert ask(tmp_path, "select sql from sqlite_schema order by name") == before
    assert store.batches(RUN.id) == [batch(RUN)]


def test_the_steps_are_numbered_in_order() -> None:
    folder = files("anybatch.store") / "migrations"
    names = sorted(step.name for step in folder.iterdir())

    assert [name[:5] for name in names] == [f"{k:04}_" for k in range(1, len(names) + 1)]


def test_a_store_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    first, *_ = migrations()
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as db:
        db.executescript(first)
        db.execute("pragma user_version = 1")
        db.execute(f"pragma application_id = {int.from_bytes(b'anyB')}")
        for table, values in (("runs", run_values(RUN)), ("batches", batch_values(batch(RUN)))):
            there = [column[1] for column in db.execute(f"pragma table_info({table})")]
            marks = ", ".join(f":{name}" for name in there)
            db.execute(f"insert into {table} ({', '.join(there)}) values ({marks})", values)

    with closing(SqliteStore(tmp_path)) as store:
        assert store.runs() == [RUN]
        assert store.batches(RUN.id) == [batch(RUN)]
        assert store.quotas(RUN.queue) == store.timings(RUN.queue) == []


@pytest.mark.parametrize("empty", [False, True])
def test_a_database_that_was_deleted_beside_its_runs_is_not_begun_anew(
    tmp_path: Path, empty: bool
) -> None:
    opened(tmp_path)
    (tmp_path / "runs" / "run-1").mkdir()
    (tmp_path / "runs" / "run-2").mkdir()
    for file in tmp_path.glob(f"{NAME}*"):
        file.unlink()
    if empty:
        (tmp_path / NAME).touch()

    with pytest.raises(StoreCorrupt) as refused:
        SqliteStore(tmp_path)

    assert f"{str(tmp_path / NAME)!r} is gone, and 2 runs lie beside it" in str(refused.value)
    assert "Restore it from a backup, or move that folder away" in str(refused.value)
    assert (tmp_path / NAME).exists() is empty


def test_a_folder_that_is_being_planned_is_no_run_that_lost_its_database(tmp_path: Path) -> None:
    (tmp_path / "runs" / "new").mkdir(parents=True)
    (tmp_path / "runs" / "new.planning").write_text("somebody")

    opened(tmp_path)


def test_a_store_of_a_newer_anybatch_is_refused_and_left_alone(tmp_path: Path) -> None:
    opened(tmp_path)
    ask(tmp_path, "pragma user_version = 99")

    with pytest.raises(SchemaTooNew, match=r"schema 99, this one knows \d+\): upgrade anybatch"):
        SqliteStore(tmp_path)

    assert ask(tmp_path, "pragma user_version") == [(99,)]


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    ask(tmp_path, "create table places (url text)")
    ask(tmp_path, "pragma user_version = 1")

    with pytest.raises(StoreCorrupt, match="belongs to another program"):
        SqliteStore(tmp_path)

    assert ask(tmp_path, "select name from sqlite_schema") == [("places",)]


def test_processes_that_open_new_stores_in_step_do_not_disturb_each_other(tmp_path: Path) -> None:
    roots = [tmp_path / str(k) for k in range(20)]

    opens = among_processes(partial(opens_in_step, SqliteStore, roots))

    assert opens == [20] * 4


# --- statements ---

NEWER = re.compile(
    r"\b(octet_length|timediff|concat|concat_ws|string_agg|jsonb\w*|json_pretty"
    r"|json_error_position|unistr|if)\s*\(|\bsubsec(ond)?\b",
    re.IGNORECASE,
)
"""What came after SQLite 3.40, the oldest that we promise to run on."""


def test_every_statement_is_used_and_every_name_that_is_used_exists() -> None:
    source = Path(sqlite.__file__).read_text("utf-8")
    used = re.findall(r'(?:_rows\(|_write\(|_change\(|_read\(\w+,)\s*"(\w+)"', source)

    assert sorted(set(used)) == sorted(sqlite._SQL)


def test_every_statement_says_in_a_sentence_what_it_does() -> None:
    text = (files("anybatch.store") / "queries.sql").read_text("utf-8")
    named = re.findall(r"^-- (\w+) --\n-- [A-Z].*\.$", text, re.MULTILINE)

    assert named == list(sqlite._SQL)
    assert all(statement.count(";") == 1 for statement in sqlite._SQL.values())


@pytest.mark.parametrize("statement", [*sqlite._SQL.values(), *migrations()])
def test_no_statement_needs_a_newer_sqlite_than_3_40(statement: str) -> None:
    assert NEWER.search(statement) is None


@pytest.mark.parametrize("name", sqlite._SQL)
def test_every_statement_fits_the_schema(store: SqliteStore, name: str, tmp_path: Path) -> None:
    statement = sqlite._SQL[name]
    values = dict.fromkeys(re.findall(r":(\w+)", statement))

    db = sqlite3.connect(tmp_path / NAME)
    plan = db.execute(f"explain {statement}", values).fetchall()
    db.close()

    assert plan


# --- all or nothing ---


def test_a_run_whose_batches_clash_is_not_added_at_all(store: SqliteStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.add_run(RUN, [batch(RUN), batch(RUN)])

    assert not store.has_run(RUN.id)
    store.add_run(RUN, [batch(RUN)])


def test_a_wave_that_clashes_is_not_planned_at_all(store: SqliteStore) -> None:
    first = batch(RUN)
    store.add_run(RUN, [first])

    with pytest.raises(sqlite3.IntegrityError):
        store.add_wave(RUN, [batch(RUN, wave=2), first], [replace(first, retried={"network": 1})])

    assert store.run(RUN.id) == RUN
    assert store.batches(RUN.id) == [first]


def test_a_status_that_nobody_knows_is_not_written(store: SqliteStore) -> None:
    unknown = replace(batch(RUN), status="lost")  # type: ignore[arg-type]

    with pytest.raises(sqlite3.IntegrityError):
        store.add_run(RUN, [unknown])


# --- what the disk can do to it ---

NO_DATABASES = {
    "text": b"id,text\n1,a\n",
    "a page of text": b"hello, world\n" * 1000,
    "a header and noise": b"SQLite format 3\x00" + bytes(range(256)) * 16,
}


@pytest.mark.parametrize("content", NO_DATABASES.values(), ids=NO_DATABASES.keys())
def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path, content) -> None:
    (tmp_path / NAME).write_bytes(content)

    with pytest.raises(StoreCorrupt) as refused:
        SqliteStore(tmp_path)

    assert str(tmp_path / NAME) in str(refused.value)
    assert "--store" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (tmp_path / NAME).read_bytes() == content


def test_a_database_with_a_broken_page_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    with open(tmp_path / NAME, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4000)

    with pytest.raises(StoreCorrupt, match="not a sound anybatch store"):
        SqliteStore(tmp_path).runs()


def flipped(path: Path, needle: bytes, *, bit: int) -> None:
    """Change one bit where `needle` is written last: behind the schema, in a row or an index."""
    content = bytearray(path.read_bytes())
    content[content.rindex(needle)] ^= 1 << bit
    path.write_bytes(content)


def seen_of(root: Path) -> object:
    """All that the store says of the run."""
    with closing(SqliteStore(root)) as store:
        return store.runs(), store.batches(RUN.id), store.events(RUN.id)


NEEDLES = {
    "a prompt": b"{{ x }}",
    "a column of the table": b'["x"]',
    "a digest": b'{"data":',
    "a source": b"in.csv",
    "a state": b"open",
    "a status": b"planned",
    "counts": b'{"refused":',
    "segments": b"[{",
    "a segment's checksum": b'crc":7',
    "what happened": b'{"of":',
    "the name of a column": b"budgeted",
    "the type of a column": b"integer",
}


@pytest.mark.parametrize("bit", [0, 7], ids=["another letter", "no text"])
@pytest.mark.parametrize("needle", NEEDLES.values(), ids=NEEDLES.keys())
def test_a_bit_that_changed_in_what_was_planned_or_counted_is_noticed(
    tmp_path: Path, needle: bytes, bit: int
) -> None:
    store = SqliteStore(tmp_path)
    planned = replace(batch(RUN), counts={"refused": 1}, journal=(Segment(token=0, size=1, crc=7),))
    store.add_run(RUN, [planned])
    store.add_event(RUN.id, Event(at=NOW, name="x", fields={"of": 1}))
    store.close()
    flipped(tmp_path / NAME, needle, bit=bit)

    with pytest.raises(StoreCorrupt, match=re.escape(str(tmp_path / NAME))) as refused:
        seen_of(tmp_path)

    assert "Restore it from a backup" in str(refused.value)


def test_an_index_that_does_not_know_its_rows_is_noticed(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path)) as store:
        store.add_run(replace(RUN, fingerprint="known by this"), [])
    content = (tmp_path / NAME).read_bytes()
    first, last = content.index(b"known by this"), content.rindex(b"known by this")
    assert first != last
    (tmp_path / NAME).write_bytes(content[:first] + b"K" + content[first + 1 :])

    with pytest.raises(StoreCorrupt, match="not a sound anybatch store"):
        SqliteStore(tmp_path)


# --- the log beside it ---


def test_a_copy_of_the_database_alone_knows_every_run_that_was_planned(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.add_run(RUN, [batch(RUN)])

    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / NAME, tmp_path / "copy" / NAME)

    with closing(SqliteStore(tmp_path / "copy")) as copy:
        assert copy.runs() == [RUN]
        assert copy.batches(RUN.id) == [batch(RUN)]


def test_planning_does_not_wait_for_who_reads(store: SqliteStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as reader:
        reader.execute("begin")
        reader.execute("select * from runs").fetchall()
        start = time.monotonic()

        store.add_run(RUN, [])

        assert time.monotonic() - start < 5
        reader.execute("rollback")
    assert store.runs() == [RUN]


def died_owning(store: SqliteStore, *, lines: int, window: int) -> Batch:
    """A batch whose owner wrote so many lines, of which a commit that is lost knew."""
    store.add_run(RUN, [batch(RUN)])
    owned = store.claim(batch(RUN), status="running", owner="a", lease_until=NOW, window=window)
    assert owned is not None
    store.folder(RUN.id).mkdir()
    segment_path(store.folder(RUN.id), owned.id, 1).write_bytes(b"{}\n" * (1 + lines))
    store.save(replace(owned, journal=(Segment(token=1, size=3, crc=0),), counts={"refused": 1}))
    (seen,) = store.batches(RUN.id)
    return seen


def test_who_dies_leaves_no_more_lines_than_calls_were_under_way(store: SqliteStore) -> None:
    seen = died_owning(store, lines=4, window=4)

    taken = store.claim(seen, status="running", owner="b", lease_until=NOW, window=9)

    assert taken is not None
    assert taken.token == 2


def test_commits_that_were_lost_are_noticed_by_the_lines_they_left(store: SqliteStore) -> None:
    seen = died_owning(store, lines=5, window=4)

    with pytest.raises(StoreCorrupt, match=r"is older than .*1\.jsonl") as refused:
        store.claim(seen, status="running", owner="b", lease_until=NOW, window=9)

    assert "anybatch.db-wal" in str(refused.value)
    assert store.batches(RUN.id) == [seen]


def test_a_file_in_place_of_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")

    for root in (file, file / "below"):
        with pytest.raises(
            StoreUnwritable, match=re.escape(f"{str(root)!r}: a file is in the way")
        ):
            SqliteStore(root)

    assert file.read_text() == "mine"


def test_a_folder_in_place_of_the_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()

    with pytest.raises(StoreUnwritable, match=re.escape(str(tmp_path / NAME))):
        SqliteStore(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_we_may_not_write_to_is_refused_by_name(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(StoreUnwritable, match=re.escape(str(tmp_path))):
        SqliteStore(tmp_path)


def test_a_disk_that_takes_no_more_loses_nothing(store: SqliteStore, tmp_path: Path) -> None:
    store.add_run(RUN, [batch(RUN)])
    large = replace(RUN, id="large", columns=("x" * 1_000_000,))

    with largest_file(200_000), pytest.raises(StoreUnwritable, match=re.escape(str(tmp_path))):
        store.add_run(large, [])

    assert store.runs() == [RUN]
    store.add_run(large, [])
    assert store.has_run("large")


def test_a_store_that_was_closed_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.close()

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        store.runs()


def test_a_store_that_could_not_be_opened_holds_nothing_open(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no database")
    open_before = len(os.listdir("/dev/fd"))

    for _ in range(3):
        with pytest.raises(StoreError):
            SqliteStore(tmp_path)

    assert len(os.listdir("/dev/fd")) == open_before
