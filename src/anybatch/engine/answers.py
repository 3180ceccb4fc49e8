"""From a reply to a result, and from a result to the value it holds."""

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from ..core.model import NO_BODY, Failure, Request, Result, Spec
from ..core.schema import Checker
from ..core.states import TRIPPING
from ..providers.flow import Reply
from ..wire.apis import wire_of
from ..wire.batch import ResultLine
from ..wire.reading import is_object


class Reader:
    """Reads the answers of one run: the wire first, then the run's output schema."""

    def __init__(self, spec: Spec) -> None:
        self._api = spec.api
        self._wire = wire_of(spec.api)
        self._checker = Checker(spec.output_schema) if spec.output_schema is not None else None

    def read(self, request: Request, reply: Reply) -> Result:
        """What became of `request`, of which this is the reply."""
        return self._read(request, reply, self._checker)

    def heard(self, request: Request, reply: Reply) -> Result:
        """The same, whatever the answer says."""
        return self._read(request, reply, None)

    def _read(self, request: Request, reply: Reply, checker: Checker | None) -> Result:
        if not reply.ok:
            outcome, why = self._wire.read_failure(reply.status, reply.body)
            return Result(n=request.n, outcome=outcome, status=reply.status, failure=why)
        answer = self._wire.read_answer(self._api, reply.body)
        outcome, failure = answer.outcome, answer.failure
        if outcome == "succeeded" and checker is not None:
            problem = checker.check(answer.value).problem
            if problem is not None:
                outcome, failure = "invalid_output", Failure(message=problem)
        return Result(
            n=request.n,
            outcome=outcome,
            status=reply.status,
            body=_kept(reply.body, malformed=outcome == "server_error"),
            failure=failure,
            usage=answer.usage,
            model=answer.model,
        )

    def as_returned(self, result: Result, line: ResultLine) -> Result:
        """The same with all of the provider's words of it: its ids, and the body of an error."""
        body = result.body
        if line.status is not None and not 200 <= line.status < 300:
            body = _kept(line.body, malformed=not is_object(line.body))
        return replace(result, line_id=line.line_id, request_id=line.request_id, body=body)

    def value(self, result: Result) -> Any:
        """The answer of a result that succeeded: a text, a schema's value, or numbers."""
        if result.outcome != "succeeded":
            return None
        value = self._wire.read_answer(self._api, bytes(result.body)).value
        return value if self._checker is None else self._checker.parse(value)


MAX_ERROR_BYTES = 64 * 1024
"""A longer body of an error is not kept: its message and its code are."""


class ServedReader(Reader):
    """Reads answers for a client of our server. What befell one line of a provider's results is
    that line's own."""

    def __init__(self, spec: Spec, *, as_they_came: bool) -> None:
        """`as_they_came`: the client knows the api, so any JSON object is an answer where the
        service says that it is one, and an error has the body that it came with."""
        super().__init__(spec)
        self._as_they_came = as_they_came

    def read(self, request: Request, reply: Reply) -> Result:
        result = super().read(request, reply)
        if not self._as_they_came or (reply.ok and result.outcome != "server_error"):
            return result
        body = _as_object(reply.body) if reply.ok or reply.status >= 400 else None
        if body is None:
            return result
        if reply.ok:
            mended = Reply(status=reply.status, body=body, headers=reply.headers)
            result = super().read(request, mended)
            if result.outcome != "server_error":
                return result
            return replace(result, outcome="succeeded", body=_on_a_line(body), failure=None)
        if len(body) > MAX_ERROR_BYTES:
            return result
        return replace(result, body=_on_a_line(body))

    def as_returned(self, result: Result, line: ResultLine) -> Result:
        result = super().as_returned(result, line)
        if result.outcome in TRIPPING:
            return replace(result, outcome="bad_request")
        return result


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_HALVES = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)", re.DOTALL)
"""Escapes of a backslash, of a whole pair, and of half of one, which is the group."""


def _as_object(body: bytes) -> bytes | None:
    """`body` if it is a JSON object, else None.

    A byte order mark is left away; and half of a pair of escapes, which is no character and keeps
    strict readers from the rest, is U+FFFD.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if _is_whole(body):
        return body
    mended = _HALVES.sub(lambda each: rb"\ufffd" if each[1] else each[0], body)
    return mended if _is_whole(mended) else None


def _is_whole(body: bytes) -> bool:
    try:
        body.decode()  # msgspec leaves what it skips unchecked
        _OBJECT.decode(body)
    except (ValueError, RecursionError):
        return False
    return True


def _kept(body: bytes, *, malformed: bool) -> msgspec.Raw:
    """The body as it goes into the journal: on one line, and only if it is JSON."""
    return NO_BODY if malformed else _on_a_line(body)


def _on_a_line(body: bytes) -> msgspec.Raw:
    return msgspec.Raw(body if b"\n" not in body else msgspec.json.format(body, indent=-1))
