"""The store of one machine: SQLite for runs and batches, a folder a run for its files."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from ..core.model import Batch, Counts, Json, Run, Segment, Spec, Usage
from ..core.states import BatchStatus, RunState
from ..effects import Probe, effect, unwatched
from ..errors import LeaseLost, SchemaTooNew, StoreCorrupt, StoreUnwritable, UnknownRun
from .files import alone_in, unwritable
from .store import Event

_APPLICATION_ID = 0x616E7942  # "anyB"
_BUSY_TIMEOUT_S = 60.0
_UNWRITABLE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY")


def _named(text: str) -> dict[str, str]:
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


_SQL = _named((files(__package__) / "queries.sql").read_text())


def migrations() -> list[str]:
    """The schema's steps, oldest first; their count is the schema's version."""
    folder = files(__package__) / "migrations"
    return [step.read_text() for step in sorted(folder.iterdir(), key=lambda step: step.name)]


class SqliteStore:
    """A store in `root`: `anybatch.db` and `runs/`. See `store.Store` for what it promises."""

    def __init__(self, root: Path, *, probe: Probe = unwatched) -> None:
        self.root = root
        self._probe = probe
        # Guards the connection: one statement at a time, one transaction at a time.
        self._lock = threading.RLock()
        with unwritable(root):
            (root / "runs").mkdir(parents=True, exist_ok=True)
        # One at a time: the switch to WAL does not wait for its turn, as transactions do.
        with self._translated(), unwritable(root), alone_in(root):
            self._db = sqlite3.connect(
                root / "anybatch.db",
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                _set_up(self._db)
                self._migrate()
            except BaseException:
                self._db.close()
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as e:
            if not _errorname(e).startswith(_UNWRITABLE):
                raise
            raise StoreUnwritable(
                f"cannot write {str(self.root / 'anybatch.db')!r}: {e}. Make room or access, "
                "then run the same command again"
            ) from e
        except sqlite3.DatabaseError as e:
            if not _errorname(e).startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                raise
            raise StoreCorrupt(
                f"{str(self.root / 'anybatch.db')!r} is not a sound anybatch store: {e}. "
                "Restore it from a backup, or choose another place with --store"
            ) from e

    def _migrate(self) -> None:
        """Bring the schema up to date; refuse one that a newer anybatch wrote."""
        steps = migrations()
        if self._version() and self._number("application_id") != _APPLICATION_ID:
            raise StoreCorrupt(
                f"{str(self.root / 'anybatch.db')!r} belongs to another program; choose another "
                "place with --store"
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

    def add_run(self, run: Run, batches: Sequence[Batch], *, unless_same: bool = False) -> Run:
        with self._transaction():
            known = self.same_run(run.fingerprint) if unless_same else None
            if known is not None:
                return known
            self._write("add_run", **_run_values(run))
            for batch in batches:
                self._write("add_batch", **_batch_values(batch))
        return run

    def run(self, run_id: str) -> Run:
        for row in self._rows("run_by_id", id=run_id):
            return _run(row)
        raise self._unknown(run_id)

    def _unknown(self, run_id: str) -> UnknownRun:
        return UnknownRun(f"there is no run {run_id!r} in {str(self.root)!r}")

    def has_run(self, run_id: str) -> bool:
        return bool(self._rows("run_by_id", id=run_id))

    def find_run(self, word: str) -> Run:
        if word == "last":
            found = self.runs(most=1)
        else:
            found = [_run(row) for row in self._rows("runs_by_start", start=word)]
        if word and (len(found) == 1 or (found and found[0].id == word)):
            return found[0]
        many = "more than one run starts with" if found else "there is no run"
        raise UnknownRun(f"{many} {word!r} in {str(self.root)!r}; `anybatch runs` lists them")

    def runs(self, *, most: int = 100) -> list[Run]:
        return [_run(row) for row in self._rows("latest_runs", most=most)]

    def same_run(self, fingerprint: str) -> Run | None:
        rows = self._rows("run_by_fingerprint", fingerprint=fingerprint)
        return _run(rows[0]) if rows else None

    def latest_of(self, source: str) -> Run | None:
        rows = self._rows("run_by_source", source=source)
        return _run(rows[0]) if rows else None

    def set_state(
        self,
        run: Run,
        state: RunState,
        *,
        why: str | None = None,
        ended_at: datetime | None = None,
    ) -> bool:
        values = {"state": state, "why": why, "ended_at": _seconds(ended_at)}
        return self._change("set_run_state", id=run.id, seen=run.state, **values) == 1

    def delete(self, run_id: str) -> None:
        self._change("delete_run", id=run_id)
        with effect("run.delete", self._probe):
            shutil.rmtree(self.folder(run_id), ignore_errors=True)

    # --- batches ---

    def batches(self, run_id: str) -> list[Batch]:
        return [_batch(row) for row in self._rows("batches_of_run", run_id=run_id)]

    def claim(
        self,
        batch: Batch,
        *,
        status: BatchStatus,
        owner: str,
        lease_until: datetime,
        window: int,
    ) -> Batch | None:
        values = {
            "id": batch.id,
            "token": batch.token,
            "seen_status": batch.status,
            "seen_owner": batch.owner,
            "seen_lease": _seconds(batch.lease_until),
            "status": status,
            "owner": owner,
            "lease_until": _seconds(lease_until),
            "window": window,
        }
        with self._transaction():
            row = self._db.execute(_SQL["claim_batch"], values).fetchone()
        return _batch(row) if row is not None else None

    def renew(self, batch: Batch, *, lease_until: datetime) -> bool:
        values = {"id": batch.id, "token": batch.token, "owner": batch.owner}
        return self._change("renew_lease", lease_until=_seconds(lease_until), **values) == 1

    def save(self, batch: Batch) -> None:
        values = {
            "id": batch.id,
            "token": batch.token,
            "status": batch.status,
            "journal": _json(batch.journal),
            "counts": _json(batch.counts),
            "usage": _json(batch.usage),
            "window": batch.window,
            "owner": batch.owner,
            "lease_until": _seconds(batch.lease_until),
        }
        if self._change("save_batch", **values) != 1:
            raise LeaseLost(f"batch {batch.id!r} belongs to another process now")

    def add_wave(self, run: Run, batches: Sequence[Batch], retried: Sequence[Batch]) -> bool:
        with self._transaction():
            if self._write("raise_wave", id=run.id, wave=run.wave + 1) != 1:
                return False
            for batch in batches:
                self._write("add_batch", **_batch_values(batch))
            for batch in retried:
                self._write("save_retried", id=batch.id, retried=_json(batch.retried))
        return True

    # --- events ---

    def add_event(self, run_id: str, event: Event) -> None:
        values = {"at": _seconds(event.at), "name": event.name, "fields": _json(event.fields)}
        if self._change("add_event", run_id=run_id, **values) != 1:
            raise self._unknown(run_id)

    def events(self, run_id: str) -> list[Event]:
        return [
            Event(at=_moment(row["at"]), name=row["name"], fields=_decode(row["fields"], Json))
            for row in self._rows("events_of_run", run_id=run_id)
        ]

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _errorname(e: sqlite3.Error) -> str:
    """SQLite's name for it; the driver's own complaints have none."""
    return getattr(e, "sqlite_errorname", "")


def _set_up(db: sqlite3.Connection) -> None:
    db.row_factory = sqlite3.Row
    db.execute("pragma journal_mode = wal")
    # NORMAL loses acknowledged commits when the power goes.
    db.execute("pragma synchronous = full")
    db.execute("pragma foreign_keys = on")


# --- rows and values ---


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _decode(text: str, kind: Any) -> Any:
    return msgspec.json.decode(text, type=kind)


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)


def _run_values(run: Run) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(run),
        "created_at": _seconds(run.created_at),
        "ended_at": _seconds(run.ended_at),
        "spec": _json(run.spec),
        "parts": _json(run.parts),
        "columns": _json(run.columns),
    }


def _run(row: sqlite3.Row) -> Run:
    return Run(
        **{
            **dict(row),
            "created_at": _moment(row["created_at"]),
            "ended_at": _maybe(row["ended_at"]),
            "spec": _decode(row["spec"], Spec),
            "parts": _decode(row["parts"], dict[str, str]),
            "columns": _decode(row["columns"], tuple[str, ...]),
            "budgeted": bool(row["budgeted"]),
        }
    )


def _batch_values(batch: Batch) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(batch),
        "due": _seconds(batch.due),
        "lease_until": _seconds(batch.lease_until),
        "journal": _json(batch.journal),
        "counts": _json(batch.counts),
        "retried": _json(batch.retried),
        "usage": _json(batch.usage),
    }


def _batch(row: sqlite3.Row) -> Batch:
    return Batch(
        **{
            **dict(row),
            "ordered": bool(row["ordered"]),
            "due": _maybe(row["due"]),
            "lease_until": _maybe(row["lease_until"]),
            "journal": _decode(row["journal"], tuple[Segment, ...]),
            "counts": _decode(row["counts"], Counts),
            "retried": _decode(row["retried"], Counts),
            "usage": _decode(row["usage"], Usage),
        }
    )
