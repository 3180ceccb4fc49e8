"""Rows out: to a file that appears whole or not at all, or to stdout."""

import glob
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Protocol

from ..effects import Probe, effect, unwatched
from ..errors import BadInput, MissingExtra, OutputExists, UsageError
from ..processes import is_alive
from .writers import Values, Write, created, csv_writer, json_writer, jsonl_writer


class Sink(Protocol):
    def write(self, rows: Values) -> None:
        """Write rows whose values stand in the order of the columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _WatchedSink:
    name: str
    to: Write
    probe: Probe

    def write(self, rows: Values) -> None:
        with effect("sink.write", self.probe), _writable(self.name):
            self.to(rows)


Opened = AbstractContextManager[Write]
Text = Callable[[BinaryIO], Opened]

STDOUT = {"-": ".csv", "-:jsonl": ".jsonl"}
"""What means standard output, and the format it then gets."""

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

    `raw` leaves texts that a spreadsheet would run as they are.
    """
    check_sink(path, force=force)
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
            yield _WatchedSink(name=str(path), to=write, probe=probe)
            with _writable(path):
                stack.close()
        with _writable(path):
            _publish(part, target, force=force, probe=probe)
    finally:
        part.unlink(missing_ok=True)


def _parts_of(target: Path) -> str:
    """How the files beside `target` begin that this machine writes on the way to it."""
    return f".{target.name}.{socket.gethostname()}."


def _sweep(target: Path) -> None:
    """Remove what a process left beside `target` that was killed while it wrote."""
    for part in target.parent.glob(glob.escape(_parts_of(target)) + "*.part"):
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
            return partial(jsonl_writer, columns=columns)


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


def _publish(part: Path, target: Path, *, force: bool, probe: Probe) -> None:
    with effect("sink.fsync", probe):
        _fsync(part, os.O_RDWR)
    with effect("sink.rename", probe):
        _rename(part, target, force=force)
        _fsync(target.parent, os.O_RDONLY)


def _rename(part: Path, target: Path, *, force: bool) -> None:
    if force:
        os.replace(part, target)
        return
    try:
        # Unlike a rename, a link never replaces what has come into its way in the meantime.
        os.link(part, target)
    except FileExistsError as error:
        raise _in_the_way(target) from error
    except OSError:
        _rename_without_links(part, target)


def _rename_without_links(part: Path, target: Path) -> None:
    if target.exists():
        raise _in_the_way(target)
    os.replace(part, target)


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
    except OSError as error:
        raise UsageError(
            f"{str(name)!r} cannot be written: {error.strerror or error}. "
            "Free some space or choose another place; nothing was overwritten."
        ) from error
