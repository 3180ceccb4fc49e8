"""`anybatch webhooks`: beside a server that runs, and without one."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.webhooks import event_of
from anybatch.store.served import ServedStore
from anybatch.testing import FakeEndpoint

from ..cli.process import anybatch
from ..store.test_webhooks import endpoint as hook
from ..store.test_webhooks import order
from .hooks import ALLOWED, Receiver, receiver
from .world import served, until

NOW = datetime.now(UTC)


@pytest.fixture
def told() -> Iterator[Receiver]:
    with receiver() as told:
        yield told


@pytest.fixture
def home(tmp_path: Path, told: Receiver) -> Path:
    """A store with three events: one was delivered, two were given up; of one endpoint."""
    with closing(ServedStore(tmp_path / "store")) as store:
        store.add_webhook_endpoint(hook("we_1", url=told.url))
        for n, status in enumerate(("delivered", "failed", "failed")):
            begun = order(f"batch_{n}")
            store.add_order(begun)
            at = NOW - timedelta(hours=3 - n)
            store.save_order(replace(begun, status="completed", ended_at=at), seen="finishing")
            (due,) = store.due_webhook_deliveries(NOW, each=9, most=9)
            store.note_webhook_delivery(replace(due, status=status, tries=10), seen=0)
    return tmp_path


def event(n: int) -> str:
    return event_of(order(f"batch_{n}")).id


def said(*words: str, home: Path) -> Any:
    finished = anybatch("webhooks", *words, "--json", home=home)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def replayed(*words: str, home: Path) -> list[str]:
    return sorted(each["event"] for each in said("replay", *words, home=home))


def test_who_hears_is_listed_with_how_far_that_is(home: Path, told: Receiver) -> None:
    (listed,) = said("list", home=home)
    in_words = anybatch("webhooks", "list", home=home).stdout

    assert (listed["id"], listed["owner"], listed["status"]) == ("we_1", "me", "enabled")
    assert (listed["waiting"], listed["delivered"], listed["failed"]) == (0, 1, 2)
    assert in_words.split() == [
        *("we_1", "me", "enabled", "waiting=0", "delivered=1", "failed=2", told.url)
    ]
    assert "whsec" not in json.dumps(listed) + in_words


def test_without_a_word_what_was_given_up_is_sent_again(home: Path) -> None:
    finished = anybatch("webhooks", "replay", home=home)

    assert sorted(finished.stdout.split()[::2]) == sorted([event(1), event(2)])
    assert finished.stderr == "2 to be sent again, by the next server that starts\n"
    assert replayed(home=home) == []


def test_events_are_named_or_all_since_a_time(home: Path) -> None:
    assert replayed(event(0), home=home) == [event(0)]
    assert replayed("--since", "150m", home=home) == sorted([event(1), event(2)])
    since = (NOW - timedelta(hours=1, minutes=30)).isoformat()
    assert replayed("--since", since, home=home) == [event(2)]
    assert replayed("--since", "2020-01-01", "--endpoint", "we_1", home=home) == sorted(
        map(event, range(3))
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--since", "yesterday"], "is no time"),
        (["--since", "5x"], "is no time"),
        (["--endpoint", "we_2"], "no endpoint is 'we_2'"),
        (["evt_nowhere"], "no event is 'evt_nowhere'"),
    ],
)
def test_what_is_not_there_is_not_sent_again(home: Path, words: list[str], why: str) -> None:
    finished = anybatch("webhooks", "replay", *words, home=home)

    assert (finished.returncode, finished.stdout) == (1, "")
    assert why in finished.stderr


def test_who_is_disabled_gets_nothing_again(home: Path) -> None:
    with closing(ServedStore(home / "store")) as store:
        store.save_webhook_endpoint(hook("we_1", status="disabled"))

    finished = anybatch("webhooks", "replay", "--endpoint", "we_1", home=home)

    assert (finished.returncode, "is disabled" in finished.stderr) == (1, True)


def test_a_server_that_runs_sends_it(home: Path, told: Receiver, endpoint: FakeEndpoint) -> None:
    with served(home / "store", endpoint, more=ALLOWED):
        finished = anybatch("webhooks", "replay", event(0), home=home)
        (heard,) = told.until_heard()

    assert "by the server that runs" in finished.stderr
    assert (heard.id, heard.event["data"]["id"]) == (event(0), "batch_0")


def test_a_server_that_starts_sends_it(home: Path, told: Receiver, endpoint: FakeEndpoint) -> None:
    anybatch("webhooks", "replay", home=home)
    with served(home / "store", endpoint, more=ALLOWED):
        heard = told.until_heard(2)

    assert {each.id for each in heard} == {event(1), event(2)}


def test_an_address_that_is_not_allowed_any_more_is_not_called(
    home: Path, told: Receiver, endpoint: FakeEndpoint
) -> None:
    anybatch("webhooks", "replay", home=home)
    with served(home / "store", endpoint), closing(ServedStore(home / "store")) as store:

        def tried() -> list[str | None]:
            found = store.webhook_deliveries_of("we_1", most=9) or ()
            return [each.why for each in found if each.tries == 1]

        until(lambda: len(tried()) == 2, "two tries")
        why = tried()

    assert why == ["it has to begin with https://"] * 2
    assert told.heard == []
