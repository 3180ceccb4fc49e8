"""Orders over time: cancelled, expired, half answered; and servers that come and go."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from msgspec.structs import replace

from anybatch.errors import UsageError
from anybatch.server.owners import hash_of
from anybatch.server.serving import serving_of
from anybatch.settings import Settings
from anybatch.store.served import ServedStore
from anybatch.testing import FakeEndpoint, Status, at_random
from anybatch.testing.endpoint import Call

from ..cli.process import anybatch, command, environment, kill
from .world import (
    LIMIT_S,
    OVER,
    ShiftedClock,
    chat,
    client_of,
    create,
    results_of,
    served,
    until,
    until_over,
    upload,
)

ROWS = 60


def slow(call: Call) -> float:
    """Some answers come at once, the others long after any test."""
    return 0.0 if "quick" in call.prompt else 60.0


def rows(count: int = ROWS) -> list[Any]:
    return [chat(f"r{n}", "quick" if n < count / 2 else "late") for n in range(count)]


@contextmanager
def half_done(home: Path, clock: ShiftedClock) -> Iterator[tuple[openai.OpenAI, Any]]:
    """A batch of which half is answered, and the other half will never be."""
    with (
        FakeEndpoint(latency=slow) as endpoint,
        served(home, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        batch = create(client, rows(), window="1h")
        until(
            lambda: client.batches.retrieve(batch.id).request_counts.completed == ROWS // 2,
            "half of the answers",
        )
        yield client, batch


def test_a_cancelled_batch_keeps_what_was_answered(tmp_path: Path) -> None:
    with half_done(tmp_path, ShiftedClock()) as (client, batch):
        so_far = httpx2.get(f"{client.base_url}batches/{batch.id}/output")
        asked = client.batches.cancel(batch.id)
        statuses, batch = until_over(client, asked)
        again = client.batches.cancel(batch.id)
        output, errors = results_of(client, batch)

    answered = [json.loads(line)["custom_id"] for line in so_far.content.splitlines()]
    assert so_far.headers["anybatch-output"] == "incomplete"
    assert sorted(answered) == sorted(output)
    assert asked.status == "cancelling"
    assert statuses == ["cancelling", "cancelled"]
    assert again.status == "cancelled"
    assert batch.cancelling_at <= batch.cancelled_at
    assert batch.request_counts.to_dict() == {"total": ROWS, "completed": ROWS // 2, "failed": 0}
    assert output.keys() | errors.keys() == {f"r{n}" for n in range(ROWS)}
    assert len(output) == ROWS // 2
    assert {line["error"]["code"] for line in errors.values()} == {"batch_cancelled"}
    assert all(line["response"] is None for line in errors.values())


def test_a_batch_whose_time_is_over_keeps_what_was_answered(tmp_path: Path) -> None:
    clock = ShiftedClock()
    with half_done(tmp_path, clock) as (client, batch):
        clock.ahead = timedelta(minutes=61)
        statuses, batch = until_over(client, batch)
        output, errors = results_of(client, batch)

    assert statuses[-1] == "expired"
    assert batch.expired_at >= batch.expires_at
    assert batch.request_counts.to_dict() == {"total": ROWS, "completed": ROWS // 2, "failed": 0}
    assert len(output) == len(errors) == ROWS // 2
    assert {line["error"]["code"] for line in errors.values()} == {"batch_expired"}


def test_what_is_half_done_goes_on_with_the_next_server(tmp_path: Path) -> None:
    with half_done(tmp_path, ShiftedClock()) as (_, batch):
        pass

    with FakeEndpoint() as endpoint, served(tmp_path, endpoint) as url, client_of(url) as client:
        seen = client.batches.retrieve(batch.id)
        # Its run asks where it always did: nobody is there any more.
        stopped = client.batches.cancel(batch.id)
        _, batch = until_over(client, stopped)
        output, errors = results_of(client, batch)

    assert (seen.status, seen.request_counts.completed) == ("in_progress", ROWS // 2)
    assert len(output) == len(errors) == ROWS // 2


def test_a_file_whose_time_is_over_is_gone(tmp_path: Path) -> None:
    clock = ShiftedClock()
    after = {"anchor": "created_at", "seconds": 3600}
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        file = upload(client, [chat("a")], expires_after=after)
        kept = upload(client, [chat("a")])
        clock.ahead = timedelta(minutes=61)
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)
        listed = [each.id for each in client.files.list()]
        until(lambda: not (tmp_path / "files" / file.id).exists(), "the file to be deleted")

    assert listed == [kept.id]


def test_faults_that_pass_are_no_failures(tmp_path: Path) -> None:
    script = at_random(0.15, Status(500), seed=1)
    asked = [chat(f"r{n}", f"{n}") for n in range(40)]
    with (
        FakeEndpoint(script=script) as endpoint,
        served(tmp_path, endpoint) as url,
        client_of(url) as client,
    ):
        _, batch = until_over(client, create(client, asked))

    assert batch.request_counts.to_dict() == {"total": 40, "completed": 40, "failed": 0}


def test_a_batch_whose_requests_were_removed_fails_and_says_so(tmp_path: Path) -> None:
    with (
        FakeEndpoint(latency=slow) as endpoint,
        served(tmp_path, endpoint) as url,
        client_of(url) as client,
    ):
        batch = create(client, [chat("a", "late")])
        until(lambda: client.batches.retrieve(batch.id).status == "in_progress", "the run")
        with closing(ServedStore(tmp_path)) as store:
            store.delete(store.runs()[0].id)
        _, batch = until_over(client, batch)

    assert batch.status == "failed"
    assert "removed" in batch.errors.data[0].message


@pytest.mark.parametrize("planned", ["half", "whole"])
def test_what_a_server_elsewhere_left_half_planned_is_planned_anew(
    tmp_path: Path, planned: str
) -> None:
    with FakeEndpoint() as endpoint, served(tmp_path, endpoint) as url, client_of(url) as client:
        _, batch = until_over(client, create(client, [chat("a"), chat("b")]))
    with closing(ServedStore(tmp_path)) as store:
        (run,) = store.runs()
        made = store.order(batch.id)
        assert made is not None
        anew = replace(made, id="batch_anew", status="received", total=None, runs=(), ended_at=None)
        store.add_order(replace(anew, started_at=None, finishing_at=None, output_file=None))
        folder = store.folder("anew-0")
        if planned == "whole":
            store.add_run(replace(run, id="anew-0"), [])
        folder.mkdir()
        (folder / "rows.jsonl").write_text("half")
        folder.with_name("anew-0.planning").write_text("elsewhere/1/1")

    with FakeEndpoint() as endpoint, served(tmp_path, endpoint) as url, client_of(url) as client:
        _, batch = until_over(client, client.batches.retrieve("batch_anew"))
        output, _ = results_of(client, batch)

    assert sorted(output) == ["a", "b"]
    assert not folder.with_name("anew-0.planning").exists()


# --- whose it is ---


def test_what_is_anothers_is_not_there(tmp_path: Path) -> None:
    keys = {"alice": hash_of("key-a"), "bob": hash_of("key-b")}
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint, keys=keys) as url,
        client_of(url, "key-a") as alice,
        client_of(url, "key-b") as bob,
    ):
        file = upload(alice, [chat("a")])
        _, batch = until_over(alice, create(alice, [chat("a")]))
        made = alice.uploads.create(bytes=2, filename="a.jsonl", mime_type="x", purpose="batch")
        calls = [
            lambda id: bob.files.retrieve(id),
            lambda id: bob.files.content(id),
            lambda id: bob.files.delete(id),
            lambda id: bob.batches.retrieve(id),
            lambda id: bob.batches.cancel(id),
            lambda id: bob.uploads.cancel(id),
            lambda id: bob.uploads.complete(id, part_ids=[]),
            lambda id: bob.uploads.parts.create(id, data=b"x"),
            lambda id: bob.get(f"/batches/{id}/output", cast_to=object),
            lambda id: bob.batches.list(after=id),
            lambda id: bob.files.list(after=id),
        ]
        ids = [file.id, file.id, file.id, batch.id, batch.id, *[made.id] * 3, batch.id]
        ids += [batch.id, file.id]
        seen = [
            (_refused(call, id), _refused(call, id[:-4] + "0000"), _refused(call, "no id"))
            for call, id in zip(calls, ids, strict=True)
        ]
        nothing = [list(bob.batches.list()), list(bob.files.list())]
        used = bob.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        _, used = until_over(bob, used)
        still = alice.files.retrieve(file.id).id

    assert [foreign for foreign, absent, malformed in seen if foreign != absent] == []
    assert [malformed for foreign, absent, malformed in seen if foreign != malformed] == []
    assert nothing == [[], []]
    assert used.errors.data[0].param == "file_id"
    assert still == file.id


def _refused(call: Any, id: str) -> tuple[int, str]:
    with pytest.raises(openai.APIStatusError) as raised:
        call(id)
    return raised.value.status_code, raised.value.message.replace(id, "ID")


@pytest.mark.parametrize("key", ["wrong", "key-a "[:-2]])
def test_a_wrong_key_is_refused(tmp_path: Path, key: str) -> None:
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint, keys={"alice": hash_of("key-a")}) as url,
        client_of(url, key) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.batches.list()

    assert raised.value.code == "invalid_api_key"
    assert raised.value.request_id


def test_an_address_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    with pytest.raises(UsageError, match="need a key"):
        serving_of(settings, host="0.0.0.0", port=0)


def test_two_servers_do_not_share_a_store(tmp_path: Path) -> None:
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint),
        pytest.raises(UsageError, match="another server"),
        served(tmp_path, endpoint),
    ):
        pass


# --- processes ---


class Process:
    """`anybatch serve` as a process, on a port that it keeps over its lives."""

    def __init__(self, home: Path, endpoint: FakeEndpoint | None = None) -> None:
        self.home = home
        if endpoint is not None:
            (home / "anybatch.toml").write_text(
                f'[[routes]]\nmodel = "*"\nbase_url = "{endpoint.base_url}"\nconcurrency = 8\n'
            )
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen(
                command("serve", "--port", self.port),
                cwd=self.home,
                env=environment(self.home),
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        url = self.process.stdout.readline().decode().strip()
        assert url, (self.home / "log").read_text()
        self.port = int(url.rsplit(":", 1)[1].split("/")[0])
        return url

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode

    def kill(self) -> None:
        assert self.process is not None
        kill(self.process)


class Polling:
    """An SDK that looks at a batch all the time, whatever becomes of the server."""

    def __init__(self, url: str, batch_id: str) -> None:
        self.seen: list[Any] = []
        self.missed = 0
        """How often nobody was there."""
        self.errors: list[Exception] = []
        self._url = url
        self._batch_id = batch_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Polling":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join(LIMIT_S)

    def _run(self) -> None:
        with client_of(self._url) as client:
            once = client.with_options(max_retries=0, timeout=LIMIT_S)
            while not self._over.wait(0.005):
                try:
                    self.seen.append(once.batches.retrieve(self._batch_id))
                except openai.APIConnectionError:
                    self.missed += 1
                except Exception as e:
                    self.errors.append(e)


def killed(home: Path, *, rows: int, kills: int, latency: float) -> None:
    """Kill a server so often while a client polls, and check every promise."""
    script = at_random(0.15, Status(503), seed=3)
    repeated = [0]
    with FakeEndpoint(script=script, latency=latency) as endpoint:
        server = Process(home, endpoint)
        url = server.start()
        with client_of(url) as client:
            names = [f"r{n}" for n in range(rows)]
            given = create(client, [chat(name, f"say {name}") for name in names])
            waiting = create(client, [chat("next", "say next")])
            with Polling(url, given.id) as polling:
                for kill in range(kills):
                    wanted = rows * (kill + 1) // (kills + 2)
                    assert _until_done(client, given.id, wanted).status not in OVER
                    server.kill()
                    repeated.append(endpoint.ledger.repeated)
                    server.start()
                _until_done(client, given.id, rows)
                _, batch = until_over(client, client.batches.retrieve(given.id))
                seen = len(polling.seen)
                until(lambda: len(polling.seen) > seen + 1, "a look at the batch at its end")
            _, second = until_over(client, client.batches.retrieve(waiting.id))
            output, errors = results_of(client, batch)
        repeated.append(endpoint.ledger.repeated)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5

    order = ["validating", "in_progress", "finalizing", "completed"]
    statuses = [each.status for each in polling.seen]
    counts = [each.request_counts.completed for each in polling.seen]
    assert polling.errors == []
    assert polling.missed >= 1
    assert statuses == sorted(statuses, key=order.index)
    assert statuses[-1] == "completed"
    assert counts == sorted(counts)
    assert sorted(output) == sorted(names)
    assert not errors
    assert second.status == "completed"
    assert max(after - before for before, after in pairwise(repeated)) <= WINDOW


WINDOW = 16
"""Calls that a lease can have sent without a durable result: twice the `concurrency`."""


def test_a_server_that_is_killed_goes_on_and_no_row_is_lost_or_doubled(tmp_path: Path) -> None:
    killed(tmp_path, rows=300, kills=2, latency=0.01)


@pytest.mark.gauntlet
def test_a_server_that_is_killed_fifty_times_loses_and_doubles_no_row(tmp_path: Path) -> None:
    killed(tmp_path, rows=2_000, kills=50, latency=0.01)


def _until_done(client: openai.OpenAI, id: str, wanted: int) -> Any:
    """Look until so many rows are answered."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        seen = client.batches.retrieve(id)
        if seen.request_counts.completed >= wanted:
            return seen
        time.sleep(0.005)
    raise AssertionError(f"{seen.request_counts} for too long")


def test_files_that_a_killed_server_left_half_done_are_swept(tmp_path: Path) -> None:
    left = [tmp_path / folder / "left" for folder in ("incoming", "files", "parts")]
    for path in left:
        path.parent.mkdir()
        path.write_text("half")

    with FakeEndpoint() as endpoint, served(tmp_path, endpoint):
        there = [path.exists() for path in left]

    assert there == [False, False, False]


def test_an_upload_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
    )
    part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
    incoming = tmp_path / "incoming"
    with FakeEndpoint() as endpoint, served(tmp_path, endpoint) as url:
        host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall((head + part).encode())
            until(lambda: any(incoming.iterdir()), "the file to begin")
        until(lambda: not any(incoming.iterdir()), "the file to be discarded")

        assert not any((tmp_path / "files").iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "need a key"),
        (["--config", "nothing.toml"], "'nothing.toml' is not a file"),
        (["--config", "."], "'.' is not a file"),
        (["--host", "192.0.2.1.5"], "need a key"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(
    tmp_path: Path, options: list[str], said: str
) -> None:
    finished = anybatch("serve", "--port", 0, *options, home=tmp_path)

    assert (finished.returncode, finished.stdout) == (1, "")
    assert said in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        finished = anybatch("serve", "--port", taken.getsockname()[1], home=tmp_path)

    assert finished.returncode == 1
    assert "is not to be had" in finished.stderr


def test_the_log_says_who_called_and_not_what_was_said(tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint:
        server = Process(tmp_path, endpoint)
        with client_of(server.start(), "sk-secret") as client:
            until_over(client, create(client, [chat("a", "a secret prompt")]))
        server.stop(signal.SIGINT)

    err = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["event"] == "request"]
    assert {line["path"] for line in requests} >= {"/v1/files", "/v1/batches"}
    assert all(line["id"].startswith("req_") and line["status"] == 200 for line in requests)
    assert [line["event"] for line in lines if line["event"].startswith("order")] == [
        "order.running",
        "order.completed",
    ]
    assert "secret" not in err


@pytest.mark.real_model
def test_without_any_settings_the_model_in_this_process_answers(tmp_path: Path) -> None:
    server = Process(tmp_path)
    with client_of(server.start()) as client:
        models = [model.id for model in client.models.list()]
        rows = [chat("a", "Say yes."), chat("b", "Say no.")]
        for row in rows:
            row["body"]["max_tokens"] = 4
        batch = create(client, rows)
        _, batch = until_over(client, batch)
        output, errors = results_of(client, batch)
    server.stop()

    assert models == ["smollm2"]
    assert sorted(output) == ["a", "b"], errors
    assert 0 < batch.usage.output_tokens <= 8
