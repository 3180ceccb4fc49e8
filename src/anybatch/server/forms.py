"""Forms with a file in them, taken in as they arrive: in constant memory, in any order."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import Request

from ..store.blobs import Blob
from .connections import Limits
from .tries import body_digest, heard

_MAX_FIELD_BYTES = 64 * 1024
_MAX_PARTS = 32
_MAX_TOLD = 100
_AROUND_BYTES = 64 * 1024
"""What may come around the file of a form."""
_USUAL = Limits()


class BadForm(ValueError):
    """What came is not the form it must be."""


class TooLarge(ValueError):
    """What came is longer than it may be."""


@dataclass(slots=True)
class Form:
    """A form that is complete."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    """None: it has no file."""
    blob: Blob | None = None
    """The file, not kept yet: whoever takes the form keeps or discards it."""

    def discard(self) -> None:
        if self.blob is not None:
            self.blob.discard()


async def take_form(request: Request, *, file: str, new: Callable[[], Blob], most: int) -> Form:
    """The form that `request` sends, in which the part called `file` is the file.

    Raises BadForm and TooLarge; then nothing of the file is left.
    """
    _check_length(request, most=most + _AROUND_BYTES)
    form = Form()
    try:
        taking = _Taking(form, file=file, new=new, most=most)
        parser = _parser(request, most=most)
        async for chunk in pieces(request):
            for event in parser.parse(chunk):
                taking.take(event)
        parser.close()
        return form
    except ParserLimitReached as e:
        form.discard()
        raise TooLarge(str(e)) from e
    except MultipartError as e:
        form.discard()
        raise BadForm(f"the form cannot be read: {e}") from e
    except BaseException:
        form.discard()
        raise


def _parser(request: Request, *, most: int) -> PushMultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise BadForm("the body has to be multipart/form-data")
    return PushMultipartParser(
        options["boundary"], max_segment_size=most, max_segment_count=_MAX_PARTS
    )


class _Taking:
    """Puts each part of a form where it belongs."""

    def __init__(self, form: Form, *, file: str, new: Callable[[], Blob], most: int) -> None:
        self._form = form
        self._file = file
        self._new = new
        self._name: str | None = None
        self._is_file = False
        self._text = bytearray()

    def take(self, event: MultipartSegment | bytearray | bytes | None) -> None:
        if event is None:
            self._end()
        elif isinstance(event, MultipartSegment):
            self._begin(event)
        elif self._is_file:
            assert self._form.blob is not None
            self._form.blob.write(event)
        else:
            self._text += event
            if len(self._text) > _MAX_FIELD_BYTES:
                raise TooLarge(f"a field of the form is longer than {_MAX_FIELD_BYTES:,} bytes")

    def _begin(self, segment: MultipartSegment) -> None:
        self._name = segment.name
        self._is_file = segment.name == self._file
        self._text.clear()
        if not self._is_file:
            return
        if self._form.blob is not None:
            raise BadForm(f"the form has more than one {self._file!r}")
        self._form.filename = _extended_name(segment) or segment.filename or "upload"
        self._form.blob = self._new()

    def _end(self) -> None:
        if self._is_file or self._name is None:
            return
        if self._name in self._form.fields:
            raise BadForm(f"the form has more than one {self._name[:_MAX_TOLD]!r}")
        try:
            self._form.fields[self._name] = self._text.decode()
        except UnicodeDecodeError as e:
            raise BadForm("a field of the form is not UTF-8") from e


_CHARSETS = ("utf-8", "iso-8859-1")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_EXTENDED = re.compile(r";\s*filename\*\s*=\s*([\w-]+)'[^']*'([^\s;]*)", re.IGNORECASE)


def _extended_name(segment: MultipartSegment) -> str | None:
    """What a file is called in the words of RFC 8187, which come before a plain `filename`; None:
    nothing. Raises BadForm."""
    found = _EXTENDED.search(_QUOTED.sub('""', segment.header("Content-Disposition", "")))
    if found is None:
        return None
    if found[1].lower() not in _CHARSETS:
        raise BadForm(f"the name of the file cannot be read: it is in {found[1][:_MAX_TOLD]!r}")
    try:
        return unquote_to_bytes(found[2]).decode(found[1])
    except UnicodeDecodeError as e:
        raise BadForm(f"the name of the file cannot be read: {e}") from e


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises TimeoutError for a client that is too slow."""
    limits: Limits = request.scope.get("anybatch.limits", _USUAL)
    clock, stream = asyncio.get_running_loop().time, request.stream()
    received, waited = 0, 0.0
    while True:
        asked_at = clock()
        async with asyncio.timeout(limits.patience.total_seconds()):
            try:
                piece = await anext(stream)
            except StopAsyncIteration:
                return
        # What we do with a piece is none of the client's time.
        waited += clock() - asked_at
        received += len(piece)
        if waited > limits.due_s(received):
            raise TimeoutError
        if piece:
            yield piece


async def take_body(request: Request, *, most: int) -> bytes:
    """A body that is short. Raises TooLarge."""
    _check_length(request, most=most)
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > most:
            raise TooLarge(f"the body is longer than {most:,} bytes")
    heard(request.scope, body_digest(bytes(body)))
    return bytes(body)


def _check_length(request: Request, *, most: int) -> None:
    """Refuse a body before it comes, if it is said to be too long. Raises TooLarge."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise TooLarge(f"the body is longer than {most:,} bytes")
