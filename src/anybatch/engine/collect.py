"""Results that a provider returned, matched to the requests they answer: by name, never by place.

Nothing the provider says is taken for granted. Names that are not ours, that come twice with
different answers or do not fit the request they name are set aside; rows without a result get one
that says so. A result that has lost its name is told by its request, where that came back with it.
"""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from ..core.ids import first_in, number_in
from ..core.model import Batch, Failure, Remote, Request, Result
from ..core.packing import Pack, named, outcome_of_member
from ..core.states import Outcome
from ..providers.flow import Reply
from ..store.journal import committed_lines
from ..store.requests import RequestFile
from ..wire.batch import ResultLine
from ..wire.jsonl import number_of
from . import act
from .act import Work
from .echoes import Echoes
from .packing import Packer

_KEPT_STRANGERS = 20
_DAMAGED = "malformed"
"""The code of a line that cannot be read."""
_READ_BYTES = 1 << 18
_CHUNK_BYTES = 16_000_000
"""Answers come in any order: the more are looked at together, the closer their requests lie."""


class Collected:
    """What lies in the files that were fetched of one batch."""

    def __init__(
        self,
        work: Work,
        batch: Batch,
        read_line: Callable[[bytes], ResultLine],
        paths: list[Path],
        echo_of: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._work = work
        self._batch = batch
        self._read_line = read_line
        self._echo_of = echo_of
        self._paths = paths
        self._reader = work.new_reader(work.run.spec)
        self._packer = None if batch.pack == 1 else Packer(work.run)
        self._recorded: set[int] = set()
        """The numbers of those requests that have a result here."""
        self._seen: dict[int, int] = {}
        """By number, a checksum of the line that answered it."""
        self._strangers: list[str] = []
        self._foreign = 0
        self._repeated = 0
        self._conflicts: list[int] = []

    def whose(self) -> Literal["ours", "anothers", "unknown"]:
        """Ours, if a line bears a name of ours; unknown, if none bears any."""
        lines, some = self._lines(), False
        with RequestFile(self._work.store.folder(self._batch.run_id)) as requests:
            ours = self._numbers()
            while chunk := _chunk(lines):
                asked = self._asked(chunk, ours, requests)
                if any(line.custom_id in asked for line in chunk):
                    return "ours"
                some = some or any(line.custom_id is not None for line in chunk)
        return "anothers" if some else "unknown"

    def _numbers(self) -> "range | frozenset[int]":
        numbers = act.numbers_of(self._work.store, self._batch)
        return numbers if isinstance(numbers, range) else frozenset(numbers)

    def answered(self, *, settles: bool) -> Iterator[Result]:
        """The results of all requests that have a line and no result yet, in the files' order.

        A damaged line counts as none, unless this `settles` the matter: it may come whole if it is
        fetched once more.
        """
        self._recorded = self._committed()
        with RequestFile(self._work.store.folder(self._batch.run_id)) as requests:
            ours = self._numbers()
            lines = self._lines()
            while chunk := _chunk(lines):
                asked = self._asked(chunk, ours, requests)
                for line in chunk:
                    request = self._named(line, asked)
                    if _is_damaged(line) and not settles:
                        continue
                    for result in self._results(request, line):
                        if result.n not in self._recorded:
                            self._recorded.add(result.n)
                            yield result

    def is_short(self) -> bool:
        """Whether requests have no line at all, once all `answered` were taken."""
        return len(self._recorded) < self._batch.size

    def unanswered(self) -> Iterator[Result]:
        """What becomes of the requests that have no line, once all `answered` were taken."""
        for place, n in self._places():
            if n not in self._recorded:
                yield self._unrun(n, place)

    def _places(self) -> Iterator[tuple[int, int]]:
        """The 1-based place of the line that asks each request, and its number."""
        numbers = act.numbers_of(self._work.store, self._batch)
        if self._packer is None:
            yield from enumerate(numbers, start=1)
            return
        with RequestFile(self._work.store.folder(self._batch.run_id)) as requests:
            groups = self._packer.together(requests, numbers, self._batch.pack)
            yield from ((place, n) for place, group in enumerate(groups, start=1) for n in group)

    def notes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What was wrong, as events, once all results were taken."""
        if self._foreign:
            yield "results.foreign", {"ids": self._strangers, "count": self._foreign}
        if self._repeated:
            yield "results.repeated", {"count": self._repeated}
        if self._conflicts:
            count = len(self._conflicts)
            # Of packs, the first row.
            rows = [max(n, ~n) for n in self._conflicts[:20]]
            yield "results.conflicting", {"rows": rows, "count": count}

    def _lines(self) -> Iterator[ResultLine]:
        echoes = Echoes(self._echoes)
        return map(echoes.named, self._read_lines())

    def _echoes(self) -> Iterator[tuple[str, bytes]]:
        """The names of all requests, and what tells each from others where it comes back."""
        if self._echo_of is None:
            return
        run_id, numbers = self._batch.run_id, act.numbers_of(self._work.store, self._batch)
        with RequestFile(self._work.store.folder(run_id)) as requests:
            for request in self._as_sent(requests, numbers):
                yield named(run_id, request), self._echo_of(request.body)

    def _as_sent(
        self, requests: RequestFile, numbers: "range | memoryview[int]"
    ) -> Iterator[Request]:
        """The calls that were made of these requests."""
        if self._packer is None:
            return act.as_sent(self._work, self._batch, requests, numbers)
        groups = self._packer.together(requests, numbers, self._batch.pack)
        return self._packer.outgoing(requests, groups, frozenset())

    def _read_lines(self) -> Iterator[ResultLine]:
        for path in self._paths:
            with open(path, "rb", buffering=_READ_BYTES) as file:
                for line in file:  # of bytes: split at `\\n` and nothing else
                    if line.strip():
                        yield self._read_line(line)

    def _committed(self) -> set[int]:
        folder = self._work.store.folder(self._batch.run_id)
        committed = committed_lines(folder, self._batch.id, self._batch.journal)
        return {number_of(line) for _, _, line in committed}

    def _asked(
        self, chunk: list[ResultLine], ours: "range | frozenset[int]", requests: RequestFile
    ) -> dict[str, Request]:
        """The requests that these lines may answer, by the names they bear."""
        claimed = {number_in(line.custom_id) for line in chunk if line.custom_id is not None}
        numbers = sorted(n for n in claimed if n is not None and n in ours)
        as_sent = act.as_sent(self._work, self._batch, requests, numbers)
        run_id = self._batch.run_id
        asked = {named(run_id, request): request for request in as_sent}
        return asked if self._packer is None else {**asked, **self._asked_as_packs(chunk, requests)}

    def _asked_as_packs(self, chunk: list[ResultLine], requests: RequestFile) -> dict[str, Request]:
        """The packs that these lines may answer."""
        assert self._packer is not None
        claimed = {first_in(line.custom_id) for line in chunk if line.custom_id is not None}
        numbers = act.numbers_of(self._work.store, self._batch)
        groups = self._packer.together(requests, numbers, self._batch.pack)
        claimed_groups = (group for group in groups if group[0] in claimed)
        packs = self._packer.outgoing(requests, claimed_groups, frozenset())
        return {named(self._batch.run_id, pack): pack for pack in packs}

    def _named(self, line: ResultLine, asked: dict[str, Request]) -> Request | None:
        """The request that a line answers; None if it is none of ours."""
        request = asked.get(line.custom_id or "")
        if request is None:
            self._foreign += 1
            if len(self._strangers) < _KEPT_STRANGERS:
                self._strangers.append(str(line.custom_id)[:64])
            return None
        checksum = zlib.crc32(line.body) ^ hash((line.status, line.outcome))
        if request.n not in self._seen:
            self._seen[request.n] = checksum
        elif self._seen[request.n] == checksum:
            self._repeated += 1
        else:
            self._conflicts.append(request.n)
        return request

    def _results(self, request: Request | None, line: ResultLine) -> list[Result]:
        """What a line says of each request that it answers."""
        if request is None:
            return []
        result = self._result(request, line)
        if not isinstance(request, Pack):
            return [result]
        assert self._packer is not None
        return self._packer.unpacked(request, result)

    def _result(self, request: Request, line: ResultLine) -> Result:
        if line.outcome is None and line.status is not None:
            read = self._reader.heard if isinstance(request, Pack) else self._reader.read
            result = read(request, Reply(status=line.status, body=line.body))
        else:
            outcome = line.outcome or "server_error"
            if outcome == "cancelled" and is_still_wanted(self._remote):
                outcome = "expired"
            result = Result(n=request.n, outcome=outcome, failure=line.failure)
        return self._reader.as_returned(result, line)

    @property
    def _remote(self) -> Remote:
        return self._batch.remote or Remote()

    def _unrun(self, n: int, place: int) -> Result:
        remote = self._remote
        outcome, failure = outcome_of_unrun(remote)
        if place in remote.bad_lines:
            failure = remote.bad_lines[place]
            outcome = _BY_CODE.get(failure.code or "", "bad_request")
        if self._packer is not None:
            outcome = outcome_of_member(outcome)
        return Result(n=n, outcome=outcome, failure=failure)


def _is_damaged(line: ResultLine) -> bool:
    """Whether a line names its request and cannot be read beyond that."""
    return line.status is None and line.failure is not None and line.failure.code == _DAMAGED


def _chunk(lines: Iterator[ResultLine]) -> list[ResultLine]:
    """The next lines, as many as are held in memory at once; none at the end."""
    chunk: list[ResultLine] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line.body)
        if size > _CHUNK_BYTES:
            break
    return chunk


_BY_CODE: dict[str, Outcome] = {
    "model_not_found": "not_found_model",
    "billing_hard_limit_reached": "billing",
    "insufficient_quota": "billing",
    # The service's own trouble, in the words of gRPC.
    "INTERNAL": "server_error",
    "UNAVAILABLE": "server_error",
    "UNKNOWN": "server_error",
    "ABORTED": "server_error",
    "DATA_LOSS": "server_error",
    "DEADLINE_EXCEEDED": "expired",
    "PERMISSION_DENIED": "auth",
    "UNAUTHENTICATED": "auth",
}


def is_still_wanted(remote: Remote) -> bool:
    """Whether rows of a batch that was cancelled are asked again: somebody else did that, or the
    provider, or we did to have them answered another way."""
    return remote.rescued or not remote.cancelled


_GIVEN_UP = ("expired", "cancelled", "exceeded")
"""How the words end for a batch of which not all was run."""


def outcome_of_unrun(remote: Remote) -> tuple[Outcome, Failure]:
    """What becomes of a request that an ended batch has no line for."""
    if remote.failed:
        code = remote.failed[0].code or ""
        if code in _BY_CODE:
            return _BY_CODE[code], remote.failed[0]
        if not remote.bad_lines:
            return "bad_request", remote.failed[0]
        return "expired", Failure(message="not run: other lines of its batch were refused")
    if remote.rescued:
        return "expired", Failure(message="taken back from its batch, to be done in time")
    if remote.cancelled:
        return "cancelled", Failure(message="cancelled before it was run")
    if (remote.status or "").lower().endswith(_GIVEN_UP):
        return "expired", Failure(message=f"its batch is over: {remote.status}")
    return "missing_result", Failure(message="the provider returned nothing for it")
