"""The store of a server: runs, and what its clients gave and asked for."""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any, TypeVar

import msgspec

from ..core.model import Json, Usage
from ..core.served import (
    AFTER,
    Answered,
    ApiKey,
    Order,
    OrderStatus,
    Problem,
    StoredFile,
    TokensUsed,
    Upload,
    UploadPart,
    UploadStatus,
)
from ..core.webhooks import WebhookEndpoint, event_of
from .sqlite import named
from .values import as_json, moment, seconds
from .webhooks import WebhookStore

T = TypeVar("T")

_SQL = named((files(__package__) / "served.sql").read_text())
_LAST = 2**62
"""No list has so many entries."""
_AT_ONCE = 500


class ServedStore(WebhookStore):
    """The store of one machine, and what a server keeps in it.

    What belongs to an owner is found by that owner and no other: for all others it is not there.
    """

    def _found(self, noun: Callable[[sqlite3.Row], T], name: str, /, **values: Any) -> list[T]:
        with self._lock, self._translated(), self._understood():
            return [noun(row) for row in self._db.execute(_SQL[name], values)]

    def _run(self, name: str, /, **values: Any) -> int:
        """Run a statement inside the present transaction; how many rows it touched."""
        return self._db.execute(_SQL[name], values).rowcount

    def _run_alone(self, name: str, /, **values: Any) -> int:
        with self._writing():
            return self._run(name, **values)

    # --- calls that may be made again ---

    def _note(self, answered: Answered | None) -> None:
        """Write it down with what was made: who dies in between has done neither."""
        if answered is not None:
            values = msgspec.structs.asdict(answered)
            self._run("note_answer", **(values | {"at": seconds(answered.at)}))

    def note_answer(self, answered: Answered | None) -> None:
        """Write it down where nothing else was made."""
        with self._transaction():
            self._note(answered)

    def answer_to(self, call: str, *, owner: str, since: datetime) -> Answered | None:
        """What this call made that was not made before then; None: nothing."""
        asked = {"owner": owner, "call": call, "since": seconds(since)}
        return next(iter(self._found(_answered_of, "answer_to", **asked)), None)

    def forget_answer(self, call: str, *, owner: str) -> None:
        """What this call made has reached its client: said again, it makes another."""
        self._run_alone("forget_answer", call=call, owner=owner)

    def forget_answers(self, before: datetime) -> None:
        self._run_alone("forget_answers", before=seconds(before))

    # --- files ---

    def add_file(self, file: StoredFile, *, answered: Answered | None = None) -> None:
        """Write it down, and of which call it is the answer."""
        with self._transaction():
            self._run("add_file", **_file_values(file))
            self._note(answered)

    def file(self, file_id: str, *, owner: str, now: datetime) -> StoredFile | None:
        """None where it is not there for this owner, or its time is over."""
        found = self._found(_file_of, "file_by_id", id=file_id, owner=owner, now=seconds(now))
        return next(iter(found), None)

    def files_of(
        self,
        owner: str,
        *,
        now: datetime,
        most: int,
        purposes: Collection[str],
        after: str | None = None,
        newest_first: bool = True,
    ) -> list[StoredFile] | None:
        """At most so many of an owner's files for any of `purposes`, behind the one with id
        `after`, which may have been deleted lately; None: there was none of that id."""
        name = "files_newest_first" if newest_first else "files_oldest_first"
        place = _LAST if newest_first else 0
        whose = {"owner": owner, "purposes": as_json(tuple(purposes))}
        if after is not None:
            known = self._found(_place, "place_of_file", id=after, **whose)
            if not known:
                return None
            (place,) = known
        return self._found(_file_of, name, after=place, now=seconds(now), most=most, **whose)

    def delete_file(self, file_id: str, *, owner: str, now: datetime) -> bool:
        """False if it is not there."""
        with self._transaction():
            return self._delete_file(file_id, owner=owner, now=now)

    def _delete_file(self, file_id: str, *, owner: str, now: datetime) -> bool:
        self._run("keep_place_of_file", id=file_id, owner=owner, now=seconds(now))
        return self._run("delete_file", id=file_id, owner=owner) == 1

    def forget_places(self, before: datetime) -> None:
        """Nobody goes on with a list behind what was deleted before then."""
        self._run_alone("forget_places", before=seconds(before))

    def outlived_files(self, now: datetime) -> list[StoredFile]:
        """Files whose time is over, some at a time."""
        return self._found(_file_of, "outlived_files", now=seconds(now), most=_AT_ONCE)

    def file_ids(self) -> set[str]:
        """All there are, of whomever."""
        return set(self._found(_id, "file_ids"))

    # --- uploads ---

    def add_upload(self, upload: Upload, *, answered: Answered | None = None) -> None:
        values = msgspec.structs.asdict(upload)
        moments = {name: seconds(values[name]) for name in ("created_at", "expires_at")}
        with self._transaction():
            self._run("add_upload", **(values | moments))
            self._note(answered)

    def upload(self, upload_id: str, *, owner: str) -> Upload | None:
        found = self._found(_upload_of, "upload_by_id", id=upload_id, owner=owner)
        return next(iter(found), None)

    def add_upload_part(self, part: UploadPart, *, answered: Answered | None = None) -> bool:
        """False if its upload takes no parts any more."""
        values = msgspec.structs.asdict(part)
        values["created_at"] = seconds(part.created_at)
        with self._transaction():
            if self._run("add_upload_part", **values) != 1:
                return False
            self._note(answered)
        return True

    def parts_of(self, upload_id: str) -> list[UploadPart]:
        """In the order they arrived."""
        return self._found(_part_of, "parts_of_upload", upload_id=upload_id)

    def part_ids(self) -> set[str]:
        """All there are, of whomever."""
        return set(self._found(_id, "upload_part_ids"))

    def end_upload(
        self,
        upload: Upload,
        status: UploadStatus,
        *,
        file: StoredFile | None = None,
        answered: Answered | None = None,
    ) -> bool:
        """Take no more parts; False if that was so already. With the `file` that it has become."""
        with self._transaction():
            file_id = None if file is None else file.id
            if self._run("end_upload", id=upload.id, status=status, file_id=file_id) != 1:
                return False
            if file is not None:
                self._run("add_file", **_file_values(file))
            self._run("forget_parts", upload_id=upload.id)
            self._note(answered)
        return True

    def outlived_uploads(self, now: datetime) -> list[Upload]:
        """Those that nobody completed in time, some at a time."""
        return self._found(_upload_of, "outlived_uploads", now=seconds(now), most=_AT_ONCE)

    # --- orders ---

    def add_order(self, order: Order, *, answered: Answered | None = None) -> None:
        with self._transaction():
            self._run("add_order", **_order_values(order))
            self._note(answered)

    def order(self, order_id: str) -> Order | None:
        """Whoever's it is."""
        return next(iter(self._found(_order_of, "order_by_id", id=order_id)), None)

    def open_orders(self) -> list[Order]:
        """What is not over yet, the oldest first."""
        return self._found(_order_of, "open_orders")

    def orders_of(
        self,
        owner: str,
        *,
        face: str,
        most: int,
        after: str | None = None,
        newest_first: bool = True,
    ) -> list[Order] | None:
        """At most so many of an owner's orders by one protocol, behind the one with id `after`,
        which may have been deleted; None: there was none of that id."""
        place = _LAST if newest_first else 0
        if after is not None:
            known = self._found(_place, "place_of_order", id=after, owner=owner, face=face)
            if not known:
                return None
            (place,) = known
        page = {"face": face, "after": place, "most": most}
        name = "orders_newest_first" if newest_first else "orders_oldest_first"
        return self._found(_order_of, name, owner=owner, **page)

    def save_order(
        self, order: Order, *, seen: OrderStatus, files: Sequence[StoredFile] = ()
    ) -> bool:
        """Move an order on from the status it was `seen` in, with the files that were made for it.
        If it is over then, that is in the outbox.

        False, changing nothing, if it has moved. A status that may not follow is a mistake of ours.
        """
        if order.status != seen and order.status not in AFTER[seen]:
            raise AssertionError(f"order {order.id!r} is {seen} and cannot become {order.status}")
        with self._transaction():
            if self._run("save_order", seen=seen, **_order_values(order)) != 1:
                return False
            for file in files:
                self._run("add_file", **_file_values(file))
            if order.is_over:
                self._tell(event_of(order))
        return True

    def delete_order(self, order: Order, *, files: Sequence[str], now: datetime) -> bool:
        """Forget an order that has ended, these `files` and its runs; False if it is not there.

        What lies in the files is not removed.
        """
        self.forget_runs(order)  # as long as it is written down which they are
        with self._transaction():
            if self._run("delete_order", id=order.id, owner=order.owner, face=order.face) != 1:
                return False
            for file_id in files:
                self._delete_file(file_id, owner=order.owner, now=now)
        return True

    def ended_orders(self, before: datetime) -> list[Order]:
        """Those that ended before then and still have runs, some at a time."""
        return self._found(_order_of, "ended_orders", before=seconds(before), most=_AT_ONCE)

    def forget_runs(self, order: Order) -> None:
        """Delete the runs of an order that has ended."""
        for run_id in order.runs:
            self.delete(run_id)
        self._run_alone("forget_runs", id=order.id)

    def tokens_used(self) -> list[TokensUsed]:
        """What was used when, of whomever, the oldest first."""
        return self._found(_tokens_used_of, "tokens_used")

    def add_tokens_used(self, used: Sequence[TokensUsed], *, forget_before: datetime) -> None:
        """Write down what was used, and forget what was before then, but not of open orders."""
        with self._transaction():
            for each in used:
                values = msgspec.structs.asdict(each)
                self._run("add_tokens_used", **(values | {"at": seconds(each.at)}))
            self._run("forget_tokens_used", before=seconds(forget_before))

    def check_writable(self) -> None:
        """Write what is there already, as durably as anything. Raises StoreUnwritable."""
        with self._transaction():
            self._db.execute(f"pragma user_version = {self._version()}")

    # --- keys ---

    def add_api_key(self, key: ApiKey) -> None:
        moments = {name: seconds(getattr(key, name)) for name in ("made_at", "revoked_at")}
        self._run_alone("add_api_key", **(msgspec.structs.asdict(key) | moments))

    def api_keys(self) -> list[ApiKey]:
        """All there were, the oldest first."""
        return self._found(_api_key_of, "api_keys")

    def revoke_api_key(self, key_id: str, *, at: datetime) -> bool:
        """False if that was so already, or it is not there."""
        return self._run_alone("revoke_api_key", id=key_id, at=seconds(at)) == 1

    # --- webhooks: the rest is in `webhooks.py` ---

    def add_webhook_endpoint(
        self, endpoint: WebhookEndpoint, *, answered: Answered | None = None
    ) -> None:
        with self._transaction():
            self._put_endpoint(endpoint)
            self._note(answered)

    def save_webhook_endpoint(
        self, endpoint: WebhookEndpoint, *, answered: Answered | None = None
    ) -> bool:
        """Change it; False if it is not there. If it is disabled, what waits for it is given up."""
        with self._transaction():
            if not self._change_endpoint(endpoint, why="its endpoint was disabled"):
                return False
            self._note(answered)
        return True


def _tokens_used_of(row: sqlite3.Row) -> TokensUsed:
    return msgspec.convert({**row, **_moments(row, "at")}, TokensUsed)


def _api_key_of(row: sqlite3.Row) -> ApiKey:
    return msgspec.convert({**row, **_moments(row, "made_at", "revoked_at")}, ApiKey)


def _place(row: sqlite3.Row) -> int:
    return int(row["place"])


def _id(row: sqlite3.Row) -> str:
    return str(row["id"])


def _moments(row: sqlite3.Row, *names: str) -> dict[str, datetime | None]:
    return {name: None if row[name] is None else moment(row[name]) for name in names}


def _answered_of(row: sqlite3.Row) -> Answered:
    return msgspec.convert({**row, **_moments(row, "at")}, Answered)


def _file_values(file: StoredFile) -> dict[str, Any]:
    moments = {"created_at": seconds(file.created_at), "expires_at": seconds(file.expires_at)}
    return msgspec.structs.asdict(file) | moments


def _file_of(row: sqlite3.Row) -> StoredFile:
    return msgspec.convert({**row, **_moments(row, "created_at", "expires_at")}, StoredFile)


def _upload_of(row: sqlite3.Row) -> Upload:
    return msgspec.convert({**row, **_moments(row, "created_at", "expires_at")}, Upload)


def _part_of(row: sqlite3.Row) -> UploadPart:
    return msgspec.convert({**row, **_moments(row, "created_at")}, UploadPart)


_MOMENTS = (
    *("created_at", "expires_at", "started_at", "finishing_at", "cancelling_at", "ended_at"),
)
_JSON: dict[str, Any] = {
    "asked": Json,
    "runs": tuple[str, ...],
    "problems": tuple[Problem, ...],
    "usage": Usage,
}


def _order_values(order: Order) -> dict[str, Any]:
    values = msgspec.structs.asdict(order)
    return (
        values
        | {name: seconds(values[name]) for name in _MOMENTS}
        | {name: as_json(values[name]) for name in _JSON}
    )


def _order_of(row: sqlite3.Row) -> Order:
    read = {name: msgspec.json.decode(row[name], type=kind) for name, kind in _JSON.items()}
    return msgspec.convert({**row, **_moments(row, *_MOMENTS), **read}, Order)
