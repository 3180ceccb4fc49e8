"""Events on their way: signed, tried again, given up, and never lost."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from anybatch.core.webhooks import DELAYS, new_secret
from anybatch.effects import Moment
from anybatch.errors import BadSettings, StoreUnwritable
from anybatch.server import log, webhooks
from anybatch.server.owners import hash_of
from anybatch.server.serving import serving_of
from anybatch.server.webhook_calling import Caller
from anybatch.server.webhook_settings import WebhookSettings
from anybatch.server.webhooks import Webhooks
from anybatch.settings import Settings
from anybatch.store.served import ServedStore
from anybatch.testing import Crash, CrashAt, FakeEndpoint
from anybatch.testing.endpoint import Call

from ..store.test_webhooks import end
from ..store.test_webhooks import endpoint as hook
from .hooks import ALLOWED, Receiver, receiver, signed_by
from .test_crash import LEASE, a_clients_day
from .world import ShiftedClock, chat, client_of, create, served, until, until_over

SECRET = new_secret(b"s" * 32)
MESSAGES = [{"role": "user", "content": "hi"}]
CONTENTS = [{"parts": [{"text": "hi"}], "role": "user"}]


@pytest.fixture
def told() -> Iterator[Receiver]:
    with receiver() as told:
        yield told


def post(url: str, path: str, body: Any, **headers: str) -> Any:
    answer = httpx2.post(f"{url}{path}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listen(url: str, at: str, *event_types: str) -> Any:
    """Have events sent there; the endpoint that was made for it."""
    asked = {"url": at, "name": "test"} | ({"event_types": event_types} if event_types else {})
    return post(url, "/webhook_endpoints", asked)


def done(url: str, rows: list[Any] | None = None) -> Any:
    """A batch that is over."""
    with client_of(url) as client:
        return until_over(client, create(client, rows or [chat("a")]))[1]


def deliveries(url: str, endpoint: Any) -> list[Any]:
    answer = httpx2.get(f"{url}/webhook_endpoints/{endpoint['id']}/deliveries")
    return list(answer.json()["data"])


def until_status(url: str, endpoint: Any, status: str, *, attempts: int = 0) -> Any:
    """The newest delivery, once it is so far."""

    def is_so_far() -> bool:
        found = deliveries(url, endpoint)
        return bool(found and found[0]["status"] == status and found[0]["attempts"] >= attempts)

    until(is_so_far, f"{status} after {attempts} attempts")
    return deliveries(url, endpoint)[0]


def pass_time(url: str, endpoint: Any, clock: ShiftedClock, time: timedelta) -> None:
    """Set the clock forward, and have the server look at it now and not within a second."""
    clock.ahead += time
    post(url, f"/webhook_endpoints/{endpoint['id']}/replay", {"event_ids": []})


@contextmanager
def hearing(home: Path, endpoint: FakeEndpoint, **more: Any) -> Iterator[str]:
    with served(home, endpoint, more=ALLOWED, **more) as url:
        yield url


# --- what is told ---


def test_the_end_of_a_batch_is_told_as_openai_tells_it(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    with hearing(tmp_path, endpoint) as url:
        made = listen(url, f"{told.url}/path?q=1", "batch.completed")
        batch = done(url)
        (heard,) = told.until_heard()
        delivery = until_status(url, made, "delivered")

    assert heard.path == "/path?q=1"
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["user-agent"] == "anybatch"
    assert heard.event == {
        "id": heard.id,
        "object": "event",
        "created_at": batch.completed_at,
        "type": "batch.completed",
        "data": {"id": batch.id},
    }
    assert signed_by(heard, made["signing_secret"])
    assert (delivery["id"], delivery["attempts"], delivery["status_code"]) == (heard.id, 1, 200)


def test_an_event_whose_sending_cannot_be_written_down_is_sent_again_and_the_server_lives(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_REST", timedelta(seconds=0.2))
    refused = ["once"]
    note = ServedStore.note_webhook_delivery

    def full(store: ServedStore, *tried: Any, **more: Any) -> None:
        if refused:
            refused.pop()
            raise StoreUnwritable("the disk is full")
        note(store, *tried, **more)

    monkeypatch.setattr(ServedStore, "note_webhook_delivery", full)
    with hearing(tmp_path, endpoint) as url:
        made = listen(url, told.url)
        done(url)
        until_status(url, made, "delivered")
        heard = told.until_heard(2)

    assert len({event.id for event in heard}) == 1


def test_batches_of_the_other_protocols_are_told_of_in_the_same_shape(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    params = {"model": "m", "max_tokens": 5, "messages": MESSAGES}
    inline = {"requests": [{"request": {"contents": CONTENTS}, "metadata": {"key": "a"}}]}
    with hearing(tmp_path, endpoint) as url:
        listen(url, told.url)
        messages = {"requests": [{"custom_id": "a", "params": params}]}
        first = post(url, "/messages/batches", messages)["id"]
        asked = {"batch": {"displayName": "a", "inputConfig": {"requests": inline}}}
        root = url.removesuffix("/v1")
        second = post(root, "/v1beta/models/m:batchGenerateContent", asked)["name"]
        heard = told.until_heard(2)

    said = {each.event["data"]["id"]: each.event["type"] for each in heard}
    assert said == {first: "message_batch.completed", second: "gemini_batch.completed"}


def slow(call: Call) -> float:
    return 60.0 if "late" in call.prompt else 0.0


@pytest.mark.parametrize("end", ["failed", "cancelled", "expired"])
def test_every_end_of_a_batch_is_told(tmp_path: Path, told: Receiver, end: str) -> None:
    clock = ShiftedClock()
    with (
        FakeEndpoint(latency=slow) as endpoint,
        hearing(tmp_path, endpoint, clock=clock) as url,
        client_of(url) as client,
    ):
        listen(url, told.url)
        batch = create(client, [chat("a", url="/v1/x")] if end == "failed" else [chat("a", "late")])
        if end == "cancelled":
            client.batches.cancel(batch.id)
        if end == "expired":
            clock.ahead = timedelta(hours=25)
        (heard,) = told.until_heard()

    assert (heard.event["type"], heard.event["data"]["id"]) == (f"batch.{end}", batch.id)


def test_nobody_hears_of_what_others_have(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    keys = {name: hash_of(name) for name in ("alice", "bob")}
    with hearing(tmp_path, endpoint, keys=keys) as url:
        for name in keys:
            asked = {"url": f"{told.url}/{name}"}
            post(url, "/webhook_endpoints", asked, authorization=f"Bearer {name}")
        with client_of(url, "bob") as client:
            _, batch = until_over(client, create(client, [chat("a")]))
        (heard,) = told.until_heard()
        until_said(url, "anybatch_webhooks_waiting 0", key="bob")

    assert (heard.path, heard.event["data"]["id"]) == ("/bob", batch.id)
    assert len(told.heard) == 1


def until_said(url: str, line: str, key: str = "any") -> str:
    """The numbers, once they have this line."""

    def numbers() -> str:
        metrics = url.removesuffix("/v1") + "/metrics"
        return httpx2.get(metrics, headers={"x-api-key": key}).text

    until(lambda: line in numbers().splitlines(), line)
    return numbers()


# --- again ---


def test_what_is_not_taken_comes_again_with_the_same_id_and_another_time(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    clock = ShiftedClock()
    told.answers = [500, 302, 404]
    told.headers = {"location": f"{told.url}/elsewhere"}
    with hearing(tmp_path, endpoint, clock=clock) as url:
        made = listen(url, told.url + "/here")
        done(url)
        for tries, delay in enumerate(DELAYS[:3], start=1):
            waits = until_status(url, made, "waiting", attempts=tries)
            assert len(told.heard) == tries
            pass_time(url, made, clock, delay * 1.2)
        delivery = until_status(url, made, "delivered")

    heard = told.heard
    assert [each.path for each in heard] == ["/here"] * 4
    assert len({each.id for each in heard}) == len({each.body for each in heard}) == 1
    assert [each.at for each in heard] == sorted({each.at for each in heard})
    assert all(signed_by(each, made["signing_secret"]) for each in heard)
    assert (waits["status_code"], waits["error"]) == (404, "it answered 404")
    assert (delivery["attempts"], delivery["error"]) == (4, None)


def test_after_ten_tries_it_is_given_up(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    clock = ShiftedClock()
    told.answers = [500] * 99
    with hearing(tmp_path, endpoint, clock=clock) as url:
        made = listen(url, told.url)
        done(url)
        for tries, delay in enumerate(DELAYS, start=1):
            until_status(url, made, "waiting", attempts=tries)
            pass_time(url, made, clock, delay * 1.2)
        given_up = until_status(url, made, "failed")
        numbers = until_said(url, 'anybatch_webhook_tries_total{outcome="failed"} 1')

    assert len(told.heard) == 10
    assert (given_up["attempts"], given_up["next_attempt_at"]) == (10, None)
    assert 'anybatch_webhook_tries_total{outcome="waits"} 9' in numbers.splitlines()
    assert "anybatch_webhooks_waiting 0" in numbers.splitlines()


def test_who_asks_us_to_wait_is_not_called_before(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    told.answers = [429]
    told.headers = {"retry_after": "3600"}
    clock = ShiftedClock()
    with hearing(tmp_path, endpoint, clock=clock) as url:
        made = listen(url, told.url)
        done(url)
        first = until_status(url, made, "waiting", attempts=1)
        done(url)
        pass_time(url, made, clock, timedelta(minutes=55))
        second = until_status(url, made, "waiting")
        told_by_then = len(told.heard)
        pass_time(url, made, clock, timedelta(minutes=15))
        told.until_heard(3)

    assert 3590 < first["next_attempt_at"] - first["last_attempt_at"] <= 3600
    assert second["attempts"] == 0
    assert told_by_then == 1


def test_who_is_gone_hears_nothing_any_more(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    told.answers = [410]
    with hearing(tmp_path, endpoint) as url:
        made = listen(url, told.url)
        done(url)
        until_status(url, made, "failed")
        done(url)
        there = httpx2.get(f"{url}/webhook_endpoints/{made['id']}").json()
        count = len(deliveries(url, made))

    assert (there["status"], there["disabled_reason"]) == ("disabled", "it answered 410 Gone")
    assert (len(told.heard), count) == (1, 1)


def test_who_cannot_be_called_is_called_later(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    with receiver() as gone:
        pass
    with hearing(tmp_path, endpoint) as url:
        made = listen(url, gone.url)
        done(url)
        waits = until_status(url, made, "waiting", attempts=1)

    assert (waits["status_code"], waits["error"]) == (None, "no connection")


def test_who_is_slow_holds_up_no_others(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    with receiver() as slow, hearing(tmp_path, endpoint) as url:
        slow.goes_on.clear()
        listen(url, slow.url)
        listen(url, told.url)
        for _ in range(4):
            done(url)
        told.until_heard(4)
        under_way = len(slow.heard)
        slow.goes_on.set()
        slow.until_heard(4)

    assert under_way <= 2
    assert len({each.id for each in told.heard}) == 4


def test_of_many_events_each_is_sent_once(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    with closing(ServedStore(tmp_path)) as store:
        for n in range(4):
            store.add_webhook_endpoint(hook(f"we_{n}", owner=f"owner {n}", url=told.url))
        events = {end(store, f"batch_{n}", owner=f"owner {n % 4}") for n in range(100)}
    with hearing(tmp_path, endpoint) as url:
        told.until_heard(100)
        until_said(url, 'anybatch_webhook_tries_total{outcome="delivered"} 100')
        until_said(url, "anybatch_webhooks_waiting 0")

    assert {each.id for each in told.heard} == events
    assert len(told.heard) == 100


# --- crashes and stops ---


class DiesAt:
    """A probe that dies once an effect has been passed."""

    def __init__(self, name: str, moment: Moment) -> None:
        self._at = (name, moment)
        self.crashed = False

    def __call__(self, name: str, moment: Moment) -> None:
        if self.crashed or (name, moment) == self._at:
            self.crashed = True
            raise Crash(f"died {moment} {name}")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_who_dies_while_an_event_is_sent_sends_it_again_by_the_same_id(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver, moment: Moment
) -> None:
    probe = DiesAt("webhook.send", moment)
    made: list[Any] = []
    with suppress(Crash, BaseExceptionGroup), hearing(tmp_path, endpoint, probe=probe) as url:
        made.append(listen(url, told.url))
        with suppress(httpx2.HTTPError, openai.APIConnectionError, json.JSONDecodeError):
            done(url)
        until(lambda: probe.crashed, "its death")
    died_with = len(told.heard)
    with hearing(tmp_path, endpoint) as url:
        told.until_heard(died_with + 1)
        delivery = until_status(url, made[0], "delivered")

    assert probe.crashed
    assert died_with == (1 if moment == "after" else 0)
    assert {each.id for each in told.heard} == {delivery["id"]}
    assert len(told.heard) == died_with + 1


def dies_at(k: int, home: Path) -> None:
    """Die at the k-th crossing of a day with an endpoint, and look whether it hears of the end."""
    probe = CrashAt(k)
    with FakeEndpoint() as endpoint, receiver() as told:

        def day(url: str) -> str:
            asked, key = {"url": told.url}, {"idempotency-key": "the endpoint"}
            httpx2.post(f"{url}/webhook_endpoints", json=asked, headers=key, timeout=5)
            return a_clients_day(url)

        with (
            suppress(Crash, BaseExceptionGroup),
            hearing(home, endpoint, probe=probe, lease=LEASE) as url,
            suppress(httpx2.HTTPError, json.JSONDecodeError),
        ):
            day(url)
            until(lambda: probe.crashed, "its death")
        assert probe.crashed
        with hearing(home, endpoint, lease=LEASE) as url:
            batch = day(url)
            (made,) = httpx2.get(f"{url}/webhook_endpoints").json()["data"]
            delivery = until_status(url, made, "delivered")
            count = len(deliveries(url, made))
    assert {each.id for each in told.heard} == {delivery["id"]}
    assert {each.event["data"]["id"] for each in told.heard} == {batch}
    assert (count, len(told.heard) <= 2) == (1, True)


@pytest.mark.parametrize("k", [30, 80, 93])
def test_whenever_a_server_dies_the_end_of_a_batch_is_told(tmp_path: Path, k: int) -> None:
    dies_at(k, tmp_path)


@pytest.mark.gauntlet
@pytest.mark.parametrize("k", range(1, 96))
def test_at_whatever_effect_a_server_dies_the_end_of_a_batch_is_told(
    tmp_path: Path, k: int
) -> None:
    dies_at(k, tmp_path)


def test_who_stops_while_an_event_is_sent_does_not_wait_for_ever(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    told.goes_on.clear()
    with hearing(tmp_path, endpoint) as url:
        made = listen(url, told.url)
        done(url)
        told.until_heard()
        began = time.perf_counter()
    took = time.perf_counter() - began
    told.goes_on.set()
    with hearing(tmp_path, endpoint) as url:
        delivery = until_status(url, made, "delivered")

    assert took < 5
    assert delivery["attempts"] == 1  # nobody knows of the other
    assert len({each.id for each in told.heard}) == 1


def test_what_was_told_long_ago_is_forgotten(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    clock = ShiftedClock()
    with hearing(tmp_path, endpoint, clock=clock) as url:
        made = listen(url, told.url)
        done(url)
        until_status(url, made, "delivered")
        clock.ahead = timedelta(days=31)
        until(lambda: not deliveries(url, made), "an empty list")


# --- the settings ---


def settled(url: str, **more: Any) -> dict[str, Any]:
    return {**ALLOWED, "webhooks": [{"url": url, "secret_env": "HOOK_SECRET", **more}]}


def test_an_endpoint_in_the_settings_hears_of_all_owners(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    keys = {name: hash_of(name) for name in ("alice", "bob")}
    with served(
        tmp_path,
        endpoint,
        keys=keys,
        more=settled(told.url),
        environment={"HOOK_SECRET": SECRET},
    ) as url:
        for name in keys:
            with client_of(url, name) as client:
                until_over(client, create(client, [chat("a")]))
        heard = told.until_heard(2)
        listed = httpx2.get(f"{url}/webhook_endpoints", headers={"x-api-key": "alice"})

    assert all(signed_by(each, SECRET) for each in heard)
    assert listed.json()["data"] == []
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.db*"))
    assert SECRET.encode() not in kept


def test_an_endpoint_in_the_settings_may_be_for_one_owner_and_some_events(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    keys = {name: hash_of(name) for name in ("alice", "bob")}
    more = settled(told.url, owner="bob", events=["batch.completed"])
    with served(
        tmp_path, endpoint, keys=keys, more=more, environment={"HOOK_SECRET": SECRET}
    ) as url:
        ids: dict[str, str] = {}
        for name in keys:
            with client_of(url, name) as client:
                ids[name] = until_over(client, create(client, [chat("a")]))[1].id
        (heard,) = told.until_heard()

    assert heard.event["data"]["id"] == ids["bob"]


def test_an_endpoint_that_the_settings_do_not_name_any_more_hears_nothing(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    environment = {"HOOK_SECRET": SECRET}
    with served(tmp_path, endpoint, more=settled(told.url), environment=environment) as url:
        done(url)
        told.until_heard()
    with hearing(tmp_path, endpoint) as url:
        done(url)
    with closing(ServedStore(tmp_path)) as store:
        (there,) = store.webhook_endpoints()

    assert (there.status, there.why) == ("disabled", "the settings do not name it any more")
    assert len(told.heard) == 1


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"webhook_hosts": "127.0.0.1"}, "webhook_hosts"),
        ({"webhook_hosts": ["http://a"]}, "webhook_hosts"),
        ({"webhook_hosts": ["*.internal"]}, "webhook_hosts"),
        ({"webhook_hosts": ["127.1"]}, "webhook_hosts"),
        ({"webhooks": {"url": "https://a.example"}}, "server.webhooks"),
        ({"webhooks": [{"url": "https://a.example"}]}, "secret_env"),
        ({"webhooks": [{"secret_env": "HOOK_SECRET"}]}, "url"),
        (settled("http://10.0.0.1/"), "https://"),
        (settled("https://a.example/", colour="red"), "colour"),
        (settled("https://a.example/", events=["batch.begun"]), "batch.begun"),
        (settled("https://a.example/", events=[]), "events"),
        (settled("https://a.example/", owner=1), "owner"),
        ({"webhooks": settled("https://a.example/")["webhooks"] * 2}, "same url"),
        ({"webhooks": [{"url": "https://a.example", "secret_env": "NO"}]}, "openssl rand"),
        ({"webhooks": [{"url": "https://a.example", "secret_env": "WRONG"}]}, "openssl rand"),
    ],
)
def test_settings_that_are_wrong_are_refused_and_show_no_secret(
    tmp_path: Path, server: dict[str, Any], said: str
) -> None:
    environment = {"HOOK_SECRET": SECRET, "WRONG": "whsec_short"}
    settings = Settings(home=tmp_path, server=server, environment=environment)

    with pytest.raises(BadSettings, match=said) as raised:
        serving_of(settings, host=None, port=0)

    assert "short" not in str(raised.value)
    assert SECRET not in str(raised.value)


# --- numbers and the log ---


async def test_numbers_that_cannot_be_looked_up_keep_back_no_others(tmp_path: Path) -> None:
    caller = Caller(frozenset())
    with closing(ServedStore(tmp_path)) as store:
        webhooks = Webhooks(
            store, ShiftedClock(), WebhookSettings(), caller=caller, news=asyncio.Event()
        )
        before = [metric.name for metric in await webhooks.metrics()]
        store._db.execute("drop table webhook_deliveries")
        after = [metric.name for metric in await webhooks.metrics()]
    caller.close()

    assert after == before[:1]
    assert len(before) == 3


def test_the_log_tells_of_tries_and_of_no_address_or_secret(
    tmp_path: Path,
    endpoint: FakeEndpoint,
    told: Receiver,
    capfd: pytest.CaptureFixture[str],
) -> None:
    told.answers = [500]
    clock = ShiftedClock()
    with hearing(tmp_path, endpoint, clock=clock) as url:
        made = listen(url, f"{told.url}/private?token=hush")
        batch = done(url)
        until_status(url, made, "waiting", attempts=1)
        pass_time(url, made, clock, DELAYS[0] * 2)
        event = until_status(url, made, "delivered")["id"]
    log.flush()
    text = capfd.readouterr().err

    lines = [json.loads(line) for line in text.splitlines()]
    tries = [line for line in lines if line["event"].startswith("webhook.")]
    assert [(line["event"], line["tries"], line["status"]) for line in tries] == [
        ("webhook.waits", 1, 500),
        ("webhook.delivered", 2, 200),
    ]
    assert {line["endpoint"] for line in tries} == {made["id"]}
    assert {line["webhook_id"] for line in tries} == {event}
    assert batch.id in text
    for private in ("hush", "/private", made["signing_secret"], told.url):
        assert private not in text
