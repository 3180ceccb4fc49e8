"""The fake service behind the sockets: reads a call, plans what becomes of it, performs that."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ..service.faults import Cut, retry_after
from ..service.http1 import Body, Connection, Head, Reply
from ..service.script import by_number
from ..service.sending import Sending, send_at_once
from .answers import CREATED, Answerer
from .call import PATHS, Call, count_tokens, messages, prompt_of
from .errors import error_reply
from .ledger import Ledger
from .limits import Gate, Refusal
from .plan import JSON, Plan, later, plan, refused
from .script import Scripted, as_script

REQUIRED = {
    "openai.chat": "messages",
    "openai.responses": "input",
    "openai.embeddings": "input",
    "openai.completions": "prompt",
    "openai.moderations": "input",
    "openai.images": "prompt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the service behaves; all that a user sets but the limits."""

    answer: Answerer
    script: Scripted
    latency: float | Callable[[Call], float]
    key: str | None
    models: Sequence[str]


class Service:
    """Belongs to the endpoint's thread; only the ledger is read from others."""

    def __init__(self, manner: Manner, gate: Gate, ledger: Ledger) -> None:
        self._manner = manner
        self._gate = gate
        self._ledger = ledger
        self._script = as_script(manner.script)
        self._numbered = by_number(manner.script)
        self._attempts: Counter[str] = Counter()
        self.mistakes: list[Exception] = []
        """What a user's `answer`, `script` or `latency` raised."""

    def serves(self, head: Head) -> bool:
        """Whether the path is one of a real-time endpoint."""
        path = _path(head)
        return path in PATHS or path == "/models"

    def admit(self, head: Head) -> int | None:
        if _refused(head, self._manner.key) is not None or head.method != "POST":
            return 0
        number = self._ledger.arrive()
        match self._numbered.get(number):
            case Cut(when="unread"):
                return None
            case _:
                return number

    def body(self, head: Head) -> Body:
        return Body()

    def abandoned(self, number: int, head: Head) -> None: ...

    def serve(self, number: int, head: Head, body: Body, connection: Connection) -> None:
        reply = _refused(head, self._manner.key)
        if reply is None and head.method == "GET":
            reply = self._list_models()
        if reply is not None:
            send_at_once(Sending(reply=reply), connection)
            return
        self._perform(self._plan(number, head, body.read()), number, connection)

    def _list_models(self) -> Reply:
        listed = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "anybatch"}
            for name in self._manner.models
        ]
        body = msgspec.json.encode({"object": "list", "data": listed})
        return Reply(status=200, body=body, headers=JSON)

    def _plan(self, number: int, head: Head, body: bytes) -> Plan:
        sha = hashlib.sha256(body).hexdigest()
        self._attempts[sha] += 1
        try:
            read = read_call(
                _path(head),
                head.headers,
                body,
                number=number,
                attempt=self._attempts[sha],
                sha=sha,
            )
            return refused(read) if isinstance(read, Reply) else self._decide(read)
        except Exception as mistake:
            # The user's own function failed. Say so to the client now, and to the user at the end.
            self.mistakes.append(mistake)
            return refused(error_reply(500, message=f"the test's own code raised {mistake!r}"))

    def _decide(self, call: Call) -> Plan:
        manner = self._manner
        decided = plan(call, self._script(call), manner.answer)
        latency = manner.latency(call) if callable(manner.latency) else manner.latency
        if decided.execution is not None:
            refusal = self._refusal(call, decided)
            if refusal is not None:
                return refused(_too_many(refusal))
        return later(decided, latency) if latency else decided

    def _refusal(self, call: Call, decided: Plan) -> Refusal | None:
        assert decided.execution is not None
        tokens_out = decided.execution.tokens_out if call.budget is None else call.budget
        tokens = decided.execution.tokens_in + tokens_out
        return self._gate.enter(tokens=tokens, running=self._ledger.running)

    def _perform(self, decided: Plan, number: int, connection: Connection) -> None:
        place = self._ledger.begin(decided.execution)
        delay = decided.sending.delay
        connection.later(delay, lambda: self._finish(decided, number, connection, place))

    def _finish(
        self, decided: Plan, number: int, connection: Connection, place: int | None
    ) -> None:
        sending = decided.sending
        reply = sending.reply
        gone = connection.lost or reply is None
        delivered = decided.delivers and not gone
        # Noted before it is sent: who has the answer in hand finds it in the ledger.
        self._ledger.end(
            place,
            status=None if gone or reply is None else reply.status,
            outcome="answered" if delivered else "lost",
        )
        if reply is not None:
            headers = {**reply.headers, "x-request-id": f"req_{number}", **self._gate.headers()}
            sending = replace(sending, reply=replace(reply, headers=headers))
        send_at_once(sending, connection)


def read_call(
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    number: int,
    attempt: int,
    sha: str,
    custom_id: str | None = None,
    batch_id: str | None = None,
) -> Call | Reply:
    """The call, or the error that a body like this gets."""
    api = PATHS[path]
    try:
        json: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return error_reply(400, message="We could not parse the JSON body of your request.")
    if not isinstance(json, dict) or not isinstance(json.get("model"), str):
        return error_reply(400, message="You must provide a model parameter.", param="model")
    if json.get("stream"):
        return error_reply(400, message="This endpoint does not stream.", param="stream")
    try:
        said = messages(api, json)
    except (KeyError, TypeError, AttributeError, IndexError):
        return _unreadable(REQUIRED[api], missing=REQUIRED[api] not in json)
    if api == "openai.completions" and len(said) != 1:
        return error_reply(400, message="This endpoint takes one prompt a call.", param="prompt")
    return Call(
        number=number,
        attempt=attempt,
        path=path,
        api=api,
        headers=dict(headers),
        body=body,
        sha=sha,
        json=json,
        model=json["model"],
        prompt=prompt_of(api, said),
        tokens_in=sum(count_tokens(text) for _, text in said),
        custom_id=custom_id,
        batch_id=batch_id,
    )


def _unreadable(field: str, *, missing: bool) -> Reply:
    if missing:
        message = f"Missing required parameter: {field!r}."
        return error_reply(400, message=message, param=field, code="missing_required_parameter")
    return error_reply(400, message=f"Invalid type for {field!r}.", param=field)


def _path(head: Head) -> str:
    return head.path.removeprefix("/v1")


def _refused(head: Head, key: str | None) -> Reply | None:
    """The error that a call gets for its first line and headers."""
    if key is not None and head.headers.get("authorization") != f"Bearer {key}":
        return error_reply(401)
    path = _path(head)
    if path not in PATHS and path != "/models":
        message = f"Invalid URL ({head.method} {head.path})"
        return error_reply(404, message=message, code="unknown_url")
    if head.method != ("GET" if path == "/models" else "POST"):
        return error_reply(405, message=f"Not allowed to {head.method} on {head.path}.")
    return None


def _too_many(refusal: Refusal) -> Reply:
    headers = retry_after(refusal.seconds) | retry_after(refusal.seconds, form="ms")
    return error_reply(429, message=refusal.message, headers=headers)
