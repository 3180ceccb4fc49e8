"""The nouns as rows of the database, and back.

Whatever comes out is held against what we could have written: a database has no checksums of its
own.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

import msgspec

from ..core.model import Batch, Counts, Json, Queue, Remote, Run, Segment, Spec, Terms, Usage
from ..core.offers import Quote
from ..core.quota import Load, Quota
from ..core.timing import Timing
from .store import Event


def as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def as_json_or_none(value: object) -> str | None:
    return None if value is None else as_json(value)


def _decode(text: str, kind: Any) -> Any:
    return msgspec.json.decode(text, type=kind)


def seconds(at: datetime | None) -> float | None:
    """Since 1970."""
    return None if at is None else at.timestamp()


def moment(since_1970: float) -> datetime:
    return datetime.fromtimestamp(since_1970, UTC)


def _maybe(since_1970: float | None) -> datetime | None:
    return None if since_1970 is None else moment(since_1970)


_FIXED_OF_RUN = (
    *("id", "created_at", "source", "spec", "fingerprint", "parts", "columns"),
    *("total", "skipped", "budgeted", "account"),
)
_FIXED_OF_BATCH = (
    *("id", "run_id", "wave", "attempt", "part", "first", "size", "ordered", "budget_factor"),
    "executor",
)
"""The columns that are written once. A database has no checksums of its own."""


def _crc(values: Mapping[str, Any], names: Sequence[str]) -> int:
    return crc32(msgspec.json.encode([values[name] for name in names]))


def _sealed(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {**values, "crc": _crc(values, names)}


def _unsealed(row: sqlite3.Row, names: Sequence[str]) -> dict[str, Any]:
    values = dict(row)
    if values["crc"] != _crc(values, names):
        raise ValueError(f"{values['id']!r} does not match its checksum")
    return values


def run_values(run: Run) -> dict[str, Any]:
    values = {
        **msgspec.structs.asdict(run),
        "created_at": seconds(run.created_at),
        "ended_at": seconds(run.ended_at),
        "spec": as_json(run.spec),
        "parts": as_json(run.parts),
        "columns": as_json(run.columns),
        "budgeted": int(run.budgeted),
        "keep_remote": int(run.keep_remote),
        "terms": as_json(run.terms),
    }
    return _sealed(values, _FIXED_OF_RUN)


def run_of(row: sqlite3.Row) -> Run:
    return msgspec.convert(
        {
            **_unsealed(row, _FIXED_OF_RUN),
            "created_at": moment(row["created_at"]),
            "ended_at": _maybe(row["ended_at"]),
            "spec": _decode(row["spec"], Spec),
            "parts": _decode(row["parts"], dict[str, str]),
            "columns": _decode(row["columns"], tuple[str, ...]),
            "budgeted": bool(row["budgeted"]),
            "keep_remote": bool(row["keep_remote"]),
            "terms": _decode(row["terms"], Terms),
        },
        Run,
    )


def quote_of(row: sqlite3.Row) -> Quote:
    return msgspec.json.decode(row["quote"], type=Quote)


def batch_values(batch: Batch) -> dict[str, Any]:
    values = {
        **msgspec.structs.asdict(batch),
        "due": seconds(batch.due),
        "lease_until": seconds(batch.lease_until),
        "journal": as_json(batch.journal),
        "counts": as_json(batch.counts),
        "retried": as_json(batch.retried),
        "copies": as_json(batch.copies),
        "copies_retried": as_json(batch.copies_retried),
        "usage": as_json(batch.usage),
        "remote": as_json_or_none(batch.remote),
        "ordered": int(batch.ordered),
        "reused": int(batch.reused),
        "trial": int(batch.trial),
    }
    return _sealed(values, _FIXED_OF_BATCH)


def batch_of(row: sqlite3.Row) -> Batch:
    return msgspec.convert(
        {
            **_unsealed(row, _FIXED_OF_BATCH),
            "ordered": bool(row["ordered"]),
            "reused": bool(row["reused"]),
            "trial": bool(row["trial"]),
            "due": _maybe(row["due"]),
            "lease_until": _maybe(row["lease_until"]),
            "journal": _decode(row["journal"], tuple[Segment, ...]),
            "counts": _decode(row["counts"], Counts),
            "retried": _decode(row["retried"], Counts),
            "copies": _decode(row["copies"], Counts),
            "copies_retried": _decode(row["copies_retried"], Counts),
            "usage": _decode(row["usage"], Usage),
            "remote": None if row["remote"] is None else _decode(row["remote"], Remote),
        },
        Batch,
    )


def event_values(event: Event) -> dict[str, Any]:
    return {"at": seconds(event.at), "name": event.name, "fields": as_json(event.fields)}


def event_of(row: sqlite3.Row) -> Event:
    return Event(at=moment(row["at"]), name=row["name"], fields=_decode(row["fields"], Json))


def queue_values(queue: Queue) -> dict[str, str]:
    return {
        "provider": queue.provider,
        "account": queue.account or "",
        "model": queue.model or "",
    }


def quota_values(quota: Quota) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(quota),
        "named": int(quota.named),
        "learned_at": seconds(quota.learned_at),
    }


def quota_of(row: sqlite3.Row) -> Quota:
    names = ("measure", "ceiling", "said")
    values = {name: row[name] for name in names}
    return msgspec.convert(
        {**values, "named": bool(row["named"]), "learned_at": moment(row["learned_at"])}, Quota
    )


def timing_of(row: sqlite3.Row) -> Timing:
    return Timing(row["phase"], row["seconds"])


def load_of(row: sqlite3.Row) -> Load:
    return Load(batches=row["batches"], requests=row["requests"], tokens=row["tokens"])
