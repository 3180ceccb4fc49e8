"""The lines of batch files: requests in, results out."""

from typing import Any, Final

import msgspec
from msgspec import UNSET

from ..batches.rows import Row

UNRUN: Final = {
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    "cancelled": ("batch_cancelled", "This request was cancelled before it was executed."),
    "timed_out": ("request_timeout", "The model did not answer this request in time."),
}
"""Why a row did not run -> code and message."""


class Line(msgspec.Struct, frozen=True):
    """A line of an input file; anything may be missing or of any type."""

    custom_id: Any = UNSET
    method: Any = UNSET
    url: Any = UNSET
    body: msgspec.Raw = msgspec.Raw()


_LINE: Final = msgspec.json.Decoder(Line)
_ENCODER: Final = msgspec.json.Encoder()


def read_line(line: bytes) -> Line:
    """Raises ValueError for what is no JSON object."""
    line.decode()  # which msgspec leaves unchecked in what it does not look into
    return _LINE.decode(line)


def write_result(row: Row, *, id: str) -> bytes:
    """A row as a line of an output or error file."""
    name = _ENCODER.encode(row.custom_id)
    return b'{"id":"batch_req_%b","custom_id":%b,%b}\n' % (id.encode(), name, _said(row, id))


def _said(row: Row, id: str) -> bytes:
    if row.status is None:
        assert row.unrun is not None
        code, message = UNRUN[row.unrun]
        error = _ENCODER.encode({"code": code, "message": message})
        return b'"response":null,"error":%b' % error
    if row.status == 0:
        return b'"response":{"status_code":0,"request_id":"","body":null},"error":null'
    return b'"response":{"status_code":%d,"request_id":"req_%b","body":%b},"error":null' % (
        row.status,
        id.encode(),
        _json(row.body),
    )


def _json(body: bytes) -> bytes:
    """A body as it is, or as a text where it is no JSON."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        return _ENCODER.encode(body.decode(errors="replace"))
    return body
