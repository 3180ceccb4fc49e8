"""Requests in, as a client of our server made them: bodies become a run with planned batches."""

import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import msgspec

from ..core.model import Api, Failure, Result, Row, Run, Spec
from ..core.served import Declined, Ready
from ..core.template import Rendered
from ..store.files import fsync_folder
from ..store.requests import RequestWriter
from ..store.rows import RowWriter
from ..version import VERSION
from ..wire.openai import BUDGET_FIELDS
from .intake import PREFIX_BYTES, Intake, add, begin, forget, unmark
from .sameness import TOOL, fingerprint, parts_of


class ReadyRun:
    """A run while its requests come in. Leaving it before `finish` leaves nothing behind."""

    def __init__(self, intake: Intake, spec: Spec, *, run_id: str, source: str) -> None:
        self._intake = intake
        self._spec = spec
        self._source = source
        self._id = run_id
        self._folder = intake.store.folder(run_id)
        self._open = ExitStack()
        self._stands = False
        begin(intake, self._folder)
        try:
            probe = intake.probe
            self._rows = self._open.enter_context(RowWriter(self._folder, probe=probe))
            self._requests = self._open.enter_context(RequestWriter(self._folder, probe=probe))
        except BaseException:
            self._leave()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._open.close()
        if not self._stands:
            forget(self._folder)

    def add(self, requests: Sequence[Ready]) -> None:
        """Append these requests. Their bodies travel as they are, their names come back."""
        self._rows.add([_kept(request) for request in requests])
        self._requests.add([self._rendered(request.body) for request in requests])

    def _rendered(self, body: bytes) -> Rendered:
        if self._spec.parameters:
            body = with_parameters(self._spec.api, body, self._spec.parameters)
        return Rendered(body, zlib.crc32(body[:PREFIX_BYTES]))

    def finish(self, *, now: datetime) -> Run:
        """Write down the run and its batches."""
        self._requests.finish()
        parts = parts_of(self._spec, self._rows.finish())
        # Two clients may ask the same: each gets a run of its own.
        parts["order"] = self._id
        run = Run(
            id=self._id,
            created_at=now,
            source=self._source,
            spec=self._spec,
            fingerprint=fingerprint(parts),
            parts={**parts, TOOL: VERSION},
            columns=("custom_id",),
            total=self._requests.count,
            account=self._intake.account,
            keep_remote=self._intake.keep_remote,
        )
        self._open.close()
        add(self._intake, run)
        self._stands = True
        unmark(self._intake, self._folder)
        return run


def _kept(request: Ready) -> Row:
    """What of a request is kept to be joined to its answer."""
    if request.asked is None:
        return {"custom_id": request.name}
    return {
        "custom_id": request.name,
        "model": request.model,
        "asked": request.asked.decode(),
    }


class DeclinedRun:
    """A run of requests that are not sent: it has no batches, and is over when it stands."""

    def __init__(self, intake: Intake, *, run_id: str) -> None:
        self._intake = intake
        self._id = run_id
        self._folder = intake.store.folder(run_id)
        self._count = 0
        self._stands = False
        begin(intake, self._folder)
        try:
            self._rows = RowWriter(self._folder, probe=intake.probe)
        except BaseException:
            forget(self._folder)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._rows.__exit__(kind, e, at)
        if not self._stands:
            forget(self._folder)

    def add(self, declined: Sequence[Declined]) -> None:
        self._count += len(declined)
        self._rows.add([_declined(request) for request in declined])

    def finish(self, spec: Spec, *, source: str, now: datetime) -> Run:
        """Write down the run."""
        parts = parts_of(spec, self._rows.finish())
        parts["order"] = self._id
        run = Run(
            id=self._id,
            created_at=now,
            source=source,
            spec=spec,
            fingerprint=fingerprint(parts),
            parts={**parts, TOOL: VERSION},
            columns=("custom_id",),
            total=self._count,
            state="ended",
            ended_at=now,
        )
        self._rows.__exit__(None, None, None)
        fsync_folder(self._folder, probe=self._intake.probe)
        fsync_folder(self._folder.parent, probe=self._intake.probe)
        self._intake.store.add_run(run, [])
        self._stands = True
        unmark(self._intake, self._folder)
        return run


def _declined(request: Declined) -> Row:
    said = {"status": request.status, "message": request.message, "code": request.code}
    return {"custom_id": request.name, "declined": said}


def declined_result(n: int, row: Row) -> Result:
    """What became of a request that was not sent: as if it had been refused where it would be."""
    said = row["declined"]
    why = Failure(message=said["message"], code=said["code"])
    return Result(n=n, outcome="bad_request", status=said["status"], failure=why)


def with_parameters(api: Api, body: bytes, parameters: Mapping[str, Any]) -> bytes:
    """`body` with the parameters that it does not set itself."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    capped = not fields.keys().isdisjoint(BUDGET_FIELDS.get(api, ()))
    ours = {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in parameters.items()
        if not (capped and name in BUDGET_FIELDS.get(api, ()))
    }
    return msgspec.json.encode({**ours, **fields})
