"""Multipart forms: the parts of a body that lies in a file, in whatever order they come."""

import hashlib
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from .http1 import Extent

_BOUNDARY: Final = re.compile(r'multipart/form-data\s*;.*?boundary=(?:"([^"]+)"|([^\s;]+))', re.I)
_PARAMETER: Final = re.compile(r';\s*([\w*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))')
_DISPOSITION: Final = re.compile(r"^content-disposition:\s*form-data(.*)$", re.I | re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One field of a form."""

    name: str
    filename: str | None
    """None: it is not a file."""
    content: Extent


class BadForm(Exception):
    """The body is not a multipart form."""


def boundary_of(content_type: str) -> bytes:
    """What stands between the parts; empty where there are none."""
    found = _BOUNDARY.match(content_type)
    return (found[1] or found[2]).encode("latin-1") if found else b""


def parts(path: Path, boundary: bytes) -> list[Part]:
    """The parts of the form in a file; they stay where they are."""
    if not boundary:
        raise BadForm("the body is not multipart/form-data")
    with mapped(path) as body:
        return list(_parts(path, body, b"--" + boundary))


def digest_without(path: Path, boundary: bytes) -> bytes:
    """SHA-256 of a body, the boundary left out: it is a new one each time."""
    digest = hashlib.sha256()
    with mapped(path) as body, memoryview(body) as view:
        at = 0
        for found in _positions(body, boundary):
            digest.update(view[at:found])
            at = found + len(boundary)
        digest.update(view[at:])
    return digest.digest()


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """The file's bytes, without reading them all."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield b""  # which cannot be mapped
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
            yield body


def _positions(body: mmap.mmap | bytes, text: bytes) -> Iterator[int]:
    at = body.find(text) if text else -1
    while at >= 0:
        yield at
        at = body.find(text, at + len(text))


def _parts(path: Path, body: mmap.mmap | bytes, delimiter: bytes) -> Iterator[Part]:
    at = body.find(delimiter)
    while at >= 0:
        start = at + len(delimiter)
        if body[start : start + 2] == b"--":
            return
        # The line break before the delimiter belongs to it.
        at = body.find(b"\r\n" + delimiter, start)
        blank = body.find(b"\r\n\r\n", start)
        if at < 0 or not 0 <= blank < at:
            break
        headers = body[start:blank].decode(errors="replace")
        yield _part(headers, Extent(path, blank + 4, at - blank - 4))
        at += 2
    raise BadForm("the multipart form has no end")


def _part(headers: str, content: Extent) -> Part:
    found = _DISPOSITION.search(headers.replace("\r\n", "\n"))
    if found is None:
        raise BadForm("a part has no content-disposition")
    given = {name: _text(quoted or bare) for name, quoted, bare in _PARAMETER.findall(found[1])}
    filename = given.get("filename")
    if "filename*" in given:
        # charset'language'text, percent-encoded
        filename = unquote(given["filename*"].rpartition("'")[2])
    return Part(name=given.get("name", ""), filename=filename, content=content)


def _text(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)
