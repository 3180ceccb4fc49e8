"""Rows out: to a file that appears whole or not at all, or to stdout."""

import glob
import os
import socket
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, BinaryIO, Protocol
from zipfile import BadZipFile, ZipFile

from ..effects import Probe, effect, unwatched
from ..errors import BadInput, MissingExtra, OutputExists, UsageError
from ..processes import is_alive
from .writers import Values, Write, created, csv_writer, json_writer, jsonl_writer, line_writer


class Sink(Protocol):
    was_there: bool
    """After the block: whether the same table stood there already and was left alone."""

    def write(self, rows: Values) -> None:
        """Write rows whose values stand in the order of the columns."""


@dataclass(slots=True, kw_only=True)
class _WatchedSink:
    name: str
    to: Write
    probe: Probe
    was_there: bool = False

    def write(self, rows: Values) -> None:
        with effect("sink.write", self.probe), _writable(self.name):
            self.to(rows)


Opened = AbstractContextManager[Write]
Text = Callable[[BinaryIO], Opened]

STDOUT = {"-": ".csv", "-:jsonl": ".jsonl"}
"""What means standard output, and the format it then gets."""

LINES: Sequence[str] = ()
"""The columns of what is written as lines of JSON that stand ready."""

NEEDS = {".parquet": ("duckdb", "writing Parquet"), ".xlsx": ("xlsxwriter", "writing Excel")}


@contextmanager
def open_sink(
    path: str | Path,
    *,
    columns: Sequence[str],
    force: bool = False,
    raw: bool = False,
    probe: Probe = unwatched,
) -> Iterator[Sink]:
    """A sink that is published at the end of the block, and forgotten if the block raises.

    `raw` leaves texts that a spreadsheet would run as they are. Raises OutputExists at the end of
    the block if another file is in the way: only then is it known whether it is the same.
    """
    check_sink(path, force=True)
    if str(path) in STDOUT:
        with _to_stdout(STDOUT[str(path)], columns, raw=raw) as write:
            yield _WatchedSink(name="-", to=write, probe=probe)
        return
    target = Path(os.path.realpath(path))
    _sweep(target)
    part = target.with_name(f"{_parts_of(target)}{os.getpid()}-{threading.get_ident()}.part")
    try:
        with ExitStack() as stack:
            with _writable(path):
                write = stack.enter_context(_to_file(part, Path(path).suffix, columns, raw=raw))
            sink = _WatchedSink(name=str(path), to=write, probe=probe)
            yield sink
            with _writable(path):
                stack.close()
        with _writable(path):
            sink.was_there = not _publish(part, target, force=force, probe=probe)
    finally:
        part.unlink(missing_ok=True)


def _parts_of(target: Path) -> str:
    """How the files beside `target` begin that this machine writes on the way to it."""
    return f".{target.name}.{socket.gethostname()}."


def _sweep(target: Path) -> None:
    """Remove what a process left beside `target` that was killed while it wrote."""
    # What stands behind `.part` is what a format stages on its way there.
    for part in target.parent.glob(glob.escape(_parts_of(target)) + "*.part*"):
        pid = part.name.removeprefix(_parts_of(target)).partition("-")[0]
        if pid.isdecimal() and not is_alive(int(pid)):
            part.unlink(missing_ok=True)


def check_sink(path: str | Path, *, force: bool) -> None:
    """Raise now what `open_sink` would raise after a long run."""
    if str(path) in STDOUT:
        return
    target = Path(path)
    extension = target.suffix.lower()
    if extension not in EXTENSIONS:
        raise BadInput(
            f"{str(path)!r} has no extension that we can write. Use one of {' '.join(EXTENSIONS)}"
        )
    _check_place(target, force=force)
    module, what = NEEDS.get(extension, ("csv", ""))
    if find_spec(module) is None:
        raise MissingExtra(what, extra="data")


def _check_place(target: Path, *, force: bool) -> None:
    if not target.parent.is_dir():
        raise BadInput(f"the folder {str(target.parent)!r} does not exist. Create it first.")
    if target.exists() and not target.is_file():
        raise BadInput(f"{str(target)!r} is not a file. Give a file name, or '-' for stdout.")
    if target.exists() and not force:
        raise _in_the_way(target)
    if not os.access(target.parent, os.W_OK):
        raise BadInput(f"the folder {str(target.parent)!r} is read-only. Choose another one.")


def _in_the_way(target: Path) -> OutputExists:
    return OutputExists(f"{str(target)!r} exists. Choose another name, or overwrite with --force.")


def _text_format(extension: str, columns: Sequence[str], *, raw: bool) -> Text:
    match extension:
        case ".csv":
            return partial(csv_writer, columns=columns, raw=raw)
        case ".tsv":
            return partial(csv_writer, columns=columns, raw=raw, delimiter="\t")
        case ".json":
            return partial(json_writer, columns=columns)
        case _:
            return line_writer if columns == LINES else partial(jsonl_writer, columns=columns)


EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")


def _to_file(part: Path, suffix: str, columns: Sequence[str], *, raw: bool) -> Opened:
    match suffix.lower():
        case ".parquet":
            from .parquet import parquet_writer

            return parquet_writer(part, columns)
        case ".xlsx":
            from .excel import excel_writer

            return excel_writer(part, columns, raw=raw)
        case extension:
            return _in_file(part, _text_format(extension, columns, raw=raw))


@contextmanager
def _in_file(part: Path, text: Text) -> Iterator[Write]:
    with created(part) as file, text(file) as write:
        yield write


@contextmanager
def _to_stdout(extension: str, columns: Sequence[str], *, raw: bool) -> Iterator[Write]:
    with _text_format(extension, columns, raw=raw)(sys.stdout.buffer) as write:
        yield write
    sys.stdout.buffer.flush()


def _publish(part: Path, target: Path, *, force: bool, probe: Probe) -> bool:
    """Put `part` in the place of `target`; False if the same table stood there already."""
    with effect("sink.fsync", probe):
        _fsync(part, os.O_RDWR)
    with effect("sink.rename", probe):
        is_new = _rename(part, target, force=force)
        _fsync(target.parent, os.O_RDONLY)
    return is_new


def _rename(part: Path, target: Path, *, force: bool) -> bool:
    if force:
        os.replace(part, target)
        return True
    try:
        # Unlike a rename, a link never replaces what has come into its way in the meantime.
        os.link(part, target)
    except FileExistsError:
        return _leave_if_same(part, target)
    except OSError:
        return _rename_without_links(part, target)
    return True


def _rename_without_links(part: Path, target: Path) -> bool:
    if target.exists():
        return _leave_if_same(part, target)
    os.replace(part, target)
    return True


def _leave_if_same(part: Path, target: Path) -> bool:
    """False, if what is in the way is what we wrote. Raises FileExistsError if it is not."""
    if not _is_same(part, target):
        raise FileExistsError(target)
    return False


def _is_same(part: Path, target: Path) -> bool:
    """Whether both hold the same; what cannot be read does not."""
    try:
        if target.suffix.lower() == ".xlsx":
            return _are_same_workbooks(part, target)
        with part.open("rb") as ours, target.open("rb") as theirs:
            return _are_same_bytes(ours, theirs)
    except (OSError, BadZipFile, RuntimeError, zlib.error):
        return False


def _are_same_bytes(ours: IO[bytes], theirs: IO[bytes]) -> bool:
    while chunk := ours.read(_COMPARED_AT_ONCE):
        if chunk != theirs.read(len(chunk)):
            return False
    return not theirs.read(1)


_COMPARED_AT_ONCE = 1 << 20
_WHEN_MADE = "docProps/core.xml"
"""The file in a workbook that says when it was written: the one in which equal ones differ."""


def _are_same_workbooks(part: Path, target: Path) -> bool:
    with ZipFile(part) as ours, ZipFile(target) as theirs:
        names = ours.namelist()
        return names == theirs.namelist() and all(
            _are_same_bytes(ours.open(name), theirs.open(name))
            for name in names
            if name != _WHEN_MADE
        )


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writable(name: str | Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise _in_the_way(Path(name)) from error
    except OSError as error:
        raise UsageError(
            f"{str(name)!r} cannot be written: {error.strerror or error}. "
            "Free some space or choose another place; nothing was overwritten."
        ) from error
