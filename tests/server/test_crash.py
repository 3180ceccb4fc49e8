"""A server that dies before or after any of its effects; and what the next one makes of that."""

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.testing import Crash, CrashAt, FakeEndpoint, Watch

from .world import CHAT, OVER, chat, client_of, jsonl, results_of, served, until, until_over

NAMES = ["a", "b", "c"]
LEASE = timedelta(seconds=0.3)
"""The next life is in this process, too: nobody can see that the one before has died."""
KEY = {"idempotency-key": "the one"}


def a_clients_day(url: str) -> str:
    """Upload, create, wait for the end; the batch's id. Every creation may be made again."""
    form = {"file": ("in.jsonl", jsonl([chat(name, name) for name in NAMES]))}
    asked = {"endpoint": CHAT, "completion_window": "24h"}
    with httpx2.Client(base_url=url, timeout=5) as http:
        sent = http.post("/files", data={"purpose": "batch"}, files=form, headers=KEY)
        file = sent.raise_for_status().json()["id"]
        key = {"idempotency-key": "the batch"}
        made = http.post("/batches", json={"input_file_id": file, **asked}, headers=key)
        batch: str = made.raise_for_status().json()["id"]

        def is_over() -> bool:
            return http.get(f"/batches/{batch}").raise_for_status().json()["status"] in OVER

        until(is_over, "the end of the batch")
    return batch


def crossings(home: Path) -> int:
    watch = Watch()
    with FakeEndpoint() as endpoint, served(home, endpoint, probe=watch) as url:
        a_clients_day(url)
    return len(watch.crossings)


class Dying:
    """A server's life under a probe that ends it."""

    def __init__(self, home: Path, endpoint: FakeEndpoint, probe: CrashAt) -> None:
        self.told: list[str] = []
        with (
            suppress(Crash, BaseExceptionGroup),
            served(home, endpoint, probe=probe, lease=LEASE) as url,
            suppress(httpx2.HTTPError, json.JSONDecodeError),
        ):
            self.told.append(a_clients_day(url))


def dies_at(k: int, home: Path) -> None:
    """Die at the k-th crossing, and check all promises in the next life."""
    probe = CrashAt(k)
    with FakeEndpoint() as endpoint:
        first = Dying(home, endpoint, probe)
        assert probe.crashed
        with served(home, endpoint, lease=LEASE) as url, client_of(url) as client:
            batch_id = a_clients_day(url)
            assert first.told in ([], [batch_id])
            _, batch = until_over(client, client.batches.retrieve(batch_id))
            output, errors = results_of(client, batch)
            listed = [each.id for each in client.batches.list()]
            files = {each.id for each in client.files.list()}
        assert batch.status == "completed"
        assert (sorted(output), errors) == (NAMES, {})
        assert listed == [batch_id]
        assert files == {batch.input_file_id, batch.output_file_id}
        assert endpoint.ledger.repeated <= len(NAMES)
    assert _left(home) == {"files": files, "incoming": set(), "parts": set()}
    assert len(list((home / "runs").iterdir())) == 1


def _left(home: Path) -> dict[str, set[Any]]:
    return {
        folder: {path.name for path in (home / folder).iterdir()}
        for folder in ("files", "incoming", "parts")
    }


def every(step: int, home: Path) -> None:
    """Die at every so-manieth crossing of a client's day."""
    count = crossings(home / "watched")
    assert count > 60
    # How many there are differs a little from life to life: not the last two.
    for k in range(1, count - 2, step):
        dies_at(k, home / str(k))


def test_whenever_a_server_dies_nothing_accepted_is_lost_or_there_twice(tmp_path: Path) -> None:
    every(9, tmp_path)


@pytest.mark.gauntlet
def test_at_whatever_effect_a_server_dies_nothing_is_lost_or_there_twice(tmp_path: Path) -> None:
    every(1, tmp_path)
