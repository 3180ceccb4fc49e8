"""Requests in, as a client of our server made them: bodies become a run with planned batches."""

import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import msgspec

from ..core.model import Api, Run, Spec
from ..core.served import Ready
from ..core.template import Rendered
from ..store.requests import RequestWriter
from ..store.rows import RowWriter
from ..wire.openai import BUDGET_FIELDS
from .intake import PREFIX_BYTES, Intake, add, begin, fingerprint, forget, parts_of, unmark


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
        self._rows.add([{"custom_id": request.name} for request in requests])
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
            parts=parts,
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
