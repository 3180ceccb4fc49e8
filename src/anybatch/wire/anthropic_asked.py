"""What Anthropic's message batches are asked for, and how a server refuses.

Shapes as of the official SDK 2.10 and the documentation, checked 2026-11-20. The body of a creation
holds all requests of a batch, so it is taken apart as it is read.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ..core.quota import BYTES_PER_TOKEN
from ..core.served import Declined, Ready
from .anthropic import SAMPLING, VERSION, write_error
from .anthropic_batch import write_request
from .reading import UNREADABLE, is_object, one_line

MAX_REQUESTS = 100_000
MAX_BYTES = 256_000_000
"""Of the body that creates a batch."""
MAX_REQUEST_BYTES = 32_000_000
"""Of one request in it."""
KEPT_DAYS = 29
"""So long after a batch was created its results are there."""
USUAL, MOST = 20, 1_000
"""Batches on a page."""


class Refused(Exception):
    """What is answered instead of what was asked for."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def body(self, request_id: str | None = None) -> bytes:
        return write_error(self.status, self.message, request_id=request_id)


# --- a creation -----------------------------------------------------------------------------------

_SPACE = rb"[ \t\r\n]*"
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(
    _SPACE + rb"\{" + _SPACE + rb"(" + _TEXT + rb")" + _SPACE + rb":" + _SPACE + rb"([^ \t\r\n])"
)
_ANOTHER = re.compile(_SPACE + rb"," + _SPACE + rb"(" + _TEXT + rb")" + _SPACE + rb":")
"""A field behind the requests."""
_MARK = b"\xef\xbb\xbf"
_SIGN = re.compile(_SPACE + rb"([^ \t\r\n])")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|([{}"])', re.DOTALL)
"""A whole text, in which nothing counts; or a brace, or the beginning of a text that goes on."""
_HEAD_BYTES = 1024

_AFTER: Mapping[str, Mapping[bytes, str]] = {
    "first": {b"{": "request", b"]": "tail"},
    "next": {b",": "another", b"]": "tail"},
    "another": {b"{": "request"},
    "tail": {b"}": "end"},
    "end": {},
}
"""Between requests: which sign leads where."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Element(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: Any = None
    params: msgspec.Raw = msgspec.Raw()


_ELEMENT = msgspec.json.Decoder(_Element)


class RequestSplitter:
    """Takes the body of a creation apart, piece by piece: one request is in memory at a time."""

    def __init__(self) -> None:
        self._state = "head"
        self._rest = b""
        """What was read and not taken."""
        self._looked = 0
        """So much of the rest was looked through for the end of the request it begins with."""
        self._depth = 0
        self._names: set[str] = set()

    @property
    def count(self) -> int:
        return len(self._names)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The requests that end in `piece`, as a line each. Raises Refused."""
        self._rest += piece
        start = 0
        while (step := self._step(start)) is not None:
            start, request = step
            if request is not None:
                yield self._checked(request)
        self._rest = self._rest[start:]
        if len(self._rest) > MAX_REQUEST_BYTES:
            said = f"it has more than the {MAX_REQUEST_BYTES:,} bytes that one may have"
            raise Refused(413, f"requests.{self.count}: {said}")

    def end(self) -> None:
        """Raises Refused for a body that is not whole, or has no requests."""
        if self._state == "head":
            _check_whole(self._rest)
        if self._state != "end":
            raise Refused(400, "The body ends before its JSON is complete.")
        if not self.count:
            raise Refused(400, "requests: List should have at least 1 item")

    def _step(self, start: int) -> tuple[int, bytes | None] | None:
        """Go on from `start` in the rest: to where, and the request that ends there, if one does;
        None: that takes more than is there."""
        was = self._state
        if was == "head":
            head = _HEAD.match(self._rest, start)
            if head is None:
                if self._rest.startswith(_MARK) or len(self._rest) > _HEAD_BYTES:
                    raise _no_batch(self._rest)
                return None
            _check_name(head[1])
            if head[2] != b"[":
                raise _no_list()
            self._state = "first"
            return head.end(), None
        if was == "request":
            return self._request(start)
        sign = _SIGN.match(self._rest, start)
        if sign is None:
            return None
        if sign[1] not in _AFTER[was]:
            another = _ANOTHER.match(self._rest, start)
            if another is not None:
                raise _extra(another[1])
            if was == "tail" and sign[1] == b"," and len(self._rest) - start < _HEAD_BYTES:
                return None  # its name is not all there
            raise _no_batch()
        self._state = _AFTER[was][sign[1]]
        # A request begins with its brace.
        return (sign.start(1) if sign[1] == b"{" else sign.end()), None

    def _request(self, start: int) -> tuple[int, bytes] | None:
        for token in _TOKEN.finditer(self._rest, start + self._looked):
            match token[1]:
                case b"{":
                    self._depth += 1
                case b"}":
                    self._depth -= 1
                case b'"':
                    self._looked = token.start() - start
                    return None
            if not self._depth:
                self._state, self._looked = "next", 0
                return token.end(), self._rest[start : token.end()]
        self._looked = len(self._rest) - start
        return None

    def _checked(self, raw: bytes) -> bytes:
        """A request as a line, if it is well around its params."""
        where = f"requests.{self.count}"
        if self.count == MAX_REQUESTS:
            raise Refused(400, f"requests: List should have at most {MAX_REQUESTS} items")
        try:
            raw.decode()
            read = _ELEMENT.decode(raw)
        except UNREADABLE as e:
            raise Refused(400, f"{where}: {str(e)[:300]}") from None
        name = read.custom_id
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            said = f"String should match pattern '^{_NAME.pattern}$'"
            raise Refused(400, f"{where}.custom_id: {said}")
        if name in self._names:
            raise Refused(400, f"{where}.custom_id: {name!r} was used before; it must be unique")
        if not is_object(read.params):
            raise Refused(400, f"{where}.params: Input should be a valid dictionary")
        self._names.add(name)
        line = write_request("anthropic.messages", name, bytes(read.params))
        return bytes(one_line(line)) + b"\n"


def _check_whole(body: bytes) -> None:
    """Raises Refused for a body without requests that is JSON from its beginning to its end."""
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE:
        return
    if isinstance(found, dict) and "requests" not in found:
        raise Refused(400, "requests: Field required")
    raise _no_batch()


def _check_name(text: bytes) -> None:
    """Raises Refused for a field that is not the requests, however it is spelled."""
    try:
        name = msgspec.json.decode(text)
    except UNREADABLE:
        raise _no_batch() from None
    if name != "requests":
        raise _extra(text)


def _extra(name: bytes) -> Refused:
    said = name[1:-1].decode("utf-8", "replace")[:100]
    return Refused(400, f"{said}: Extra inputs are not permitted")


def _no_list() -> Refused:
    return Refused(400, "requests: Input should be a valid list")


def _no_batch(body: bytes = b"") -> Refused:
    said = 'The body has to be one JSON object, {"requests": [...]}, with nothing beside them.'
    if body.startswith(_MARK):
        said += " It begins with a byte order mark, which is no JSON."
    return Refused(400, said)


# --- one request ----------------------------------------------------------------------------------

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RequestReader:
    """Reads the lines of a batch. What is wrong with one is told of it when the batch has ended."""

    def __init__(self, version: str) -> None:
        self._gone = SAMPLING if version >= VERSION else frozenset[str]()

    def read(self, number: int, line: bytes) -> Ready | Declined | None:
        """The request on a line, or why it is not sent."""
        read = _ELEMENT.decode(line)
        name: str = read.custom_id
        given = _FIELDS.decode(read.params)
        wrong = self._wrong_with(given)
        if wrong is not None:
            return Declined(name=name, status=400, message=wrong)
        model = msgspec.json.decode(given["model"])
        return Ready(name=name, model=model, body=bytes(read.params))

    def end(self) -> None:
        """An input without requests was not taken."""

    def _wrong_with(self, given: Mapping[str, msgspec.Raw]) -> str | None:
        for field in ("model", "max_tokens", "messages"):
            if field not in given:
                return f"{field}: Field required"
        model, budget = (msgspec.json.decode(given[name]) for name in ("model", "max_tokens"))
        if not isinstance(model, str) or not model:
            return "model: Input should be a valid string"
        if type(budget) is not int or budget < 1:
            return "max_tokens: Input should be an integer greater than or equal to 1"
        if not bytes(given["messages"]).startswith(b"["):
            return "messages: Input should be a valid list"
        if bytes(given.get("stream", b"null")) not in (b"null", b"false"):
            return "stream: Streaming is not supported in a batch"
        for field in sorted(self._gone & given.keys()):
            return f"{field}: Extra inputs are not permitted"
        return None


def unserved(model: str) -> Declined:
    """For a model that nothing answers for here."""
    return Declined(name="", status=404, message=f"model: {model[:100]}")


# --- lists and tokens -----------------------------------------------------------------------------


class Cursor(NamedTuple):
    """Which page of a list is asked for."""

    limit: int
    after: str | None
    before: str | None


def read_cursor(query: Mapping[str, str]) -> Cursor:
    """Raises Refused."""
    text = query.get("limit", str(USUAL))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST):
        raise Refused(400, f"limit: Input should be a number from 1 to {MOST}")
    after, before = query.get("after_id"), query.get("before_id")
    if after is not None and before is not None:
        raise Refused(400, "after_id, before_id: Only one of them can be given")
    return Cursor(int(text), after, before)


def unknown_cursor(batch_id: str) -> Refused:
    return Refused(400, f"There is no message batch {batch_id[:100]!r} to page from.")


_COUNTED = ("system", "messages", "tools")


def estimated_tokens(body: bytes) -> int:
    """About so many tokens a body has, by the bytes of what is said in it. Raises Refused."""
    try:
        body.decode()
        given = _FIELDS.decode(body)
    except UNREADABLE as e:
        raise Refused(400, f"The body has to be a JSON object: {str(e)[:300]}") from None
    for field in ("model", "messages"):
        if field not in given:
            raise Refused(400, f"{field}: Field required")
    size = sum(len(given[name]) for name in _COUNTED if name in given)
    return -(-size // BYTES_PER_TOKEN)
