"""The validation of a batch's input: what is wrong with which line."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ...core.model import Api
from ..batches.life import Problem
from ..batches.stored import lines
from ..endpoint.call import PATHS, count_tokens, messages
from ..endpoint.service import REQUIRED
from ..service.http1 import Extent
from .desk import Quotas
from .lines import Line, read_line

MODEL: Final = "body.model"


@dataclass(slots=True)
class Checked:
    """What was found. Filled line by line."""

    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    """Where each line begins in its file."""
    sizes: "array[int]" = field(default_factory=lambda: array("Q"))
    problems: list[Problem] = field(default_factory=list)
    model: str | None = None
    """That of the first line that has one."""
    tokens: int = 0
    """Of all prompts, where they are counted."""
    names: set[str] = field(default_factory=set)


class Body(msgspec.Struct, frozen=True):
    """As much of a request as the validation reads."""

    model: Any = UNSET
    stream: Any = UNSET
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


_BODY: Final = msgspec.json.Decoder(Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a line is held against."""

    endpoint: str
    api: Api
    quotas: Quotas


def check(content: Extent, endpoint: str, quotas: Quotas) -> Checked:
    checked = Checked()
    rules = Rules(endpoint=endpoint, api=PATHS[endpoint.removeprefix("/v1")], quotas=quotas)
    for number, (start, line) in enumerate(lines(content), start=1):
        checked.starts.append(start)
        checked.sizes.append(len(line))
        problem = next(_problems(line, number, checked, rules), None)
        if problem is not None:
            checked.problems.append(problem)
    checked.names.clear()
    if not checked.starts:
        checked.problems.append(Problem(code="empty_file", message="The file has no requests."))
    if len(checked.starts) > quotas.max_rows:
        message = f"The batch has {len(checked.starts)} requests; at most {quotas.max_rows} may be."
        checked.problems.append(Problem(code="invalid_request", message=message))
    return checked


def _problems(line: bytes, number: int, checked: Checked, rules: Rules) -> Iterator[Problem]:
    """What is wrong with a line, the first thing first."""

    def problem(code: str, param: str | None, message: str) -> Problem:
        return Problem(code=code, message=message, line=number, param=param)

    try:
        read = read_line(line)
    except ValueError:
        yield problem("invalid_json_line", None, "This line is not parseable as valid JSON.")
        return
    for name in _absent(read):
        message = f"Missing required parameter: {name!r}."
        yield problem("missing_required_parameter", name, message)
    if not isinstance(read.custom_id, str) or not read.custom_id:
        yield problem("invalid_custom_id", "custom_id", "The custom_id is not a text.")
        return
    if read.custom_id in checked.names:
        message = f"The custom_id {read.custom_id!r} is not unique in this batch."
        yield problem("duplicate_custom_id", "custom_id", message)
    checked.names.add(read.custom_id)
    if read.method != "POST":
        yield problem("invalid_method", "method", "The method has to be POST.")
    if read.url != rules.endpoint:
        message = "The URL provided for this request does not match the batch endpoint."
        yield problem("invalid_url", "url", message)
    try:
        body = _BODY.decode(read.body)
    except ValueError:
        yield problem("invalid_request", "body", "The body is not a JSON object.")
        return
    for code, param, message in _body_problems(body, checked, rules):
        yield problem(code, param, message)
    if rules.quotas.enqueued_tokens is not None:
        checked.tokens += _tokens(bytes(read.body), rules)


def _absent(line: Line) -> Iterator[str]:
    for name in ("custom_id", "method", "url"):
        if getattr(line, name) is UNSET:
            yield name
    if not bytes(line.body):
        yield "body"


def _body_problems(body: Body, checked: Checked, rules: Rules) -> Iterator[tuple[str, str, str]]:
    """Code, param and message."""
    if not isinstance(body.model, str):
        yield "invalid_request", MODEL, "Model parameter is required."
        return
    if checked.model is None:
        checked.model = body.model
    if body.model != checked.model:
        message = f"The model {body.model!r} differs from {checked.model!r}, that of the others."
        yield "mismatched_model", MODEL, message
    if body.model in rules.quotas.unbatched_models:
        message = f"The model {body.model!r} is not supported by the Batch API."
        yield "model_not_found", MODEL, message
    if body.stream is not UNSET and body.stream:
        yield "streaming_unsupported", "body.stream", "Streaming is not supported in the Batch API."
    required = REQUIRED[rules.api]
    if not bytes(getattr(body, required)):
        message = f"{required.capitalize()} parameter is required."
        yield "invalid_request", f"body.{required}", message


def _tokens(body: bytes, rules: Rules) -> int:
    try:
        said = messages(rules.api, msgspec.json.decode(body))
    except (KeyError, TypeError, AttributeError, IndexError):
        return 0  # the row will be refused when it is run
    return sum(count_tokens(text) for _, text in said)
