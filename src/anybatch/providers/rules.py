"""The rules that a file of ready-made requests has to keep to, held against it line by line.

What a line looks like differs by provider (`openai_rules.py` and its neighbours); what lines have
to do with each other, and how many there may be, is here. Codes are those of OpenAI's validation
where it has one, so that one vocabulary serves all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from ..core.model import Api
from ..core.plan import Limits
from ..wire.reading import UNREADABLE, is_object

Code = Literal[
    "byte_order_mark",
    "duplicate_custom_id",
    "empty_file",
    "forbidden_field",
    "invalid_custom_id",
    "invalid_file_name",
    "invalid_json_line",
    "invalid_method",
    "invalid_request",
    "invalid_url",
    "invalid_value",
    "mismatched_model",
    "missing_required_parameter",
    "request_too_large",
    "streaming_unsupported",
    "too_many_bytes",
    "too_many_inputs",
    "too_many_requests",
    "wrong_encoding",
]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that is not kept, and by what."""

    line: int | None = None
    """1-based; None: it concerns the whole file."""
    code: Code
    param: str | None = None
    """The field it is about."""
    message: str


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one line says, as far as rules care, and what is wrong with it by itself."""

    name: str | None = None
    """What tells its answer from those of others."""
    model: str | None = None
    endpoint: str | None = None
    """Where it goes."""
    inputs: int = 0
    """How many texts it holds, where a provider counts them."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a provider asks of a file."""

    looks: Mapping[str, Callable[[bytes], Look]]
    """How a line is looked at, by the version of the API; the first one is meant by default."""
    name: str
    """The field that tells answers apart."""
    model: str | None = None
    """The field that names the model, where that is one for all of a batch."""
    endpoint: str | None = None
    """The field that says where a request goes: that is one place for all of a batch."""
    endpoints: Mapping[str, Api | None] = field(default_factory=dict)
    """What it may say; None: a place of which we speak no api."""
    max_inputs: int | None = None
    """Of all requests of a batch together."""
    ending: str | None = None
    """How the name of the file has to end; None: it is not looked at."""
    body: bool = False
    """Whether the requests may also stand in the list of one body."""

    def endpoints_of(self, apis: Iterable[Api]) -> tuple[str, ...]:
        """Where a provider that takes these apis takes requests.

        A place without an api of ours is taken by whoever takes all the others.
        """
        taken = frozenset(apis)
        takes_all = taken.issuperset(filter(None, self.endpoints.values()))
        return tuple(
            endpoint
            for endpoint, api in self.endpoints.items()
            if api in taken or (api is None and takes_all)
        )


class Tally:
    """One file held against the rules: what its lines add up to, and what they have in common."""

    def __init__(
        self, rules: Rules, *, limits: Limits, apis: Iterable[Api], version: str | None = None
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._look = rules.looks[version or next(iter(rules.looks))]
        self._endpoints = rules.endpoints_of(apis)
        self._names: dict[str, int] = {}
        """Which line had a name first: the one thing that grows with the file."""
        self._model: str | None = None
        self._endpoint: str | None = None
        self._inputs = 0
        self.requests = 0
        self.bytes = 0
        self.problems = 0

    def begin(self, name: str | None, *, encoding: str | None) -> list[Problem]:
        """What is wrong with a file of this name whose byte order mark says this encoding."""
        found = [*_name_problems(name, self._rules.ending), *_mark_problems(encoding)]
        return self._counted(found)

    def add(self, number: int, line: bytes, *, size: int) -> list[Problem]:
        """What is wrong with the next line. Of one that is too large, `line` need not be whole."""
        self.requests += 1
        self.bytes += size
        most = self._limits.max_bytes
        if most is not None and size > most:
            message = f"the request has {size:,} bytes, and a whole batch may have {most:,}"
            return self._counted([Problem(line=number, code="request_too_large", message=message)])
        look = self._look(line)
        found = [*look.problems, *self._between(look, number)]
        return self._counted([replace(problem, line=number) for problem in found])

    def broken(self, why: str) -> list[Problem]:
        """That nothing more can be read behind the last request."""
        place = self.requests + 1
        return self._counted([Problem(line=place, code="invalid_json_line", message=why)])

    def end(self) -> list[Problem]:
        """What is wrong with the file as a whole."""
        return self._counted(list(self._too_much()))

    def _counted(self, found: list[Problem]) -> list[Problem]:
        self.problems += len(found)
        return found

    def _between(self, look: Look, number: int) -> Iterator[Problem]:
        """What is wrong with a line because of the lines before it."""
        self._inputs += look.inputs
        if look.name is not None:
            first = self._names.setdefault(look.name, number)
            if first != number:
                said = f"{_short(look.name)} was used before, at {first}"
                yield Problem(code="duplicate_custom_id", param=self._rules.name, message=said)
        if look.endpoint is not None:
            yield from self._misdirected(look.endpoint)
        if look.model is not None and self._rules.model is not None:
            self._model = self._model or look.model
            if look.model != self._model:
                said = f"{_short(look.model)} is not the model of the first, {_short(self._model)}"
                yield Problem(code="mismatched_model", param=self._rules.model, message=said)

    def _misdirected(self, endpoint: str) -> Iterator[Problem]:
        param = self._rules.endpoint
        if endpoint not in self._endpoints:
            said = f"{_short(endpoint)} takes no batches; use {' or '.join(self._endpoints)}"
            yield Problem(code="invalid_url", param=param, message=said)
            return
        self._endpoint = self._endpoint or endpoint
        if endpoint != self._endpoint:
            said = f"{_short(endpoint)} is not that of the first, {_short(self._endpoint)}"
            yield Problem(code="invalid_url", param=param, message=said)

    def _too_much(self) -> Iterator[Problem]:
        limits, inputs = self._limits, self._rules.max_inputs
        if not self.requests and not self.problems:
            yield Problem(code="empty_file", message="there is no request in it")
        if self.requests > limits.max_requests:
            said = f"{self.requests:,} requests, and a batch takes {limits.max_requests:,}{_CUT}"
            yield Problem(code="too_many_requests", message=said)
        if limits.max_bytes is not None and self.bytes > limits.max_bytes:
            said = f"{self.bytes:,} bytes, and a batch takes {limits.max_bytes:,}{_CUT}"
            yield Problem(code="too_many_bytes", message=said)
        if inputs is not None and self._inputs > inputs:
            said = f"{self._inputs:,} inputs, and a batch takes {inputs:,}{_CUT}"
            yield Problem(code="too_many_inputs", message=said)


_CUT = "; cut the file, or let `anybatch run` do that"


def _name_problems(name: str | None, ending: str | None) -> Iterator[Problem]:
    if name is not None and ending is not None and not name.lower().endswith(ending):
        said = f"the service takes no file whose name does not end in {ending}"
        yield Problem(code="invalid_file_name", message=said)


def _mark_problems(encoding: str | None) -> Iterator[Problem]:
    if encoding is None:
        return
    if encoding.startswith("utf-8"):
        said = "a byte order mark stands before the first request; save the file without it"
        yield Problem(line=1, code="byte_order_mark", message=said)
        return
    said = f"the file is in {encoding.upper()}; save it as UTF-8 without a byte order mark"
    yield Problem(code="wrong_encoding", message=said)


# --- what the rules of all providers are made of --------------------------------------------------

MANY = 40
"""Of what a file says, so many characters are repeated in a message."""


def decoded(line: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """`line` as the object it must be, or the problem with that."""
    try:
        line.decode()  # msgspec leaves what it skips unchecked
        return decoder.decode(line)
    except UnicodeDecodeError as e:
        said = f"not valid UTF-8 (byte 0x{e.object[e.start]:02x})"
    except UNREADABLE as e:
        said = f"not a JSON object on one line ({_why(e)})"
    return Problem(code="invalid_json_line", message=said)


def _why(e: Exception) -> str:
    return "nested too deep" if isinstance(e, RecursionError) else str(e)


def missing(value: object) -> bool:
    """Whether a field is not there, or is null."""
    return value is UNSET or value is None or (isinstance(value, bytes) and value in (b"", b"null"))


def absent(param: str) -> Problem:
    return Problem(code="missing_required_parameter", param=param, message=f"{param!r} is missing")


def not_object(raw: bytes, param: str) -> Iterator[Problem]:
    """What is wrong with a field that has to hold an object."""
    if not raw:
        yield absent(param)
    elif not is_object(raw):
        yield Problem(code="invalid_request", param=param, message=f"{param!r} is not an object")


def listed(raw: bytes, param: str) -> Iterator[Problem]:
    """What is wrong with a field that has to hold a list with something in it."""
    if missing(raw):
        yield Problem(code="invalid_request", param=param, message=f"{param!r} is required")
    elif raw[:1] != b"[" or not raw[1:-1].strip():
        said = f"{param!r} is not a list with something in it"
        yield Problem(code="invalid_request", param=param, message=said)


def model_problems(model: object, param: str) -> Iterator[Problem]:
    if missing(model):
        yield Problem(code="invalid_request", param=param, message=f"{param!r} is required")
    elif not isinstance(model, str) or not model:
        yield Problem(code="invalid_request", param=param, message=f"{param!r} is not a name")


def word(value: object) -> str | None:
    """`value`, if it is a text that says something."""
    return value if isinstance(value, str) and value else None


def wordless(value: object, param: str) -> str:
    """What is wrong with a field that has to be a text and says nothing."""
    return f"{param!r} is empty" if value == "" else f"{param!r} is not a text"


def streamed(stream: object, param: str) -> Iterator[Problem]:
    if not missing(stream) and stream is not False:
        said = "answers of a batch cannot be streamed; leave it out"
        yield Problem(code="streaming_unsupported", param=param, message=said)


def _short(text: str) -> str:
    return repr(text if len(text) <= MANY else text[: MANY - 1] + "…")
