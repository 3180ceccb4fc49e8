"""A server on a real socket, in a thread of this process; and what a client does with it."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import openai

from anybatch import loops
from anybatch.clock import Clock, SystemClock
from anybatch.effects import Probe, unwatched
from anybatch.server.serving import serve, serving_of
from anybatch.server.telemetry import Telemetry
from anybatch.settings import Settings
from anybatch.testing import FakeEndpoint

LIMIT_S = 30.0
CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")


class ShiftedClock(SystemClock):
    """The machine's clock, set forward by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@contextmanager
def served(
    home: Path,
    endpoint: FakeEndpoint | None = None,
    *,
    clock: Clock | None = None,
    routes: Sequence[Mapping[str, Any]] | None = None,
    keys: Mapping[str, str] | None = None,
    probe: Probe = unwatched,
    lease: timedelta = timedelta(seconds=30),
    more: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    telemetry: Telemetry | None = None,
) -> Iterator[str]:
    """Serve from `home` what `endpoint` answers; the base URL for a client. `more`:
    of `[server]`."""
    if routes is None:
        assert endpoint is not None
        routes = [{"model": "*", "base_url": endpoint.base_url}]
    server = {**(more or {}), **({} if keys is None else {"keys": dict(keys)})}
    settings = Settings(
        home=home,
        routes=tuple(routes),
        server=server,
        lease=lease,
        environment=environment or {},
    )
    serving = serving_of(settings, host=None, port=0)
    if telemetry is not None:
        serving = replace(serving, telemetry=telemetry)
    there: list[str] = []
    told, ended = threading.Event(), threading.Event()
    stops: list[Callable[[], None]] = []
    broken: list[BaseException] = []

    def ready(address: str) -> None:
        there.append(f"{address}/v1")
        told.set()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        await serve(serving, stop=stop, ready=ready, clock=clock, probe=probe)

    def run() -> None:
        try:
            loops.run(main())
        except BaseException as e:
            broken.append(e)
        finally:
            ended.set()
            told.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert told.wait(LIMIT_S)
    try:
        if broken:
            raise broken[0]
        yield there[0]
    finally:
        if not ended.is_set():
            stops[0]()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    if broken:
        raise broken[0]


@contextmanager
def client_of(url: str, key: str = "any") -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=key) as client:
        yield client


def chat(name: str, prompt: str = "hi", **changes: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": body, **changes}


def jsonl(rows: Sequence[Any]) -> bytes:
    """A line each; what is bytes stands as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    return b"".join(line + b"\n" for line in lines)


def upload(client: openai.OpenAI, rows: Sequence[Any], **more: Any) -> Any:
    file = ("in.jsonl", io.BytesIO(jsonl(rows)))
    return client.files.create(file=file, purpose="batch", **more)


def create(
    client: openai.OpenAI,
    rows: Sequence[Any],
    endpoint: Any = CHAT,
    window: Any = "24h",
    **more: Any,
) -> Any:
    file = upload(client, rows)
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window=window, **more
    )


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


def until_over(client: openai.OpenAI, batch: Any) -> tuple[list[str], Any]:
    """Every status that was seen, and the batch at its end."""
    statuses, end = [batch.status], time.monotonic() + LIMIT_S
    while batch.status not in OVER:
        assert time.monotonic() < end, f"{batch.status} for too long"
        time.sleep(0.005)
        batch = client.batches.retrieve(batch.id)
        if batch.status != statuses[-1]:
            statuses.append(batch.status)
    return statuses, batch


def lines_of(client: openai.OpenAI, file_id: str | None) -> list[Any]:
    if file_id is None:
        return []
    return [json.loads(line) for line in client.files.content(file_id).content.splitlines()]


def results_of(client: openai.OpenAI, batch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The lines of the output and of the errors, by their custom_ids, each there once."""
    output = lines_of(client, batch.output_file_id)
    errors = lines_of(client, batch.error_file_id)
    names = [line["custom_id"] for line in (*output, *errors)]
    assert len(names) == len(set(names))
    return (
        {line["custom_id"]: line for line in output},
        {line["custom_id"]: line for line in errors},
    )


def said(line: Any) -> str:
    """The answer on an output line of a chat."""
    text: str = line["response"]["body"]["choices"][0]["message"]["content"]
    return text
