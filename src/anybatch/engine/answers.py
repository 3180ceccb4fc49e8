"""From a reply to a result, and from a result to the value it holds."""

from typing import Any

import msgspec
from msgspec.structs import replace

from ..core.model import NO_BODY, Failure, Request, Result, Spec
from ..core.schema import Checker
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
        if not reply.ok:
            outcome, why = self._wire.read_failure(reply.status, reply.body)
            return Result(n=request.n, outcome=outcome, status=reply.status, failure=why)
        answer = self._wire.read_answer(self._api, reply.body)
        outcome, failure = answer.outcome, answer.failure
        if outcome == "succeeded" and self._checker is not None:
            problem = self._checker.check(answer.value).problem
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


def _kept(body: bytes, *, malformed: bool) -> msgspec.Raw:
    """The body as it goes into the journal: on one line, and only if it is JSON."""
    if malformed:
        return NO_BODY
    return msgspec.Raw(body if b"\n" not in body else msgspec.json.format(body, indent=-1))
