"""The Python face: `run`, `submit` and `arun` give a Run.

The work goes on in a thread with an event loop of its own, so it makes no difference whether the
caller has one too, as a notebook does.
"""

import asyncio
import dataclasses
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, get_args
from weakref import WeakSet

import msgspec

from .clock import SystemClock
from .core import schema as schemas
from .core.model import WORDLESS, Api, ExecutorName, Json, Preference, Result, Spec, Tail, Terms
from .core.model import Run as StoredRun
from .core.packing import MOST
from .core.states import Outcome, RunStatus
from .core.terms import NO_TERMS, terms_of
from .datasets.frames import to_pandas, to_polars
from .datasets.source import Source, open_source
from .engine.choosing import plan_with
from .engine.reuse import Reuse
from .engine.sharing import EQUAL_ONCE, Sharing
from .engine.workspace import Pace, Workspace, open_workspace
from .errors import AnybatchError, BadInput, BadSchema, BadSettings
from .loops import new_loop
from .providers.registry import WRITTEN_BY_US, checked_url, default_api
from .settings import load

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to ask of every row, in the caller's words."""

    model: str
    """`PROVIDER/MODEL`, or `PROVIDER` alone for ready-made requests."""
    prompt: str | None = None
    """A template's text, or `@file`."""
    system: str | None = None
    schema: str | Path | Mapping[str, Any] | type | None = None
    """A JSON Schema, a file with one, a pydantic model, or `module:Class` naming one."""
    labels: Sequence[str] | None = None
    fields: Sequence[str] | None = None
    """`name:type` each."""
    api: Api | None = None
    """None: the one that the provider is for."""
    base_url: str | None = None
    parameters: Mapping[str, Any] | None = None
    executor: ExecutorName | None = None
    """How it is answered; None: by the provider's batch API, where it has one."""
    tail: Tail = "online"
    pack: int = 1
    """So many rows are asked in one prompt, at most."""

    def spec(self) -> Spec:
        """The same in the engine's words. Raises UsageError for what does not fit together."""
        _check_word("api", self.api, get_args(Api))
        _check_word("executor", self.executor, ("batch", "online"))
        _check_word("tail", self.tail, get_args(Tail))
        _check_parameters(self.parameters or {})
        if type(self.pack) is not int or not 1 <= self.pack <= MOST:
            raise BadSettings(f"pack {self.pack!r}: give the rows in one prompt, 1 to {MOST}")
        provider, _, model = self.model.partition("/")
        if not provider:
            raise BadSettings(f"{self.model!r} is not a model; write it as PROVIDER/MODEL")
        if self.system is not None and self.api in WORDLESS:
            raise BadSettings(f"{self.api} takes no system prompt")
        if self.prompt is not None and not self.prompt.strip():
            raise BadSettings("--prompt is empty; say what to ask of each row")
        taken = sorted(WRITTEN_BY_US.intersection(self.parameters or ()))
        if taken:
            raise BadSettings(f"{taken[0]!r} is not yours to set: it follows from what is asked")
        return Spec(
            provider=provider,
            model=model or None,
            api=self.api or default_api(provider),
            base_url=self.base_url and checked_url(self.base_url, where="--base-url"),
            prompt=_text(self.prompt),
            system=_text(self.system),
            output_schema=self._output_schema(),
            parameters=dict(self.parameters or {}),
            executor=self.executor,
            tail=self.tail,
            pack=self.pack,
        )

    def _output_schema(self) -> Json | None:
        given = [name for name in ("schema", "labels", "fields") if getattr(self, name) is not None]
        if len(given) > 1:
            raise BadSchema(f"{' and '.join(given)} both describe the answer; give one of them")
        if given and self.api in WORDLESS:
            raise BadSchema(f"what {self.api} answers is no text; it takes no {given[0]}")
        if self.labels is not None:
            return schemas.from_labels(self.labels)
        if self.fields is not None:
            return schemas.from_fields(self.fields)
        return None if self.schema is None else _schema(self.schema)


def _check_word(name: str, word: object, known: Sequence[str]) -> None:
    if word is not None and word not in known:
        raise BadSettings(f"{name} {word!r} is unknown; use {', '.join(known)}")


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        try:
            msgspec.json.encode({name: value})
        except (TypeError, ValueError, RecursionError) as e:
            raise BadSettings(f"parameter {name!r} cannot be sent as JSON: {e}") from e


def _text(given: str | None) -> str | None:
    """A text as it stands, or the content of `@file`."""
    if given is None or not given.startswith("@"):
        return given
    path = Path(given[1:]).expanduser()
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise BadInput(
            f"cannot read the prompt file {str(path)!r}: {e.strerror}; check what follows the @"
        ) from e
    except UnicodeDecodeError as e:
        raise BadInput(f"the prompt file {str(path)!r} is not UTF-8; save it as UTF-8") from e


def _schema(given: str | Path | Mapping[str, Any] | type) -> Json:
    if isinstance(given, Mapping):
        return schemas.checked(dict(given), where="the schema")
    if isinstance(given, type):
        return _of_model(given, where=given.__name__)
    text = str(given)
    module, colon, name = text.partition(":")
    if colon and not Path(text).exists():
        return _of_model(_imported(module, name, text), where=text)
    try:
        content = Path(text).expanduser().read_bytes()
        return schemas.checked(msgspec.json.decode(content), where=f"{text!r}")
    except OSError as e:
        raise BadSchema(
            f"cannot read the schema {text!r}: {e.strerror}; give a JSON Schema file, "
            "or module:Class"
        ) from e
    except msgspec.DecodeError as e:
        raise BadSchema(f"the schema file {text!r} is not JSON: {e}; mend it") from e


def _imported(module: str, name: str, text: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as e:
        raise BadSchema(f"cannot import the schema {text!r}: {e}; check the name") from e
    except (Exception, SystemExit) as e:  # to import a module of the user's is to run it
        said = f"{type(e).__name__}: {e}"
        raise BadSchema(f"cannot import the schema {text!r}: {module} raises {said}") from e


def _of_model(model: Any, *, where: str) -> Json:
    if not hasattr(model, "model_json_schema"):
        raise BadSchema(f"{where} is not a pydantic model; give one, or a JSON Schema file")
    return schemas.checked(model.model_json_schema(), where=where)


class Run:
    """A run: what it is now, its results, and, while work goes on here, a way to wait for it."""

    def __init__(self, workspace: Workspace, run: StoredRun, work: "_Work | None" = None) -> None:
        self._workspace = workspace
        self._run = run
        self._work = work

    @property
    def id(self) -> str:
        return self._run.id

    @property
    def status(self) -> RunStatus:
        """`running`, `stopped`, `cancelled`, `ok`, `partial` or `failed`."""
        return self._workspace.progress(self._workspace.store.run(self.id)).status

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many rows have each outcome by now."""
        return self._workspace.progress(self._run).counts

    def wait(self) -> "Run":
        """Return when the work in this process is over. Raises what ended it early."""
        if self._work is not None:
            self._work.wait()
        return self

    def stop(self) -> "Run":
        """Send nothing more, and return once what is in flight is recorded."""
        if self._work is not None:
            self._work.stop()
            self._work.wait()
        return self

    def results(self) -> Iterator[Result | None]:
        """What became of each row, in input order; None where nothing has yet."""
        return self._workspace.results(self._run)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The joined rows, in input order."""
        columns = self._workspace.columns(self._run)
        for chunk in self._workspace.joined(self._run):
            for cells in chunk:
                yield dict(zip(columns, cells, strict=True))

    def to_pandas(self) -> Any:
        """The joined table as a pandas frame."""
        return to_pandas(self._workspace.columns(self._run), self._cells())

    def to_polars(self) -> Any:
        """The joined table as a polars frame."""
        return to_polars(self._workspace.columns(self._run), self._cells())

    def to_file(self, path: str | Path, *, force: bool = False, raw: bool = False) -> Path:
        """Write the joined table; the format is the extension's.

        Raises OutputExists if something else is there; the same table is left as it is.
        """
        with _as_arguments():
            self._workspace.deliver(self._run, path, force=force, raw=raw)
        return Path(path)

    def _cells(self) -> Iterator[list[Any]]:
        for chunk in self._workspace.joined(self._run):
            yield from chunk

    def __repr__(self) -> str:
        return f"<anybatch.Run {self.id} {self.status} {self.counts} of {self._run.total}>"


class _Work:
    """The engine at work on one run in a thread of its own."""

    def __init__(self, workspace: Workspace, run: StoredRun, pace: Pace) -> None:
        self._workspace = workspace
        self._run = run
        self._pace = pace
        self._loop = new_loop()
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        _AT_WORK.add(self)
        self._thread = threading.Thread(target=self._go, name="anybatch", daemon=True)
        self._thread.start()

    def _go(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._workspace.fulfil(self._run, stop=self._stop, pace=self._pace))
        except BaseException as e:
            self._error = e

    def stop(self) -> None:
        with suppress(RuntimeError):  # the loop may be over already
            self._loop.call_soon_threadsafe(self._stop.set)

    def wait(self) -> None:
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self.stop()
            self._thread.join()
            raise
        if self._error is not None:
            raise self._error

    def leave(self) -> None:
        self.stop()
        self._thread.join()


_AT_WORK: WeakSet[_Work] = WeakSet()


def _leave_nothing_at_work() -> None:
    """Stop what still goes on when the program ends, as Ctrl-C would; its answers are recorded."""
    for work in list(_AT_WORK):
        work.leave()


# Not `atexit`, which comes after the threads that the engine works with have been shut down.
threading._register_atexit(_leave_nothing_at_work)  # type: ignore[attr-defined]


def submit(
    data: object = None,
    *,
    prompt: str | None = None,
    model: str,
    system: str | None = None,
    schema: str | Path | Mapping[str, Any] | type | None = None,
    labels: Sequence[str] | None = None,
    fields: Sequence[str] | None = None,
    api: Api | None = None,
    executor: Literal["batch", "online"] | None = None,
    tail: Tail = "online",
    cache: Literal["auto", "off"] = "auto",
    canary: int | None = None,
    keep_remote: bool = False,
    dedupe: bool = True,
    reuse: Reuse | None = None,
    pack: int = 1,
    pack_agreement: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    sql: str | None = None,
    bad_rows: str = "fail",
    concurrency: int | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
    store: str | Path | None = None,
    again: bool = False,
    by: str | datetime | None = None,
    budget: float | None = None,
    prefer: Preference = "cheap",
    preview: int = 0,
    overflow: Literal["batch"] | None = None,
) -> Run:
    """Start a run, or go on with the one that asked exactly the same; the work goes on in a thread.

    `data` is a path, a glob, a folder, dicts, or a frame of pandas, polars or pyarrow. Raises
    UsageError before anything is sent. `canary` rows go first where they go by batch (None: 10 of
    more than 1,000) or `pack` in one prompt (200). `keep_remote`: delete nothing there. With
    `dedupe`, rows that ask the same share a request; with `reuse`, they take answers of earlier
    runs: `settled` ones, or `always`; `cache="off"`: a prompt cache is told nothing. `by` is when
    all is to be done (`"06:00"`, `"4h"`, an ISO time or a datetime), `budget` the dollars it may
    cost. `preview` rows go in real time; `overflow="batch"`: what has no room there, by batch.
    """
    _check_wishes(bad_rows, reuse, pack_agreement)
    with _as_arguments():
        return start(
            _workspace_in(store),
            open_source(data, sql=sql),
            _asked(locals()).spec(),
            pace=Pace(concurrency=concurrency, rpm=rpm, tpm=tpm),
            skip_bad_rows=bad_rows == "skip",
            again=again,
            canary=canary,
            keep_remote=keep_remote,
            sharing=Sharing(dedupe=dedupe, reuse=reuse),
            terms=_terms(by, budget, prefer, preview=preview, overflow=overflow),
            cache=uses_cache(cache),
            pack_agreement=pack_agreement,
        )


def _asked(given: Mapping[str, Any]) -> Ask:
    """What is asked of every row, of all arguments that were `given`."""
    return Ask(**{field.name: given[field.name] for field in dataclasses.fields(Ask)})


def _check_wishes(bad_rows: str, reuse: str | None, pack_agreement: float | None) -> None:
    """Raises BadSettings."""
    if bad_rows not in ("fail", "skip"):
        raise BadSettings(f"bad_rows is 'fail' or 'skip', not {bad_rows!r}")
    _check_word("reuse", reuse, get_args(Reuse))
    if pack_agreement is not None and not 0 <= pack_agreement <= 0.99:
        raise BadSettings(f"pack_agreement {pack_agreement!r}: give a share, 0 to 0.99")


def _workspace_in(store: str | Path | None) -> Workspace:
    home = None if store is None else Path(store)
    return open_workspace(load(folder=Path.cwd(), environment=os.environ, store=home))


def _terms(
    by: str | datetime | None,
    budget: float | None,
    prefer: str,
    *,
    preview: int,
    overflow: str | None,
) -> Terms:
    typed = by if by is None or isinstance(by, str) else by.isoformat()
    return terms_of(
        by=typed,
        budget=budget,
        prefer=prefer,
        preview=preview,
        overflow=overflow,
        now=SystemClock().now(),
    )


def uses_cache(word: str) -> bool:
    """Whether prompts are to be kept by a prompt cache. Raises BadSettings."""
    _check_word("cache", word, ("auto", "off"))
    return word == "auto"


_OPTION = re.compile(r"(?<![\w'\"])--(bad-rows skip|executor batch|[a-z]+(?:-[a-z]+)*)")
_ARGUMENTS = {
    "bad-rows skip": 'bad_rows="skip"',
    "executor batch": 'executor="batch"',
    "set": "parameters",
    "field": "fields",
    "no-canary": "canary=0",
    "no-dedupe": "dedupe=False",
    "reuse": 'reuse="settled"',
    "reuse-always": 'reuse="always"',
    "again": "again=True",
    "force": "force=True",
}
"""What options are here that are called or used otherwise on the command line."""


@contextmanager
def _as_arguments() -> Iterator[None]:
    """Have errors that tell of options of the command line tell of arguments."""
    try:
        yield
    except AnybatchError as e:
        e.args = (_OPTION.sub(_argument, str(e)),)
        raise


def _argument(option: "re.Match[str]") -> str:
    name = option[1]
    known = name.replace("-", "_")
    is_ours = known in signature(submit).parameters
    return _ARGUMENTS.get(name) or (known if is_ours else option[0])


def start(
    workspace: Workspace,
    source: Source,
    spec: Spec,
    *,
    pace: Pace,
    skip_bad_rows: bool = False,
    again: bool = False,
    canary: int | None = None,
    keep_remote: bool = False,
    sharing: Sharing = EQUAL_ONCE,
    terms: Terms = NO_TERMS,
    cache: bool = True,
    pack_agreement: float | None = None,
) -> Run:
    """Plan a run in `workspace` and set a thread to work on it."""
    if pack_agreement is not None:
        terms = msgspec.structs.replace(terms, agreement=pack_agreement)
    planned = plan_with(
        workspace,
        source,
        spec,
        terms,
        pace=pace,
        skip_bad_rows=skip_bad_rows,
        again=again,
        canary=canary,
        keep_remote=keep_remote,
        sharing=sharing,
        cache=cache,
    )
    run = workspace.reopen(
        planned.run, canary=canary, keep_remote=keep_remote, agreement=pack_agreement
    )
    return Run(workspace, run, _Work(workspace, run, pace))


def _takes(
    other: Callable[P, Any],
) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function that passes everything on the signature of `other`, for help and checkers."""

    def taking(function: Callable[..., T]) -> Callable[P, T]:
        function.__signature__ = signature(other).replace(  # type: ignore[attr-defined]
            return_annotation=signature(function).return_annotation
        )
        return function

    return taking


def _check(function: str, data: tuple[Any, ...], asked: Mapping[str, Any]) -> None:
    """Raise the TypeError of a call that `submit` does not take, in the name of `function`."""
    try:
        signature(submit).bind(*data, **asked)
    except TypeError as e:
        raise TypeError(f"{function}() {e}") from None


@_takes(submit)
def run(*data: Any, **asked: Any) -> Run:
    """`submit`, then wait until it is over. Takes what `submit` takes."""
    _check("run", data, asked)
    return submit(*data, **asked).wait()


@_takes(submit)
async def arun(*data: Any, **asked: Any) -> Run:
    """`run` for callers with an event loop. Cancelling it stops the run, losing nothing."""
    _check("arun", data, asked)
    starting = asyncio.ensure_future(asyncio.to_thread(submit, *data, **asked))
    try:
        # A thread cannot be cancelled: what it starts would go on with nobody to stop it.
        started = await asyncio.shield(starting)
        await asyncio.to_thread(started.wait)
    except asyncio.CancelledError:
        started = await starting
        await asyncio.to_thread(started.stop)
        raise
    return started
