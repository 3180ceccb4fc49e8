"""What OpenAI's files, uploads and batches are asked for, and how a server refuses.

Shapes as of the OpenAPI description 2.3.0, the official SDK 3.51 and recorded exchanges, checked
2026-11-20.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from ..core.model import Api, Json
from .openai import PATHS, write_error
from .openai_batch import ROOT

ENDPOINTS: Mapping[str, Api] = {f"{ROOT}{path}": api for api, path in PATHS.items()}
"""What a batch may be made of."""

MAX_REQUESTS = 50_000
MAX_INPUT_BYTES = 200 * 1024 * 1024
"""Of a batch's input."""
MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_UPLOAD_BYTES = 8 * 1024**3
MAX_PART_BYTES = 64 * 1024 * 1024
DAY_S = 86_400
KEPT_S = 30 * DAY_S
"""How long the files of batches are kept unless they are told otherwise; nothing is kept longer."""
LEAST_KEPT_S = 3_600
UPLOAD_LIVES = timedelta(hours=1)
MAX_WINDOW_HOURS = 168

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")

FILENAME = r"[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/\\]"
"""What a client may call a file, from its first character to its last: a name, or a path to one."""
NO_FILENAME = r"(.*[/\\])?\.\.?"
MAX_FILENAME = 1_024
"""Characters."""


# --- refusals -----------------------------------------------------------------------------------


class Refused(Exception):
    """What is answered instead of what was asked for."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body = write_error(status, message, param=param, code=code, more=more)


def missing(field: str) -> Refused:
    message = f"Missing required parameter: '{field}'."
    return Refused(400, message, param=field, code="missing_required_parameter")


def invalid(field: str, value: object, *known: str) -> Refused:
    supported = ", ".join(f"'{each}'" for each in known)
    message = f"Invalid value: '{shortened(value)}'. Supported values are: {supported}."
    return Refused(400, message, param=field, code="invalid_value")


def wrong_type(field: str, wanted: str) -> Refused:
    message = f"Invalid type for '{field}': expected {wanted}."
    return Refused(400, message, param=field, code="invalid_type")


def misformed(message: str) -> Refused:
    """For a file that cannot be the input of a batch. The service says it twice."""
    said = f"Invalid file format for Batch API. {message}"
    return Refused(400, said, more={"detail": {"message": said}})


def absent(noun: str, id: str) -> Refused:
    return Refused(404, f"No such {noun} object: {shortened(id)}", param="id")


def shortened(value: object) -> str:
    """What is repeated in a message, of whatever length it came."""
    text = str(value)
    return text if len(text) <= 100 else text[:99] + "…"


# --- what is asked for --------------------------------------------------------------------------


class AskedBatch(NamedTuple):
    """What a client asks for when it creates a batch."""

    input_file: str
    endpoint: str
    window: str
    metadata: dict[str, str]
    kept_seconds: int

    @property
    def hours(self) -> int:
        return int(self.window.removesuffix("h"))


_WINDOW = re.compile(r"[1-9][0-9]{0,2}h")
MAX_PAIRS, MAX_KEY, MAX_TEXT = 16, 64, 512
"""Of metadata: how many, and characters of each key and value."""


def read_create(body: bytes) -> AskedBatch:
    """Raises Refused for what does not become a batch at all."""
    asked = _fields(body)
    for field in ("input_file_id", "endpoint", "completion_window"):
        _text(asked, field)
    if asked["endpoint"] not in ENDPOINTS:
        raise invalid("endpoint", asked["endpoint"], *ENDPOINTS)
    window = asked["completion_window"]
    if not _WINDOW.fullmatch(window) or int(window[:-1]) > MAX_WINDOW_HOURS:
        raise invalid("completion_window", window, "24h", f"1h to {MAX_WINDOW_HOURS}h")
    kept = asked.get("output_expires_after")
    return AskedBatch(
        input_file=asked["input_file_id"],
        endpoint=asked["endpoint"],
        window=window,
        metadata=_metadata(asked.get("metadata")),
        kept_seconds=KEPT_S if kept is None else kept_seconds(kept, "output_expires_after"),
    )


class AskedUpload(NamedTuple):
    """What a client says ahead of a file that comes in parts."""

    size: int
    name: str
    purpose: str
    mime_type: str
    kept_seconds: int | None


def read_upload(body: bytes) -> AskedUpload:
    """Raises Refused."""
    asked = _fields(body)
    for field in ("filename", "purpose", "mime_type"):
        _text(asked, field)
    if asked.get("bytes") is None:
        raise missing("bytes")
    size = _whole(asked["bytes"])
    if size is None or size < 1:
        raise wrong_type("bytes", "an integer above 0")
    if size > MAX_UPLOAD_BYTES:
        raise Refused(400, "File is too large.", param="bytes", code="integer_above_max_value")
    purpose = checked_purpose(asked["purpose"])
    kept = asked.get("expires_after")
    return AskedUpload(
        size=size,
        name=checked_filename(asked["filename"], "filename"),
        purpose=purpose,
        mime_type=asked["mime_type"],
        kept_seconds=_usually_kept(purpose) if kept is None else kept_seconds(kept),
    )


class AskedComplete(NamedTuple):
    """Which parts make the file, in which order."""

    part_ids: list[str]
    md5: str | None


def read_complete(body: bytes) -> AskedComplete:
    """Raises Refused."""
    asked = _fields(body)
    parts, md5 = asked.get("part_ids"), asked.get("md5")
    if parts is None:
        raise missing("part_ids")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise wrong_type("part_ids", "an array of strings")
    if md5 is not None and not isinstance(md5, str):
        raise wrong_type("md5", "a string")
    return AskedComplete(parts, md5)


class AskedFile(NamedTuple):
    """What the form of an upload says beside the file."""

    name: str
    purpose: str
    kept_seconds: int | None


def read_file_form(fields: Mapping[str, str], *, filename: str | None) -> AskedFile:
    """Raises Refused. `filename` is None where the form has no file."""
    if "purpose" not in fields:
        raise missing("purpose")
    purpose = checked_purpose(fields["purpose"])
    if filename is None:
        raise missing("file")
    name = checked_filename(filename, "file")
    kept: Json = {
        field.removeprefix("expires_after[").removesuffix("]"): text
        for field, text in fields.items()
        if field.startswith("expires_after[")
    }
    if not kept:
        return AskedFile(name, purpose, _usually_kept(purpose))
    text = kept.get("seconds", "")
    if text.isascii() and text.isdigit() and len(text) < 10:
        kept["seconds"] = int(text)
    return AskedFile(name, purpose, kept_seconds(kept))


def checked_filename(given: str, field: str) -> str:
    """What a file is called: of a path, its last part. Raises Refused."""
    if len(given) > MAX_FILENAME:
        said = f"The name of a file has at most {MAX_FILENAME:,} characters."
        raise Refused(400, said, param=field, code="string_above_max_length")
    if not re.fullmatch(FILENAME, given) or re.fullmatch(NO_FILENAME, given):
        said = f"A file cannot be called {shortened(ascii(given))}."
        raise Refused(400, said, param=field, code="invalid_value")
    return re.split(r"[/\\]", given)[-1]


def checked_purpose(purpose: str) -> str:
    if purpose not in PURPOSES:
        raise invalid("purpose", purpose, *PURPOSES)
    return purpose


def _usually_kept(purpose: str) -> int | None:
    return KEPT_S if purpose == "batch" else None


def kept_seconds(given: Any, field: str = "expires_after") -> int:
    """How long a file is kept, as an anchor and a number of seconds say. Raises Refused."""
    if not isinstance(given, dict):
        raise wrong_type(field, "an object")
    if given.get("anchor") != "created_at":
        raise invalid(f"{field}.anchor", given.get("anchor"), "created_at")
    seconds = _whole(given.get("seconds"))
    if seconds is None or not LEAST_KEPT_S <= seconds <= KEPT_S:
        raise invalid(f"{field}.seconds", given.get("seconds"), f"{LEAST_KEPT_S} to {KEPT_S}")
    return seconds


def _whole(given: Any) -> int | None:
    """A whole number, as JSON has them: `3600.0` is one; None: it is none."""
    if type(given) is float and given.is_integer():
        return int(given)
    return given if type(given) is int else None


def check_input_file(name: str, head: bytes, *, size: int) -> None:
    """The first look at a batch's input; the second comes with the batch. Raises Refused.

    `head` is how it begins: as much as there is of its first lines. Of lines with nothing on them
    nothing is said anywhere: they are passed over, and count.
    """
    if not name.lower().endswith(".jsonl"):
        raise misformed("Must be .jsonl")
    if not size:
        raise misformed("The file is empty.")
    if size > MAX_INPUT_BYTES:
        raise Refused(400, "File is too large.")
    said = head.lstrip()
    first, newline, _ = said.partition(b"\n")
    if not newline and len(head) < size:
        return  # a long line, which is looked at with the batch
    if not said:
        raise misformed("The file is empty.")
    number = 1 + head.count(b"\n", 0, len(head) - len(said))
    if not is_json(first) and not has_halves(first):
        raise misformed(f"Line {number} is not JSON.")


def is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


_HALF = re.compile(rb"(\\[^u])|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def has_halves(line: bytes) -> bool:
    """Whether it would be JSON that we read, but for escapes of half a character: JSON's grammar
    has those, and no text does. What is wrong is told with the batch, by its line."""
    return is_json(_HALF.sub(rb"\1", line))


class Cursor(NamedTuple):
    """Which page of a list is asked for."""

    limit: int
    after: str | None
    newest_first: bool


def read_cursor(query: Mapping[str, str], *, usual: int, most: int) -> Cursor:
    """Raises Refused."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid("order", order, "asc", "desc")
    after = query.get("after") or None
    return Cursor(_limit(query, usual=usual, most=most), after, order == "desc")


def _limit(query: Mapping[str, str], *, usual: int, most: int) -> int:
    text = query.get("limit", str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(400, "Invalid 'limit': not an integer.", param="limit", code="invalid_type")
    limit = int(text)
    if 1 <= limit <= most:
        return limit
    side, bound = ("above_max", f"<= {most}") if limit else ("below_min", ">= 1")
    message = f"Invalid 'limit': expected a value {bound}, but got {limit} instead."
    raise Refused(400, message, param="limit", code=f"integer_{side}_value")


def unknown_cursor(after: str) -> Refused:
    message = f"Invalid 'after': there is no '{shortened(after)}'."
    return Refused(400, message, param="after", code="invalid_value")


def _fields(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        said = "We could not parse the JSON body of your request. It has to be one object."
        raise Refused(400, said) from None


def _text(asked: Json, field: str) -> None:
    if asked.get(field) is None:
        raise missing(field)
    if not isinstance(asked[field], str):
        raise wrong_type(field, "a string")


def _metadata(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise wrong_type("metadata", "an object")
    if len(given) > MAX_PAIRS:
        raise Refused(400, f"At most {MAX_PAIRS} pairs of metadata may be.", param="metadata")
    for key, text in given.items():
        if not isinstance(text, str):
            raise wrong_type(f"metadata.{shortened(key)}", "a string")
        if len(key) > MAX_KEY or len(text) > MAX_TEXT:
            message = f"A key has at most {MAX_KEY} characters, a value {MAX_TEXT}."
            param = f"metadata.{shortened(key)}"
            raise Refused(400, message, param=param, code="string_above_max_length")
    return given
