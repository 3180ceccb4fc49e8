"""The store of one machine: SQLite for runs and batches, a folder a run for its files."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from ..core.model import Batch, Queue, Run
from ..core.offers import Quote
from ..core.quota import Load, Quota
from ..core.states import NEXT, BatchStatus, RunState
from ..core.timing import KEPT, Timing
from ..effects import Probe, effect, unwatched
from ..errors import LeaseLost, SchemaTooNew, StoreCorrupt, StoreUnwritable, UnknownRun
from .files import alone_in, unwritable
from .journal import lines_behind, segment_path
from .store import PLANNING, Event
from .values import (
    as_json,
    as_json_or_none,
    batch_of,
    batch_values,
    event_of,
    event_values,
    load_of,
    queue_values,
    quota_of,
    quota_values,
    quote_of,
    run_of,
    run_values,
    seconds,
    timing_of,
)

T = TypeVar("T")

DATABASE = "anybatch.db"
_APPLICATION_ID = 0x616E7942  # "anyB"
_BUSY_TIMEOUT_S = 60.0
_UNWRITABLE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY")
_MAX_WHY = 100
"""The driver quotes what it cannot read, however long that is."""
_UNSOUND = ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR")
"""The last one is "no such column", as our statements fit the schema that we wrote."""


def named(text: str) -> dict[str, str]:
    """The statements of a `.sql` file, by the names in their `-- name --` lines."""
    statements: dict[str, str] = {}
    name = None
    for line in text.splitlines():
        if line.startswith("-- ") and line.endswith(" --"):
            name = line[3:-3]
            statements[name] = ""
        elif name is not None and not line.startswith("--"):
            statements[name] += line + "\n"
    return statements


_SQL = named((files(__package__) / "queries.sql").read_text())


def migrations() -> list[str]:
    """The schema's steps, oldest first; their count is the schema's version."""
    folder = files(__package__) / "migrations"
    return [step.read_text() for step in sorted(folder.iterdir(), key=lambda step: step.name)]


class SqliteStore:
    """A store in `root`: `anybatch.db` and `runs/`. See `store.Store` for what it promises."""

    def __init__(self, root: Path, *, probe: Probe = unwatched) -> None:
        self.root = root
        self._name = str(root / DATABASE)
        self._probe = probe
        # Guards the connection: one statement at a time, one transaction at a time.
        self._lock = threading.RLock()
        self._turns = 0
        """Counts what changes a run as a whole, through this connection."""
        with unwritable(root):
            (root / "runs").mkdir(parents=True, exist_ok=True)
        # One at a time: the switch to WAL does not wait for its turn, as transactions do.
        with self._translated(), unwritable(root), alone_in(root):
            self._check_it_is_there()
            self._db = sqlite3.connect(
                self._name,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                _set_up(self._db)
                self._migrate()
                self._check()
            except BaseException:
                self._db.close()
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as e:
            if _errorname(e).startswith(_UNWRITABLE):
                raise StoreUnwritable(
                    f"cannot write {self._name!r}: {e}. Make room or access, "
                    "then run the same command again"
                ) from e
            if not _errorname(e).startswith(_UNSOUND):
                raise
            raise self._unsound(e) from e
        except UnicodeDecodeError as e:
            raise self._unsound(e) from e

    def _unsound(self, why: object) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self._name!r} is not a sound anybatch store: {str(why)[:_MAX_WHY]}. "
            "Restore it from a backup, or choose another place with --store"
        )

    def _migrate(self) -> None:
        """Bring the schema up to date; refuse one that a newer anybatch wrote."""
        steps = migrations()
        if self._version() and self._number("application_id") != _APPLICATION_ID:
            raise StoreCorrupt(
                f"{self._name!r} belongs to another program; choose another place with --store"
            )
        if self._version() < len(steps):
            with self._transaction():
                for step in steps[self._version() :]:
                    for statement in step.split(";\n"):
                        self._db.execute(statement)
                self._db.execute(f"pragma user_version = {len(steps)}")
                self._db.execute(f"pragma application_id = {_APPLICATION_ID}")
        if self._version() > len(steps):
            raise SchemaTooNew(
                f"{str(self.root)!r} was written by a newer anybatch (schema {self._version()}, "
                f"this one knows {len(steps)}): upgrade anybatch, or choose another --store"
            )

    def _check_it_is_there(self) -> None:
        """Refuse to begin anew beside runs: their database was deleted, or emptied."""
        database = Path(self._name)
        if database.exists() and database.stat().st_size:
            return
        if runs := self._unmarked():
            raise StoreCorrupt(
                f"{self._name!r} is gone, and {len(runs)} "
                f"{'run lies' if len(runs) == 1 else 'runs lie'} beside it, in "
                f"{str(self.root / 'runs')!r}. Restore it from a backup, or move that folder away "
                "and start anew"
            )

    def _check(self) -> None:
        """Refuse a database whose pages or indexes are damaged: what it finds would be wrong.

        20 ms for 10,000 batches, once a process.
        """
        (said,) = self._db.execute("pragma integrity_check(1)").fetchone()
        if said != "ok":
            raise self._unsound(said)

    def _version(self) -> int:
        return self._number("user_version")

    def _number(self, pragma: str) -> int:
        return int(self._db.execute(f"pragma {pragma}").fetchone()[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, self._translated(), effect("store.transaction", self._probe):
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing():
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def _rows(self, statement: str, /, **values: object) -> list[sqlite3.Row]:
        with self._lock, self._translated():
            return self._db.execute(_SQL[statement], values).fetchall()

    def _read(
        self, noun: Callable[[sqlite3.Row], T], statement: str, /, **values: object
    ) -> list[T]:
        """What a named statement finds, as nouns. Raises StoreCorrupt for what we never wrote."""
        with self._understood():
            return [noun(row) for row in self._rows(statement, **values)]

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except (msgspec.MsgspecError, ValueError, OverflowError, LookupError) as e:
            raise self._unsound(e) from e

    def _write(self, statement: str, /, **values: object) -> int:
        """Run a named statement inside the present transaction; how many rows it touched."""
        return self._db.execute(_SQL[statement], values).rowcount

    def _change(self, statement: str, /, **values: object) -> int:
        """Run a named statement as a transaction of its own; how many rows it touched.

        Begin and commit would be two more round trips, each with a wait for the interpreter's lock.
        """
        with self._writing():
            return self._write(statement, **values)

    # --- runs ---

    def folder(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def add_run(
        self,
        run: Run,
        batches: Sequence[Batch],
        *,
        quote: Quote | None = None,
        unless_same: bool = False,
    ) -> Run:
        with self._transaction():
            known = self.same_run(run.fingerprint) if unless_same else None
            if known is not None:
                return known
            self._write("add_run", **run_values(run))
            for batch in batches:
                self._write("add_batch", **batch_values(batch))
            if quote is not None:
                self._write("add_quote", run_id=run.id, quote=as_json(quote))
        self._settle()
        return run

    def _settle(self) -> None:
        """Bring what was committed from the log into the database, as far as nobody reads it.

        So a run that stands survives the loss of the log: a copy of `anybatch.db` alone, a cleaner.
        It is committed in any case, so what keeps us from it is not an error.
        """
        with self._lock, suppress(sqlite3.OperationalError):
            self._db.execute("pragma wal_checkpoint(passive)")

    def run(self, run_id: str) -> Run:
        for run in self._read(run_of, "run_by_id", id=run_id):
            return run
        raise self._unknown(run_id)

    def _unknown(self, run_id: str) -> UnknownRun:
        return UnknownRun(f"there is no run {run_id!r} in {str(self.root)!r}")

    def has_run(self, run_id: str) -> bool:
        return bool(self._rows("run_by_id", id=run_id))

    def find_run(self, word: str) -> Run:
        if word == "last":
            found = self.runs(most=1)
        else:
            found = self._read(run_of, "runs_by_start", start=word)
        if word and (len(found) == 1 or (found and found[0].id == word)):
            return found[0]
        many = "more than one run starts with" if found else "there is no run"
        raise UnknownRun(f"{many} {word!r} in {str(self.root)!r}; `anybatch runs` lists them")

    def runs(self, *, most: int = 100) -> list[Run]:
        return self._read(run_of, "latest_runs", most=most)

    def same_run(self, fingerprint: str) -> Run | None:
        return next(iter(self._read(run_of, "run_by_fingerprint", fingerprint=fingerprint)), None)

    def latest_of(self, source: str) -> Run | None:
        return next(iter(self._read(run_of, "run_by_source", source=source)), None)

    def set_state(
        self,
        run: Run,
        state: RunState,
        *,
        why: str | None = None,
        ended_at: datetime | None = None,
    ) -> bool:
        values = {
            "state": state,
            "why": why,
            "ended_at": seconds(ended_at),
            "canary": run.canary,
        }
        self._turns += 1
        return self._change("set_run_state", id=run.id, seen=run.state, **values) == 1

    def save_wishes(self, run: Run) -> None:
        self._turns += 1
        wished = run_values(replace(self.run(run.id), account=run.account))
        wishes = {
            "canary": run.canary,
            "keep_remote": int(run.keep_remote),
            "terms": as_json(run.terms),
        }
        sealed = {name: wished[name] for name in ("account", "crc")}
        self._change("save_wishes", id=run.id, **wishes, **sealed)

    def quote(self, run_id: str) -> Quote | None:
        return next(iter(self._read(quote_of, "quote_of", run_id=run_id)), None)

    def delete(self, run_id: str) -> None:
        self._change("delete_run", id=run_id)
        with effect("run.delete", self._probe):
            shutil.rmtree(self.folder(run_id), ignore_errors=True)

    def strays(self) -> list[Path]:
        # In this order: a run that is being planned loses its mark when it is known.
        unmarked = self._unmarked()
        known = {row["id"] for row in self._rows("run_ids")}
        return [path for path in unmarked if path.name not in known and path.is_dir()]

    def _unmarked(self) -> list[Path]:
        """The folders of runs that nobody is planning."""
        folders = [path for path in sorted((self.root / "runs").iterdir()) if path.is_dir()]
        return [path for path in folders if not path.with_name(path.name + PLANNING).exists()]

    # --- batches ---

    def news(self) -> tuple[int, int]:
        with self._lock, self._translated():
            return self._number("data_version"), self._turns

    def batches(self, run_id: str) -> list[Batch]:
        return self._read(batch_of, "batches_of_run", run_id=run_id)

    def claim(
        self,
        batch: Batch,
        *,
        status: BatchStatus,
        owner: str,
        lease_until: datetime,
        window: int,
    ) -> Batch | None:
        _check_edge(batch, status)
        values = {
            "id": batch.id,
            "token": batch.token,
            "seen_status": batch.status,
            "seen_owner": batch.owner,
            "seen_lease": seconds(batch.lease_until),
            "status": status,
            "owner": owner,
            "lease_until": seconds(lease_until),
            "window": window,
        }
        with self._transaction():
            for claimed in self._read(batch_of, "claim_batch", **values):
                self._check_nothing_was_forgotten(batch)
                return claimed
        return None

    def _check_nothing_was_forgotten(self, batch: Batch) -> None:
        """Raise StoreCorrupt if `batch`, just claimed, has results that we do not know any more.

        Whoever dies leaves no more of them than it had calls under way, and none under a token that
        was never given out.
        """
        folder = self.folder(batch.run_id)
        segment = segment_path(folder, batch.id, batch.token + 1)
        if not segment.exists():
            segment = segment_path(folder, batch.id, batch.token)
            known = sum(part.size for part in batch.journal if part.token == batch.token)
            if not batch.window or lines_behind(segment, known) <= batch.window:
                return
        raise StoreCorrupt(
            f"{self._name!r} is older than {str(segment)!r}: it lost what was committed to it. "
            f"Restore it from a backup, {self._name + '-wal'!r} with it, or give the run up "
            f"with `anybatch rm {batch.run_id}` and type the command again"
        )

    def renew(self, batch: Batch, *, lease_until: datetime) -> bool:
        values = {"id": batch.id, "token": batch.token, "owner": batch.owner}
        return self._change("renew_lease", lease_until=seconds(lease_until), **values) == 1

    def save(
        self, batch: Batch, *, event: Event | None = None, timings: Sequence[Timing] = ()
    ) -> None:
        if event is None and not timings:
            with self._writing():
                self._save(batch)
            return
        with self._transaction():
            self._save(batch)
            if event is not None:
                self._write("add_event", run_id=batch.run_id, **event_values(event))
            if timings:
                queue = queue_values(self.run(batch.run_id).queue)
                for phase, lasted in timings:
                    self._write("add_timing", phase=phase, seconds=lasted, **queue)
                    self._write("trim_timings", phase=phase, kept=KEPT, **queue)

    def _save(self, batch: Batch) -> None:
        values = {
            "id": batch.id,
            "token": batch.token,
            "status": batch.status,
            "journal": as_json(batch.journal),
            "counts": as_json(batch.counts),
            "copies": as_json(batch.copies),
            "usage": as_json(batch.usage),
            "window": batch.window,
            "owner": batch.owner,
            "lease_until": seconds(batch.lease_until),
            "due": seconds(batch.due),
            "remote": as_json_or_none(batch.remote),
            "may_follow": _MAY_FOLLOW[batch.status],
        }
        if self._write("save_batch", **values) != 1:
            self._check_present_edge(batch)
            raise LeaseLost(f"batch {batch.id!r} belongs to another process now")

    def _check_present_edge(self, batch: Batch) -> None:
        for present in self._read(batch_of, "batch_by_id", id=batch.id):
            if present.token == batch.token:
                _check_edge(present, batch.status)

    def cut(self, batch: Batch, into: Sequence[Batch], *, event: Event) -> None:
        self._turns += 1
        with self._transaction():
            if self._write("give_up_batch", id=batch.id, token=batch.token) != 1:
                raise LeaseLost(f"batch {batch.id!r} belongs to another process now")
            (last,) = self._rows("last_part", run_id=batch.run_id, wave=batch.wave)
            for part, piece in enumerate(into, start=max(batch.part, last["part"]) + 1):
                self._write("add_batch", **batch_values(replace(piece, part=part)))
            self._write("add_event", run_id=batch.run_id, **event_values(event))

    def add_wave(self, run: Run, batches: Sequence[Batch], retried: Sequence[Batch]) -> bool:
        self._turns += 1
        with self._transaction():
            if self._write("raise_wave", id=run.id, wave=run.wave + 1) != 1:
                return False
            for batch in batches:
                self._write("add_batch", **batch_values(batch))
            for batch in retried:
                self._write(
                    "save_retried",
                    id=batch.id,
                    retried=as_json(batch.retried),
                    copies_retried=as_json(batch.copies_retried),
                )
        return True

    # --- events ---

    def add_event(self, run_id: str, event: Event) -> None:
        if self._change("add_event", run_id=run_id, **event_values(event)) != 1:
            raise self._unknown(run_id)

    def events(self, run_id: str, *names: str) -> list[Event]:
        wanted = f" {' '.join(names)} " if names else ""
        return self._read(event_of, "events_of_run", run_id=run_id, names=wanted)

    # --- what was learned of providers ---

    def waiting_elsewhere(self, queue: Queue, *, but: str, since: datetime) -> Load:
        values = {"but": but, "since": msgspec.to_builtins(since), **queue_values(queue)}
        (load,) = self._read(load_of, "waiting_elsewhere", **values)
        return load

    def timings(self, queue: Queue) -> list[Timing]:
        return self._read(timing_of, "timings_of_queue", **queue_values(queue))

    def learn(self, queue: Queue, quota: Quota) -> None:
        self._turns += 1
        self._change("learn_quota", **queue_values(queue), **quota_values(quota))

    def quotas(self, queue: Queue) -> list[Quota]:
        return self._read(quota_of, "quotas_of_queue", **queue_values(queue))

    def close(self) -> None:
        with self._lock:
            self._db.close()


_MAY_FOLLOW = {
    status: f" {' '.join((status, *(before for before in NEXT if status in NEXT[before])))} "
    for status in NEXT
}
"""Status -> itself and those it may follow, each between spaces."""


def _check_edge(batch: Batch, status: BatchStatus) -> None:
    if status != batch.status and status not in NEXT[batch.status]:
        raise AssertionError(f"batch {batch.id!r} is {batch.status} and cannot become {status}")


def _errorname(e: sqlite3.Error) -> str:
    """SQLite's name for it. What the driver itself cannot do with data is read bytes as text."""
    driver = "SQLITE_CORRUPT" if isinstance(e, sqlite3.OperationalError) else ""
    return getattr(e, "sqlite_errorname", driver)


def _set_up(db: sqlite3.Connection) -> None:
    db.row_factory = sqlite3.Row
    db.execute("pragma journal_mode = wal")
    # NORMAL loses acknowledged commits when the power goes.
    db.execute("pragma synchronous = full")
    db.execute("pragma foreign_keys = on")
