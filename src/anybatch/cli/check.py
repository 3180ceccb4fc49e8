"""`anybatch check`: a file of ready-made requests held against a provider's rules, offline."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ..core.plan import cut
from ..datasets import streams
from ..datasets.streams import Stream
from ..errors import BadSettings, UsageError
from ..providers import registry
from ..providers.provider import BatchApi
from ..providers.rules import Problem, Rules, Tally
from ..settings import load
from .progress import counted
from .ready import Broken, Ready, read_ready

_MARKED = "utf-8"
"""What is in another encoding has no lines that we could look at."""


def check_command(file: str, provider: str, *, version: str | None, as_json: bool) -> int:
    """Say every rule that `file` does not keep, and what it would make; 1 if there is any."""
    api, rules = _known(provider)
    _check_version(version, provider, rules)
    tally = Tally(rules, limits=api.limits, apis=api.apis, version=version)
    stream = streams.from_stdin() if file == "-" else streams.from_path(Path(file), name=file)
    ready = read_ready(stream, most=_most(api), body=rules.body)
    name = streams.as_text(stream.name)
    said: _Said = _AsJson(name, provider) if as_json else _AsText(name, provider, ready.unit)
    said.begin()
    batches = _hold(stream, ready, tally, api, said)
    said.end(tally, batches)
    return 1 if tally.problems else 0


def _known(name: str) -> tuple[BatchApi, Rules]:
    """The batch API of a provider and its rules. Raises UsageError where we know of none."""
    settings = load(folder=Path.cwd(), environment=os.environ)
    found = registry.find(name, configured=settings.providers, offline=True)
    if found.batch is None or found.batch.rules is None:
        with_rules = (p.name for p in registry.BUILT_IN.values() if p.batch and p.batch.rules)
        raise UsageError(
            f"provider {name!r} has no batch API whose rules we know; {', '.join(with_rules)} have"
        )
    return found.batch, found.batch.rules


def _check_version(version: str | None, provider: str, rules: Rules) -> None:
    if version is not None and version not in rules.looks:
        raise BadSettings(
            f"--api-version {version!r} is not one we know of {provider}; "
            f"use {' or '.join(rules.looks)}"
        )


def _most(api: BatchApi) -> int:
    """So much of a line is looked at: one that is longer fits no batch."""
    return (api.limits.max_bytes or streams.BLOCK_BYTES) + 1


def _hold(stream: Stream, ready: Ready, tally: Tally, api: BatchApi, said: "_Said") -> int:
    """Hold each request against the rules; how many batches they make."""
    name = None if stream.name == "stdin" else stream.name
    said.problems(tally.begin(name, encoding=ready.encoding))
    if ready.encoding is not None and not ready.encoding.startswith(_MARKED):
        return 0
    batches = sum(1 for _ in cut(_held(ready, tally, said), api.limits))
    said.problems(tally.end())
    return batches


def _held(ready: Ready, tally: Tally, said: "_Said") -> Iterator[int]:
    """The size of each request, once what is wrong with it is said."""
    try:
        for number, line, size in ready.requests:
            said.problems(tally.add(number, line, size=size))
            yield size
    except Broken as e:
        said.problems(tally.broken(str(e)))


class _Said(Protocol):
    """Where problems are said as they are found, so that none is kept."""

    def begin(self) -> None: ...
    def problems(self, found: Iterable[Problem]) -> None: ...
    def end(self, tally: Tally, batches: int) -> None: ...


class _AsText:
    """A line for each problem, and one for the file."""

    def __init__(self, name: str, provider: str, unit: str) -> None:
        self._name = name
        self._provider = provider
        self._where = "" if unit == "line" else f"{unit} "

    def begin(self) -> None:
        pass

    def problems(self, found: Iterable[Problem]) -> None:
        for problem in found:
            where = "" if problem.line is None else f"{self._where}{problem.line}:"
            about = "" if problem.param is None else f" ({problem.param})"
            print(f"{self._name}:{where} {problem.code}{about}: {problem.message}")

    def end(self, tally: Tally, batches: int) -> None:
        what = f"{counted(tally.requests, 'request')}, {counted(tally.bytes, 'byte')}"
        of = f"{batches:,} {'batch' if batches == 1 else 'batches'} at {self._provider}"
        verdict = counted(tally.problems, "problem") if tally.problems else "no problem"
        print(f"{self._name}: {what}, {of}: {verdict}")


class _AsJson:
    """One object, written as it grows."""

    def __init__(self, name: str, provider: str) -> None:
        self._head: dict[str, Any] = {"file": name, "provider": provider}
        self._separator = ""

    def begin(self) -> None:
        sys.stdout.write(_json(self._head)[:-1] + ',"problems":[')

    def problems(self, found: Iterable[Problem]) -> None:
        for problem in found:
            sys.stdout.write(self._separator + _json(problem))
            self._separator = ","

    def end(self, tally: Tally, batches: int) -> None:
        sums = {"requests": tally.requests, "bytes": tally.bytes, "batches": batches}
        print("]," + _json({**sums, "ok": not tally.problems})[1:])


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
