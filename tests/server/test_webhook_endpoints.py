"""Webhook endpoints as clients make, change and lose them; judged by OpenAI's own SDK as well."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.core.webhooks import EVENT_TYPES, is_secret
from anybatch.server.owners import hash_of
from anybatch.server.webhook_calls import MOST
from anybatch.testing import FakeEndpoint

from ..judges.judging import LIMIT_S, ROOT, python_of
from .hooks import ALLOWED, Heard, Receiver, receiver, signed_by
from .world import ShiftedClock, chat, client_of, create, served, until, until_over

SCRIPT = ROOT / "tests" / "judges" / "openai_webhooks.py"
KEYS = {name: hash_of(name) for name in ("alice", "bob")}


@pytest.fixture
def told() -> Iterator[Receiver]:
    with receiver() as told:
        yield told


class Client:
    """Somebody who calls."""

    def __init__(self, url: str, key: str = "any") -> None:
        self._url = url
        self._key = {"authorization": f"Bearer {key}"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """What is answered, with its status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = httpx2.request(method, self._url + path, json=body, headers=named | self._key)
        return answer.status_code, answer.json()

    def make(self, **asked: Any) -> Any:
        status, said = self("POST", "/webhook_endpoints", asked)
        assert status == 200, said
        return said


@pytest.fixture(scope="module")
def url(endpoint: FakeEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("home"), endpoint, keys=KEYS, more=ALLOWED) as url:
        yield url


@pytest.fixture
def alice(url: str) -> Iterator[Client]:
    alice = Client(url, "alice")
    yield alice
    for each in alice("GET", "/webhook_endpoints?limit=100")[1]["data"]:
        alice("DELETE", f"/webhook_endpoints/{each['id']}")


def batch_of(url: str, key: str = "alice") -> Any:
    with client_of(url, key) as client:
        return until_over(client, create(client, [chat("a")]))[1]


# --- made and changed ---


def test_a_secret_is_shown_when_it_is_made_and_at_no_other_time(
    alice: Client, told: Receiver
) -> None:
    made = alice.make(url=told.url)
    _, seen = alice("GET", f"/webhook_endpoints/{made['id']}")
    _, listed = alice("GET", "/webhook_endpoints")

    secret = made.pop("signing_secret")
    assert is_secret(secret)
    assert made["signing_secret_hint"] == f"whsec_…{secret[-4:]}"
    assert seen == made
    assert listed["data"] == [made]
    assert made["event_types"] == list(EVENT_TYPES)


def test_an_endpoint_is_what_was_last_said_of_it(alice: Client, told: Receiver) -> None:
    made = alice.make(url=told.url, name="mine", event_types=["batch.failed", "batch.failed"])
    one = f"/webhook_endpoints/{made['id']}"

    _, named = alice("POST", one, {"name": "yours"})
    _, moved = alice("POST", one, {"url": f"{told.url}/b", "event_types": ["batch.expired"]})
    _, disabled = alice("POST", one, {"status": "disabled"})
    _, unchanged = alice("POST", one, {})

    assert made["event_types"] == ["batch.failed"]
    assert (named["name"], named["url"]) == ("yours", told.url + "/")
    assert (moved["url"], moved["event_types"]) == (f"{told.url}/b", ["batch.expired"])
    assert disabled["status"] == "disabled"
    assert unchanged == disabled


def test_who_is_disabled_hears_nothing_until_it_is_enabled(
    url: str, alice: Client, told: Receiver
) -> None:
    one = f"/webhook_endpoints/{alice.make(url=told.url, status='disabled')['id']}"
    missed = batch_of(url)
    alice("POST", one, {"status": "enabled"})
    heard = batch_of(url)
    told.until_heard()
    _, replayed = alice("POST", f"{one}/replay", {"since": missed.created_at})
    told.until_heard(3)

    assert [each.event["data"]["id"] for each in told.heard][:1] == [heard.id]
    assert {each.event["data"]["id"] for each in told.heard} == {missed.id, heard.id}
    assert len(replayed["event_ids"]) == 2


def test_who_walks_the_list_may_delete_what_it_has_seen(alice: Client, told: Receiver) -> None:
    made = [alice.make(url=told.url)["id"] for _ in range(5)]
    seen: list[str] = []
    status, page = alice("GET", "/webhook_endpoints?limit=2")
    while page["data"]:
        seen += [each["id"] for each in page["data"]]
        for each in page["data"]:
            alice("DELETE", f"/webhook_endpoints/{each['id']}")
        status, page = alice("GET", f"/webhook_endpoints?limit=2&after={page['last_id']}")
        assert status == 200

    assert seen == made[::-1]
    for foreign in ("we_nowhere", made[0].upper()):
        status, refused = alice("GET", f"/webhook_endpoints?after={foreign}")
        assert (status, refused["error"]["param"]) == (400, "after")


def test_where_anothers_endpoint_stood_is_no_place(url: str, alice: Client, told: Receiver) -> None:
    made = alice.make(url=told.url)["id"]
    alice("DELETE", f"/webhook_endpoints/{made}")

    status, _ = Client(url, "bob")("GET", f"/webhook_endpoints?after={made}")

    assert status == 400


def test_a_deleted_endpoint_is_not_there(url: str, alice: Client, told: Receiver) -> None:
    made = alice.make(url=told.url)
    one = f"/webhook_endpoints/{made['id']}"

    deleted = alice("DELETE", one)
    again = alice("DELETE", one)
    batch_of(url)

    said = {"id": made["id"], "object": "webhook_endpoint.deleted", "deleted": True}
    assert deleted == (200, said)
    assert again[0] == 404
    assert told.heard == []


def test_there_are_so_many_endpoints_and_no_more(alice: Client, told: Receiver) -> None:
    for n in range(MOST):
        alice.make(url=f"{told.url}/{n}")

    status, said = alice("POST", "/webhook_endpoints", {"url": told.url})

    assert (status, said["error"]["type"]) == (400, "invalid_request_error")
    assert str(MOST) in said["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        ({}, "url", "missing_required_parameter"),
        ({"url": 1}, "url", "invalid_type"),
        ({"url": "https://127.0.0.2/"}, "url", "invalid_url"),
        ({"url": "http://hooks.example/"}, "url", "invalid_url"),
        ({"url": "https://localhost/"}, "url", "invalid_url"),
        ({"url": "https://user@127.0.0.1/"}, "url", "invalid_url"),
        ({"url": "file:///etc/passwd"}, "url", "invalid_url"),
        ({"url": "http://127.0.0.1/", "event_types": []}, "event_types", None),
        (
            {"url": "http://127.0.0.1/", "event_types": "batch.failed"},
            "event_types",
            "invalid_type",
        ),
        ({"url": "http://127.0.0.1/", "event_types": [1]}, "event_types", "invalid_type"),
        ({"url": "http://127.0.0.1/", "event_types": ["a.b"]}, "event_types", "invalid_value"),
        ({"url": "http://127.0.0.1/", "name": "x" * 257}, "name", "string_above_max_length"),
        ({"url": "http://127.0.0.1/", "name": {}}, "name", "invalid_type"),
        ({"url": "http://127.0.0.1/", "status": "on"}, "status", "invalid_value"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused_in_openais_words(
    alice: Client, asked: Any, param: str, code: str | None
) -> None:
    status, said = alice("POST", "/webhook_endpoints", asked)

    assert status == 400
    assert (said["error"]["param"], said["error"]["code"]) == (param, code), said
    assert alice("GET", "/webhook_endpoints")[1]["data"] == []


def test_nobody_learns_what_lies_in_our_network(alice: Client) -> None:
    """A name that leads there and an address there sound alike."""
    hosts = ("localhost", "10.0.0.1", "[::1]", "169.254.169.254")

    said = {
        alice("POST", "/webhook_endpoints", {"url": f"https://{host}/"})[1]["error"]["message"]
        for host in hosts
    }

    assert said == {"Invalid 'url': its host has no public address."}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"[" * 100_000])
def test_what_is_no_object_is_refused(url: str, body: bytes) -> None:
    headers = {"authorization": "Bearer alice"}
    answer = httpx2.post(f"{url}/webhook_endpoints", content=body, headers=headers)

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


# --- made again ---


def test_the_same_call_makes_one_endpoint_and_shows_its_secret_again(
    alice: Client, told: Receiver
) -> None:
    asked, key = {"url": told.url}, {"idempotency_key": "the one"}
    first = alice("POST", "/webhook_endpoints", asked, **key)
    again = alice("POST", "/webhook_endpoints", asked, **key)
    other = alice("POST", "/webhook_endpoints", {"url": told.url + "/b"}, **key)

    assert first == again
    assert other[0] == 409
    assert len(alice("GET", "/webhook_endpoints")[1]["data"]) == 1


def test_the_same_rotation_makes_one_secret(alice: Client, told: Receiver) -> None:
    made = alice.make(url=told.url)
    rotate = f"/webhook_endpoints/{made['id']}/rotate_secret"

    secrets = [
        alice("POST", rotate, {}, idempotency_key="once")[1]["signing_secret"] for _ in range(2)
    ]

    assert secrets[0] == secrets[1] != made["signing_secret"]


# --- secrets ---


@pytest.mark.parametrize("keeps", [True, False])
def test_an_old_secret_signs_for_a_day_if_that_is_wanted(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver, keeps: bool
) -> None:
    clock = ShiftedClock()
    with served(tmp_path, endpoint, more=ALLOWED, clock=clock) as url:
        client = Client(url)
        old = client.make(url=told.url)
        asked = {"keep_old_secret_active_for_24_hours": keeps}
        new = client("POST", f"/webhook_endpoints/{old['id']}/rotate_secret", asked)[1]
        batch_of(url, "any")
        told.until_heard(1)
        clock.ahead = timedelta(hours=25)
        batch_of(url, "any")
        first, second = told.until_heard(2)

    assert [signed_by(each, new["signing_secret"]) for each in (first, second)] == [True, True]
    assert [signed_by(each, old["signing_secret"]) for each in (first, second)] == [keeps, False]


# --- tried out, looked at, sent again ---


def test_an_endpoint_is_tried_out_with_an_event_that_is_made_up(
    alice: Client, told: Receiver
) -> None:
    told.answers = [503]
    made = alice.make(url=told.url)
    test = f"/webhook_endpoints/{made['id']}/test"

    refused = alice("POST", test, {"event_type": "batch.failed"})
    taken = alice("POST", test, {"event_type": "gemini_batch.expired"})

    assert (refused[0], refused[1]["status_code"]) == (200, 503)
    assert (taken[0], taken[1]["status_code"]) == (200, 200)
    assert [each.event["type"] for each in told.heard] == ["batch.failed", "gemini_batch.expired"]
    assert all(signed_by(each, made["signing_secret"]) for each in told.heard)
    assert alice("GET", f"/webhook_endpoints/{made['id']}/deliveries")[1]["data"] == []


def test_what_is_named_is_tried_out_and_sent_again_once(
    url: str, alice: Client, told: Receiver
) -> None:
    made = alice.make(url=told.url)
    one = f"{url}/webhook_endpoints/{made['id']}"

    def call(path: str, asked: Any, name: str) -> httpx2.Response:
        headers = {"authorization": "Bearer alice", "idempotency-key": name}
        return httpx2.post(f"{one}/{path}", json=asked, headers=headers)

    tests = [call("test", {"event_type": "batch.failed"}, "t") for _ in range(2)]
    other = call("test", {"event_type": "batch.expired"}, "t")

    assert tests[0].json() == tests[1].json()
    assert (tests[0].status_code, other.status_code) == (200, 409)
    assert len(told.heard) == 1

    batch_of(url)
    event = told.until_heard(2)[1].event["id"]
    until(
        lambda: all(
            each["status"] == "delivered"
            for each in alice("GET", f"/webhook_endpoints/{made['id']}/deliveries")[1]["data"]
        ),
        "its delivery",
    )
    replays = [call("replay", {"event_ids": [event]}, "r") for _ in range(2)]
    told.until_heard(3)

    assert replays[0].status_code == 200, replays[0].text
    assert replays[0].json() == replays[1].json()
    assert call("replay", {"event_ids": [event]}, "t").status_code == 409
    assert len(told.heard) == 3


@pytest.mark.parametrize("asked", [{}, {"event_type": "response.completed"}, {"event_type": 1}])
def test_what_is_no_event_is_not_tried_out(alice: Client, told: Receiver, asked: Any) -> None:
    made = alice.make(url=told.url)

    status, said = alice("POST", f"/webhook_endpoints/{made['id']}/test", asked)

    assert (status, said["error"]["param"]) == (400, "event_type")
    assert told.heard == []


def test_who_does_not_answer_fails_the_test(alice: Client) -> None:
    with receiver() as gone:
        pass
    made = alice.make(url=gone.url)

    status, said = alice(
        "POST", f"/webhook_endpoints/{made['id']}/test", {"event_type": "batch.failed"}
    )

    assert (status, said["error"]["code"]) == (400, "webhook_test_failed")
    assert "no connection" in said["error"]["message"]


def test_deliveries_are_listed_page_by_page(url: str, alice: Client, told: Receiver) -> None:
    made = alice.make(url=told.url)
    one = f"/webhook_endpoints/{made['id']}/deliveries"
    batches = [batch_of(url) for _ in range(3)]
    told.until_heard(3)

    _, first = alice("GET", f"{one}?limit=2")
    _, second = alice("GET", f"{one}?limit=2&after={first['last_id']}")
    unknown, _ = alice("GET", f"{one}?after=evt_nowhere")

    assert (first["has_more"], second["has_more"], unknown) == (True, False, 400)
    listed = [each["event_data"]["id"] for each in (*first["data"], *second["data"])]
    assert listed == [batch.id for batch in batches[::-1]]


def test_an_event_is_sent_again_by_the_same_id(url: str, alice: Client, told: Receiver) -> None:
    made = alice.make(url=told.url)
    one = f"/webhook_endpoints/{made['id']}"
    batch_of(url)
    (heard,) = told.until_heard()

    replayed = alice("POST", f"{one}/replay", {"event_ids": [heard.id, "evt_nowhere"]})
    first, second = told.until_heard(2)

    said = {"object": "webhook_endpoint.replay", "webhook_endpoint_id": made["id"]}
    assert replayed == (200, said | {"event_ids": [heard.id]})
    assert (first.id, first.body) == (second.id, second.body)


@pytest.mark.parametrize(
    "asked",
    [{"event_ids": "evt"}, {"event_ids": ["a"] * 1001}, {"since": "now"}, {"since": True}],
)
def test_what_cannot_be_sent_again_is_refused(alice: Client, told: Receiver, asked: Any) -> None:
    made = alice.make(url=told.url)

    status, _ = alice("POST", f"/webhook_endpoints/{made['id']}/replay", asked)

    assert status == 400


# --- the official SDK ---


def judge(*words: str, given: Any = None) -> Any:
    finished = subprocess.run(
        [python_of("openai-3"), SCRIPT, *words],
        env={"PATH": os.environ["PATH"]},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def sent(heard: Heard, secret: str, **changes: str) -> Mapping[str, Any]:
    headers = {**heard.headers, **{k.replace("_", "-"): v for k, v in changes.items()}}
    return {"body": heard.body.decode(), "headers": headers, "secret": secret}


def test_the_sdk_takes_our_endpoints_for_openais(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    with served(tmp_path, endpoint, more=ALLOWED) as url:
        seen = judge(url, told.url)
        (heard,) = told.heard
        unwrapped = judge("unwrap", given=[sent(heard, secret) for secret in seen["secrets"]])

    types = ["batch.completed", "batch.failed"]
    assert seen["seen"] == [told.url + "/", "mine", types, False]
    assert seen["changed"] == ["yours", ["batch.expired"]]
    assert seen["tested"] == [200, True, "batch.expired"]
    assert (seen["listed"], seen["deleted"]) == ([3, True], True)
    assert seen["types"] == list(EVENT_TYPES)
    assert seen["refused"] == {
        "gone": ["NotFoundError", "id", None],
        "private": ["BadRequestError", "url", "invalid_url"],
        "type": ["BadRequestError", "event_types", "invalid_value"],
    }
    assert unwrapped == [["BatchExpiredWebhookEvent", "batch.expired", "batch_test"]] * 2


def test_the_sdk_believes_what_we_send_and_nothing_else(
    tmp_path: Path, endpoint: FakeEndpoint, told: Receiver
) -> None:
    with served(tmp_path, endpoint, more=ALLOWED) as url:
        secret = Client(url).make(url=told.url)["signing_secret"]
        other = Client(url).make(url=told.url, event_types=["batch.failed"])["signing_secret"]
        batch = batch_of(url, "any")
        (heard,) = told.until_heard()

    unwrapped = judge(
        "unwrap",
        given=[
            sent(heard, secret),
            sent(heard, other),
            sent(heard, secret, webhook_id="evt_other"),
            sent(heard, secret, webhook_timestamp=str(heard.at - 1)),
            {**sent(heard, secret), "body": heard.body.decode() + " "},
        ],
    )

    assert unwrapped[0] == ["BatchCompletedWebhookEvent", "batch.completed", batch.id]
    assert {each[0] for each in unwrapped[1:]} == {"InvalidWebhookSignatureError"}
