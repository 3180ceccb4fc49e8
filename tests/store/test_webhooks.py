"""The outbox: what is in it when an order is over, what is due, and what is sent again."""

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.served import Answered, Order
from anybatch.core.webhooks import (
    EVENT_TYPES,
    WebhookDelivery,
    WebhookEndpoint,
    event_of,
    new_secret,
)
from anybatch.store import webhooks
from anybatch.store.served import ServedStore

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ServedStore]:
    store = ServedStore(tmp_path)
    yield store
    store.close()


def endpoint(id: str, **changes: Any) -> WebhookEndpoint:
    values: dict[str, Any] = {
        "id": id,
        "owner": "me",
        "name": "ü",
        "url": f"https://{id}.example/",
        "event_types": EVENT_TYPES,
        "created_at": AT,
        "updated_at": AT,
        "secret": new_secret(b"x" * 32),
    }
    return WebhookEndpoint(**(values | changes))


def order(id: str, **changes: Any) -> Order:
    values: dict[str, Any] = {
        "id": id,
        "owner": "me",
        "face": "openai",
        "api": "openai.chat",
        "asked": {},
        "input_file": "file-1",
        "input_size": 9,
        "created_at": AT,
        "expires_at": AT + HOUR,
        "kept_seconds": 3600,
        "status": "finishing",
    }
    return Order(**(values | changes))


def end(store: ServedStore, id: str, *, at: datetime = AT, **changes: Any) -> str:
    """Have an order end; the id of its event."""
    begun = order(id, **changes)
    store.add_order(begun)
    ended = replace(begun, status="completed", ended_at=at)
    assert store.save_order(ended, seen="finishing")
    return event_of(ended).id


def due(store: ServedStore, at: datetime = AT, **bounds: int) -> list[tuple[str, str]]:
    found = store.due_webhook_deliveries(at, **({"each": 9, "most": 99} | bounds))
    return sorted((each.event.id, each.endpoint_id) for each in found)


def tried(store: ServedStore, event_id: str, **changes: Any) -> WebhookDelivery:
    """A delivery that is due, as it was tried."""
    found = store.due_webhook_deliveries(AT + 99 * HOUR, each=99, most=999)
    (delivery,) = (each for each in found if each.event.id == event_id)
    return replace(delivery, tries=delivery.tries + 1, tried_at=AT, **changes)


def note(store: ServedStore, tried: WebhookDelivery, **more: Any) -> None:
    store.note_webhook_delivery(tried, seen=tried.tries - 1, **more)


# --- endpoints ---


def test_an_endpoint_comes_back_as_it_was_saved(store: ServedStore) -> None:
    made = endpoint("we_1", old_secret=new_secret(b"y" * 32), old_until=AT + HOUR)
    store.add_webhook_endpoint(made)

    assert store.webhook_endpoint("we_1") == made
    changed = replace(made, url="https://b.example/", event_types=("batch.failed",), name="")
    assert store.save_webhook_endpoint(changed)
    assert store.webhook_endpoint("we_1") == changed
    assert not store.save_webhook_endpoint(endpoint("we_2"))
    assert store.webhook_endpoint("we_2") is None


def test_an_endpoint_is_there_for_its_owner(store: ServedStore) -> None:
    for n in range(3):
        store.add_webhook_endpoint(endpoint(f"we_{n}"))
    store.add_webhook_endpoint(endpoint("yours", owner="you"))
    store.settle_webhook_endpoints([endpoint("settled", settled=True)], at=AT, why="")

    def listed(**asked: Any) -> list[str] | None:
        found = store.webhook_endpoints_of("me", **({"most": 9} | asked))
        return None if found is None else [one.id for one in found]

    assert listed() == ["we_2", "we_1", "we_0"]
    assert listed(after="we_2", most=1) == ["we_1"]
    assert listed(after="yours") is None
    assert listed(after="settled") is None
    assert not store.delete_webhook_endpoint("we_1", owner="you", now=AT)
    assert not store.delete_webhook_endpoint("settled", owner="me", now=AT)
    assert store.delete_webhook_endpoint("we_1", owner="me", now=AT)
    assert not store.delete_webhook_endpoint("we_1", owner="me", now=AT)
    assert listed() == ["we_2", "we_0"]


def test_a_list_goes_on_behind_an_endpoint_that_was_deleted(store: ServedStore) -> None:
    def listed(after: str, owner: str = "me") -> list[str] | None:
        found = store.webhook_endpoints_of(owner, most=9, after=after)
        return None if found is None else [one.id for one in found]

    for n in range(3):
        store.add_webhook_endpoint(endpoint(f"we_{n}"))
    for n in (2, 1):
        store.delete_webhook_endpoint(f"we_{n}", owner="me", now=AT)
    store.add_webhook_endpoint(endpoint("we_3"))
    store.settle_webhook_endpoints([endpoint("settled", settled=True)], at=AT, why="")

    # What is new stands where nothing stood before.
    assert listed("we_2") == listed("we_1") == ["we_0"]
    assert listed("we_3") == ["we_0"]
    assert listed("we_1", owner="you") is listed("we_9") is None
    later = AT + timedelta(days=1)
    store.delete_webhook_endpoint("we_3", owner="me", now=later)
    store.forget_places_of_webhook_endpoints(AT)
    assert (listed("we_1"), listed("we_3")) == (None, ["we_0"])


def test_what_a_call_has_made_is_noted_with_it(store: ServedStore) -> None:
    answered = Answered(owner="me", call="key a", digest="d", made="we_1", at=AT)

    store.add_webhook_endpoint(endpoint("we_1"), answered=answered)

    assert store.answer_to("key a", owner="me", since=AT - HOUR) == answered


def test_the_settings_say_which_of_theirs_there_are(store: ServedStore) -> None:
    first, second = (endpoint(f"we_{n}", settled=True, secret=None, owner=None) for n in (1, 2))
    store.settle_webhook_endpoints([first, second], at=AT, why="not named")
    event = end(store, "batch_1")
    both = [(event, "we_1"), (event, "we_2")]
    assert due(store) == both

    store.settle_webhook_endpoints([replace(first, name="new")], at=AT + HOUR, why="not named")

    assert due(store) == both[:1]
    gone = store.webhook_endpoint("we_2")
    assert gone is not None
    assert (gone.status, gone.why, gone.updated_at) == ("disabled", "not named", AT + HOUR)
    assert [one.name for one in store.webhook_endpoints()] == ["new", "ü"]
    store.settle_webhook_endpoints([first, second], at=AT, why="not named")
    assert store.webhook_endpoint("we_2") == second


# --- the outbox ---


def test_the_end_of_an_order_is_in_the_outbox_for_each_who_wants_to_hear(
    store: ServedStore,
) -> None:
    store.add_webhook_endpoint(endpoint("we_all"))
    store.add_webhook_endpoint(endpoint("we_some", event_types=("batch.failed",)))
    store.add_webhook_endpoint(endpoint("we_off", status="disabled"))
    store.add_webhook_endpoint(endpoint("yours", owner="you"))
    everybodys = endpoint("we_every", owner=None, settled=True)
    store.settle_webhook_endpoints([everybodys], at=AT, why="")

    mine, theirs = end(store, "batch_1"), end(store, "batch_2", owner="you", face="anthropic")

    heard = [(mine, "we_all"), (mine, "we_every"), (theirs, "we_every"), (theirs, "yours")]
    assert due(store) == sorted(heard)
    (first,) = store.webhook_deliveries_of("we_all", most=9) or ()
    assert first.event == event_of(replace(order("batch_1", status="completed"), ended_at=AT))
    assert (first.status, first.tries, first.due_at) == ("waiting", 0, AT)


def test_an_order_that_is_not_over_tells_nobody(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    store.add_order(order("batch_1", status="running"))

    assert store.save_order(order("batch_1", status="finishing"), seen="running")
    assert not store.save_order(order("batch_1", status="failed", ended_at=AT), seen="running")

    assert due(store) == []


def test_an_order_of_which_nobody_can_be_told_has_not_ended(store: ServedStore) -> None:
    """Both are one transaction: who dies in between has done neither."""
    store.add_webhook_endpoint(endpoint("we_1"))
    refused = "begin select raise(abort, 'refused'); end"
    store._db.execute(f"create trigger no before insert on webhook_deliveries {refused}")

    with pytest.raises(sqlite3.IntegrityError):
        end(store, "batch_1")

    there = store.order("batch_1")
    assert there is not None
    assert there.status == "finishing"
    event = event_of(replace(there, status="completed", ended_at=AT))
    assert store.known_webhook_events([event.id]) == set()


def test_nobody_takes_all_places(store: ServedStore) -> None:
    for id in ("we_1", "we_2"):
        store.add_webhook_endpoint(endpoint(id))
    for n in range(5):
        end(store, f"batch_{n}", at=AT + n * SECOND)

    first = due(store, AT + HOUR, each=2)

    assert sorted(endpoint_id for _, endpoint_id in first) == ["we_1", "we_1", "we_2", "we_2"]
    oldest = {event_of(order(f"batch_{n}")).id for n in (0, 1)}
    assert {event_id for event_id, _ in first} == oldest
    assert len(due(store, AT + HOUR, most=3)) == 3


def test_a_delivery_is_due_when_it_was_put_off_to(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    event = end(store, "batch_1")

    note(store, tried(store, event, due_at=AT + HOUR, answered=500, why="no"))

    assert due(store) == []
    assert due(store, AT + HOUR) == [(event, "we_1")]
    (noted,) = store.webhook_deliveries_of("we_1", most=9) or ()
    assert (noted.tries, noted.tried_at, noted.answered, noted.why) == (1, AT, 500, "no")


def test_a_busy_endpoint_gets_nothing_for_a_while(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    first = end(store, "batch_1")
    store.add_webhook_endpoint(endpoint("we_2"))

    put_off = tried(store, first, due_at=AT + SECOND)
    note(store, put_off, rest_until=AT + HOUR)
    second = end(store, "batch_2")

    assert due(store, AT + HOUR - SECOND) == [(second, "we_2")]
    others = [(first, "we_1"), (second, "we_1"), (second, "we_2")]
    assert due(store, AT + HOUR) == sorted(others)


def test_an_endpoint_that_was_changed_rests_no_more(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    event = end(store, "batch_1")
    put_off = tried(store, event, due_at=AT + SECOND)
    note(store, put_off, rest_until=AT + HOUR)

    store.save_webhook_endpoint(endpoint("we_1", url="https://b.example/"))

    assert due(store, AT + SECOND) == [(event, "we_1")]


def test_who_wants_nothing_any_more_gets_nothing_any_more(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    first, second = end(store, "batch_1"), end(store, "batch_2")

    gone = tried(store, first, status="failed", answered=410)
    note(store, gone, disabled="gone")
    third = end(store, "batch_3")

    there = store.webhook_endpoint("we_1")
    assert there is not None
    assert (there.status, there.why) == ("disabled", "gone")
    said = {
        each.event.id: (each.status, each.why)
        for each in store.webhook_deliveries_of("we_1", most=9) or ()
    }
    assert said == {first: ("failed", None), second: ("failed", "gone")}
    assert store.known_webhook_events([third]) == {third}


@pytest.mark.parametrize(("answered", "then"), [(200, "delivered"), (500, "failed")])
def test_what_was_under_way_to_who_was_disabled_does_not_wait_again(
    store: ServedStore, answered: int, then: str
) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    event = end(store, "batch_1")
    status = "delivered" if answered == 200 else "waiting"
    under_way = tried(store, event, answered=answered, status=status)

    store.save_webhook_endpoint(endpoint("we_1", status="disabled"))
    note(store, under_way)

    (there,) = store.webhook_deliveries_of("we_1", most=9) or ()
    assert there.status == then


def test_what_was_begun_anew_while_it_was_under_way_is_sent_again(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    event = end(store, "batch_1")
    note(store, tried(store, event))
    last = tried(store, event, status="failed")

    store.replay_webhooks(now=AT, events=[event])
    note(store, last)

    assert due(store) == [(event, "we_1")]


def test_a_disabled_endpoint_leaves_nothing_waiting(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    end(store, "batch_1")

    store.save_webhook_endpoint(endpoint("we_1", status="disabled"))

    assert due(store) == []
    (given_up,) = store.webhook_deliveries_of("we_1", most=9) or ()
    assert (given_up.status, given_up.why) == ("failed", "its endpoint was disabled")


def test_what_is_on_its_way_goes_with_its_endpoint(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    event = end(store, "batch_1")
    delivery = tried(store, event, status="delivered")

    store.delete_webhook_endpoint("we_1", owner="me", now=AT)
    note(store, delivery)  # it was under way

    assert store.webhook_counts() == {}
    assert store.known_webhook_events([event]) == {event}


def test_deliveries_are_listed_by_cursor(store: ServedStore) -> None:
    store.add_webhook_endpoint(endpoint("we_1"))
    events = [end(store, f"batch_{n}") for n in range(3)]

    def listed(**asked: Any) -> list[str] | None:
        found = store.webhook_deliveries_of("we_1", **({"most": 9} | asked))
        return None if found is None else [one.event.id for one in found]

    assert listed() == events[::-1]
    assert listed(after=events[2], most=1) == [events[1]]
    assert listed(after="evt_nowhere") is None


def test_what_waits_is_counted_and_its_age_is_known(store: ServedStore) -> None:
    assert store.webhook_backlog() == (0, None)
    store.add_webhook_endpoint(endpoint("we_1"))
    first = end(store, "batch_1", at=AT)
    end(store, "batch_2", at=AT + HOUR)

    assert store.webhook_backlog() == (2, AT)
    note(store, tried(store, first, status="delivered"))
    assert store.webhook_backlog() == (1, AT + HOUR)
    assert store.webhook_counts() == {"we_1": {"delivered": 1, "waiting": 1}}


# --- again ---


@pytest.fixture
def three(store: ServedStore) -> list[str]:
    """One delivered, one given up, one that waits; an endpoint that came later."""
    store.add_webhook_endpoint(endpoint("we_1"))
    events = [end(store, f"batch_{n}", at=AT + n * HOUR) for n in range(3)]
    for event, status in zip(events, ("delivered", "failed"), strict=False):
        note(store, tried(store, event, status=status, why="x"))
    store.add_webhook_endpoint(endpoint("we_later"))
    return events


def test_what_was_given_up_is_sent_again(store: ServedStore, three: list[str]) -> None:
    now = AT + 9 * HOUR

    assert store.replay_webhooks(now=now) == [(three[1], "we_1")]

    assert store.replay_webhooks(now=now) == []
    found = store.due_webhook_deliveries(now, each=9, most=9)
    again = {each.event.id: (each.tries, each.due_at, each.why) for each in found}
    assert again == {three[1]: (0, now, None), three[2]: (0, AT + 2 * HOUR, None)}


def test_events_are_sent_again_whatever_became_of_them(
    store: ServedStore, three: list[str]
) -> None:
    sent = store.replay_webhooks(now=AT, events=[three[0]], endpoint_id="we_1")

    assert sent == [(three[0], "we_1")]
    assert due(store) == [(three[0], "we_1")]


def test_an_endpoint_that_came_later_hears_of_what_was_before(
    store: ServedStore, three: list[str]
) -> None:
    sent = store.replay_webhooks(now=AT, since=AT + HOUR, endpoint_id="we_later")

    assert sorted(sent) == sorted((event, "we_later") for event in three[1:])


def test_nobody_hears_what_is_not_for_him(store: ServedStore, three: list[str]) -> None:
    store.add_webhook_endpoint(endpoint("yours", owner="you"))
    store.add_webhook_endpoint(endpoint("we_some", event_types=("batch.failed",)))
    store.add_webhook_endpoint(endpoint("we_off", status="disabled"))

    sent = {each.endpoint_id for each in store.replay_webhooks(now=AT, since=AT)}

    assert sent == {"we_1", "we_later"}
    for id in ("yours", "we_some", "we_off"):
        assert store.replay_webhooks(now=AT, events=three, endpoint_id=id) == []


def test_events_are_forgotten_when_they_are_old_and_not_on_their_way(
    store: ServedStore, three: list[str]
) -> None:
    store.forget_webhook_events(AT + 9 * HOUR)

    assert store.known_webhook_events(three) == {three[2]}
    assert store.webhook_counts() == {"we_1": {"waiting": 1}}


# --- statements ---


def test_every_statement_is_used_and_every_name_that_is_used_exists() -> None:
    source = Path(webhooks.__file__).read_text("utf-8")
    used = re.findall(r'(?:_hook\(|_hooks\(\w+,|name =)\s*"(\w+)"', source)

    assert sorted(set(used)) == sorted(webhooks._SQL)


def test_every_statement_says_in_a_sentence_what_it_does() -> None:
    text = (files("anybatch.store") / "webhooks.sql").read_text("utf-8")

    assert re.findall(r"^-- (\w+) --\n-- [A-Z].*\.$", text, re.MULTILINE) == list(webhooks._SQL)


@pytest.mark.parametrize("name", ["due_webhook_deliveries", "webhook_deliveries_of"])
def test_no_look_reads_more_than_it_finds(store: ServedStore, name: str) -> None:
    """However much waits: of what there are few, the endpoints, all are looked at."""
    statement = webhooks._SQL[name]
    values = dict.fromkeys(re.findall(r":(\w+)", statement))

    plan = [row[3] for row in store._db.execute(f"explain query plan {statement}", values)]

    scans = [step for step in plan if step.startswith("SCAN")]
    assert scans in ([], ["SCAN hears"]), plan
    assert name != "due_webhook_deliveries" or any("webhook_deliveries_due" in x for x in plan)
    assert name != "webhook_deliveries_of" or not any("TEMP B-TREE" in x for x in plan)
