"""Requests in the words of whoever answers them, and what became of them in those of who asked."""

from collections.abc import Collection
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from ..core.model import NO_BODY, Api, Failure, Result, Row, Run
from ..core.served import Declined, Order, Ready
from ..wire.openai_served import is_answered
from ..wire.strict import NotCarried
from ..wire.translate import can_translate, translate_answer, translate_body

_PREFERRED: tuple[Api, ...] = (
    *("openai.chat", "anthropic.messages", "gemini.generate", "openai.responses"),
    *("openai.embeddings", "gemini.embed"),
)
_CODE = "not_carried"


def target_of(source: Api, apis: Collection[Api]) -> Api:
    """In which of `apis` a body of `source` is said; in its own where none of them can say it."""
    if source in apis:
        return source
    others = (api for api in _PREFERRED if api in apis and can_translate(source, api))
    return next(others, source)


def carried(request: Ready, *, source: Api, target: Api) -> Ready | Declined:
    """`request` in the words of `target`; one that cannot be said in them is declined."""
    if source == target:
        return request
    try:
        body = translate_body(request.body, source=source, target=target, model=request.model)
    except NotCarried as e:
        said = f"It cannot be said to what answers here. {e}"
        return Declined(name=request.name, status=400, message=said, code=_CODE)
    return replace(request, body=body, asked=request.body)


class Returning:
    """What became of the requests of one run, in the words of the order it belongs to."""

    def __init__(self, order: Order, run: Run) -> None:
        self._order = order
        self._source = run.spec.api
        self._created = int(order.created_at.timestamp())
        self._prefix = blake2b(run.id.encode(), digest_size=8).hexdigest()

    def result(self, n: int, row: Row, result: Result | None) -> Result | None:
        """What became of request `n`, of which `row` was kept."""
        if result is None or "asked" not in row:
            return result
        if not is_answered(result):
            return replace(result, body=NO_BODY)  # an error's, in the words of the other api
        asked = str(row["asked"])
        try:
            body = translate_answer(
                bytes(result.body),
                source=self._source,
                target=self._order.api,
                asked=asked.encode(),
                model=str(row["model"]),
                id=f"{self._prefix}{n:08x}",
                created=self._created,
            )
        except NotCarried as e:
            why = Failure(message=f"its answer cannot be said as asked for: {e}", code=_CODE)
            return replace(result, outcome="server_error", status=None, body=NO_BODY, failure=why)
        return replace(result, body=msgspec.Raw(body))
