"""What is told of an order's end, how it is signed, and when it is tried again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.served import OVER, Order
from anybatch.core.webhooks import (
    DELAYS,
    EVENT_TYPES,
    WebhookEndpoint,
    event_of,
    headers,
    hint_of,
    is_secret,
    is_taken,
    new_secret,
    next_try,
    rest_after,
    sign,
)

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIRST, SECOND = (new_secret(bytes([n]) * 32) for n in (1, 2))


def order(face: str = "openai", **changes: Any) -> Order:
    return Order(
        **{
            "id": "batch_1",
            "owner": "me",
            "face": face,
            "api": "openai.chat",
            "asked": {},
            "input_file": "file-1",
            "input_size": 9,
            "created_at": AT,
            "expires_at": AT + HOUR,
            "kept_seconds": 3600,
            "status": "completed",
            "ended_at": AT + HOUR,
            **changes,
        }
    )


def endpoint(**changes: Any) -> WebhookEndpoint:
    return WebhookEndpoint(
        **{
            "id": "we_1",
            "owner": "me",
            "name": "",
            "url": "https://a.example/",
            "event_types": EVENT_TYPES,
            "created_at": AT,
            "updated_at": AT,
            "secret": FIRST,
            **changes,
        }
    )


# --- events ---


@pytest.mark.parametrize("face", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("status", sorted(OVER))
def test_each_end_of_an_order_of_each_protocol_is_an_event(face: str, status: str) -> None:
    event = event_of(order(face, status=status))

    assert event.type in EVENT_TYPES
    assert event.type.endswith(f".{status}")
    assert (event.owner, event.at) == ("me", AT + HOUR)


def test_the_event_of_an_order_is_the_same_whenever_it_is_made() -> None:
    assert event_of(order()) == event_of(order())
    assert event_of(order()).id != event_of(order(id="batch_2")).id


def test_an_event_calls_an_order_what_its_client_calls_it() -> None:
    assert event_of(order()).subject == "batch_1"
    assert event_of(order("gemini", id="abc")).subject == "batches/abc"


# --- signatures ---


def test_a_signature_is_the_one_that_other_implementations_make() -> None:
    """The example that the specification's own libraries are tested with."""
    made = sign(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=1614265330,
        body=b'{"test": 2432232314}',
    )

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_that_is_good_signs() -> None:
    both = headers("evt_1", now=AT, keys=(FIRST, SECOND), body=b"{}")["webhook-signature"]

    assert both.split() == [
        sign([secret], id="evt_1", at=int(AT.timestamp()), body=b"{}") for secret in (FIRST, SECOND)
    ]


def test_an_old_secret_is_good_until_its_time_is_over() -> None:
    rotated = endpoint(secret=SECOND, old_secret=FIRST, old_until=AT + HOUR)

    assert rotated.secrets_at(AT) == (SECOND, FIRST)
    assert rotated.secrets_at(AT + HOUR) == (SECOND,)
    assert endpoint().secrets_at(AT) == (FIRST,)


def test_who_shows_an_endpoint_shows_no_secret() -> None:
    shown = repr(endpoint(old_secret=SECOND))

    assert FIRST not in shown
    assert SECOND not in shown
    assert hint_of(FIRST) == f"whsec_…{FIRST[-4:]}"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (FIRST, True),
        (new_secret(b"x" * 24), True),
        (new_secret(b"x" * 64), True),
        (new_secret(b"x" * 23), False),
        (new_secret(b"x" * 65), False),
        (FIRST.removeprefix("whsec_"), False),
        ("whsec_not base64", False),
        ("whsec_abc", False),
        ("whsec_", False),
        ("", False),
    ],
)
def test_a_secret_is_what_the_specification_says(text: str, is_one: bool) -> None:
    assert is_secret(text) is is_one


# --- tries ---


def test_what_fails_is_tried_again_for_three_days() -> None:
    dues: list[timedelta] = []
    now = AT
    while (due := next_try(len(dues) + 1, now=now, jitter=0)) is not None:
        now = due
        dues.append(due - AT)

    assert [str(due) for due in dues] == [
        "0:00:05",
        "0:05:05",
        "0:35:05",
        "2:35:05",
        "7:35:05",
        "17:35:05",
        "1 day, 7:35:05",
        "2 days, 3:35:05",
        "3 days, 3:35:05",
    ]


def test_chance_makes_a_delay_longer_by_a_tenth_at_most() -> None:
    for tries, delay in enumerate(DELAYS, start=1):
        due = next_try(tries, now=AT, jitter=1.0)
        assert due is not None
        assert delay < due - AT <= delay * 1.11


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        (timedelta(seconds=1), timedelta(seconds=5)),
        (HOUR, HOUR),
        (timedelta(days=9), timedelta(hours=24)),
    ],
)
def test_who_asks_us_to_wait_is_heeded_within_reason(asked: timedelta, after: timedelta) -> None:
    assert next_try(1, now=AT, jitter=0, asked=asked) == AT + after


def test_only_a_2xx_says_that_an_event_was_taken() -> None:
    assert [status for status in (None, 101, *range(200, 600)) if is_taken(status)] == [
        *range(200, 300)
    ]


@pytest.mark.parametrize(
    ("status", "asked", "rest"),
    [
        (429, None, timedelta(seconds=30)),
        (502, None, timedelta(seconds=30)),
        (504, HOUR, HOUR),
        (503, timedelta(days=9), timedelta(hours=24)),
        (500, HOUR, None),
        (404, None, None),
        (None, None, None),
    ],
)
def test_a_busy_endpoint_rests(
    status: int | None, asked: timedelta | None, rest: timedelta | None
) -> None:
    assert rest_after(status, asked) == rest


def test_an_endpoint_without_secrets_of_its_own_has_none() -> None:
    assert replace(endpoint(), secret=None).secrets_at(AT) == ()
