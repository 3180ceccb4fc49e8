"""Rows from text files: one file, a folder of them or a glob; one row a file."""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..core.model import Row
from ..errors import BadInput
from . import streams
from .encoding import find_encoding, open_text
from .rows import Chunks, OnBadRow, Source, chunked, not_empty

EXTENSIONS = (
    *(".txt", ".text", ".md", ".markdown", ".rst", ".tex"),
    *(".html", ".htm", ".xml", ".log", ".eml", ".srt", ".vtt"),
)
"""What counts as text in a folder. A glob may name any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    path: str
    """As the row calls it: relative to the folder."""
    file: Path


def folder_source(folder: Path, *, name: str) -> Source:
    """The text files of a folder and of those inside it; hidden ones are left out."""
    files = [file for file in sorted(folder.rglob("*")) if _is_text(file, folder)]
    if not files:
        raise BadInput(
            f"the folder {name!r} holds no text files ({' '.join(EXTENSIONS)}). "
            f"Name others by a glob, such as {name + '/*.py'!r}."
        )
    return _source(files, name=name, folder=folder)


def _is_text(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in EXTENSIONS and not hidden and file.is_file()


def glob_source(pattern: str, *, tables: Sequence[str]) -> Source:
    """The files that a glob matches; they must not be `tables`, which hold rows of their own."""
    found = (Path(match) for match in glob.glob(pattern, recursive=True))
    files = sorted(file for file in found if file.is_file())
    if not files:
        raise BadInput(f"no file matches {pattern!r}. Check the pattern and the folder.")
    table = next((file for file in files if file.suffix.lower() in tables), None)
    if table:
        raise BadInput(
            f"{pattern!r} matches tables such as {table.name!r}, and a glob is for texts. "
            f"Give one table, or read all with --sql \"select * from '{pattern}'\"."
        )
    return _source(files, name=pattern, folder=_fixed_part(pattern))


def _fixed_part(pattern: str) -> Path:
    """The folder that a glob starts from."""
    parts = Path(pattern).parts[:-1]
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def text_source(file: Path, *, name: str) -> Source:
    """A single text file: one row."""
    return _source([file], name=name, folder=file.parent)


def _source(files: Sequence[Path], *, name: str, folder: Path) -> Source:
    texts = sorted(
        (_Text(path=streams.as_text(_within(folder, file)), file=file) for file in files),
        key=lambda text: text.path,
    )
    return Source(
        name=name,
        read=not_empty(name, partial(_read, texts)),
        digest=partial(_digest, texts),
    )


def _within(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _read(texts: Sequence[_Text], on_bad_row: OnBadRow) -> Chunks:
    # Whole texts are big: a chunk of thousands of them would not be small in memory.
    return chunked(_rows(texts, on_bad_row), size=32)


def _rows(texts: Sequence[_Text], on_bad_row: OnBadRow) -> Iterator[Row]:
    for number, text in enumerate(texts, start=1):
        try:
            yield {"path": text.path, "text": _read_text(text)}
        except BadInput as error:
            on_bad_row(number, str(error).rstrip("."))


def _read_text(text: _Text) -> str:
    stream = streams.from_path(text.file, name=text.path)
    with streams.readable(text.path):
        encoding = find_encoding(stream)
    if b"\0" in stream.head and not encoding.name.startswith(("utf-16", "utf-32")):
        raise BadInput(f"{text.path!r} is binary and not text. Leave it out.")
    if encoding.errors != "strict":
        raise BadInput(f"{text.path!r} holds bytes that are not valid UTF-8. Save it again.")
    with streams.readable(text.path), open_text(stream, encoding) as file:
        return file.read()


def _digest(texts: Sequence[_Text]) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for text in texts:
        digest.update(f"{text.path}\0{streams.digest_file(text.file)}\n".encode())
    return digest.hexdigest()
