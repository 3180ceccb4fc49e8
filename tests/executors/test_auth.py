"""Keys come from the environment, are named when missing, and are never repeated."""

from dataclasses import replace

import pytest
from msgspec import structs

from anybatch.core.model import Spec
from anybatch.errors import BadSettings
from anybatch.executors.auth import (
    account_of,
    differing,
    headers_for,
    is_loopback,
    key_for,
    redacted,
)
from anybatch.providers.anthropic import ANTHROPIC
from anybatch.providers.compatible import at
from anybatch.providers.local import LOCAL
from anybatch.providers.openai import OPENAI
from anybatch.providers.registry import find

REMOTE = at("https://models.example/v1", name="mine", key_env="MINE_API_KEY")


def test_the_key_is_taken_from_the_providers_variable() -> None:
    assert key_for(OPENAI, {"OPENAI_API_KEY": "sk-1", "MINE_API_KEY": "sk-2"}) == "sk-1"


def test_space_around_a_key_is_not_part_of_it() -> None:
    assert key_for(REMOTE, {"MINE_API_KEY": " sk-1\n"}) == "sk-1"


@pytest.mark.parametrize("environment", [{}, {"MINE_API_KEY": ""}, {"MINE_API_KEY": "  "}])
def test_a_missing_key_is_named_with_its_variable(environment: dict[str, str]) -> None:
    with pytest.raises(BadSettings, match=r"'mine' needs a key.* variable MINE_API_KEY"):
        key_for(REMOTE, environment)


@pytest.mark.parametrize("key", ["sk-1\nsk-2", "sk-\x00", "clé-secrète"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(BadSettings, match="MINE_API_KEY holds characters") as raised:
        key_for(REMOTE, {"MINE_API_KEY": key})

    assert key not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://127.1.2.3/v1",
        "http://localhost:8000/v1",
        "https://LOCALHOST/v1",
        "http://[::1]:8000/v1",
    ],
)
def test_an_address_on_this_machine_needs_no_key_but_takes_one(url: str) -> None:
    here = at(url, name="mine", key_env="MINE_API_KEY")

    assert key_for(here, {}) is None
    assert key_for(here, {"MINE_API_KEY": "sk-1"}) == "sk-1"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.evil.example/v1",
        "http://localhost.evil.example/v1",
        "http://10.0.0.1/v1",
        "http://0x7f.1.example/v1",
        "http://[::2]/v1",
        "http://[::1/v1",
        "",
    ],
)
def test_an_address_that_looks_like_this_machine_is_not(url: str) -> None:
    assert not is_loopback(url)


def test_a_model_in_this_process_needs_no_key() -> None:
    assert key_for(LOCAL, {}) is None


def test_no_key_is_no_header() -> None:
    assert headers_for(OPENAI, None) == {}
    assert headers_for(OPENAI, "sk-1") == {"authorization": "Bearer sk-1"}


SCOPED = replace(OPENAI, scope={"organization": "org-1"}, scope_headers={"x-org": "org-1"})


def test_a_token_goes_as_one_and_a_key_as_the_service_wants_it() -> None:
    tokens = find("anthropic", configured={}, environment={"ANTHROPIC_AUTH_TOKEN": "t"})

    assert headers_for(tokens, "t")["authorization"] == "Bearer t"
    assert "x-api-key" not in headers_for(tokens, "t")
    assert headers_for(ANTHROPIC, "k")["x-api-key"] == "k"


def test_ready_made_requests_may_have_any_parameter() -> None:
    asked = Spec(provider="anthropic", model="m", api="anthropic.messages", prompt="{{ a }}")
    ready_made = structs.replace(asked, prompt=None)

    assert headers_for(ANTHROPIC, "k", asked)["anthropic-version"] == "2026-10-21"
    assert headers_for(ANTHROPIC, "k", ready_made)["anthropic-version"] == "2023-06-01"


def test_where_there_may_be_a_token_a_missing_key_names_both() -> None:
    with pytest.raises(BadSettings, match="ANTHROPIC_API_KEY, or ANTHROPIC_AUTH_TOKEN"):
        key_for(ANTHROPIC, {})


def test_every_call_says_for_whom_it_is_made() -> None:
    assert headers_for(SCOPED, "sk-1") == {"authorization": "Bearer sk-1", "x-org": "org-1"}


def test_an_account_is_the_key_and_what_is_said_besides() -> None:
    key, scoped = account_of(OPENAI, "sk-1"), account_of(SCOPED, "sk-1")

    assert key is not None
    assert scoped == f"{key} organization=org-1"
    assert account_of(OPENAI, "sk-2") != key
    assert (account_of(OPENAI, None), account_of(SCOPED, None)) == (None, "none organization=org-1")


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("a", "b", "key, or at another address (a; the present one is b)"),
        ("a", None, "key, or at another address (a; the present one is none)"),
        (None, "a", "key, or at another address (none; the present one is a)"),
        ("a organization=x", "a", "organization (x; the present one is none)"),
        ("a", "a project=y", "project (none; the present one is y)"),
        (
            "a organization=x project=z",
            "b organization=y project=z",
            "key, or at another address (a; the present one is b) and "
            "organization (x; the present one is y)",
        ),
    ],
)
def test_in_what_two_accounts_differ_is_said(one: str | None, other: str | None, said: str) -> None:
    assert differing(one, other) == said


def test_an_echoed_key_is_blotted_out() -> None:
    body = redacted(b"wrong key sk-12345678, did you mean sk-12345678?", "sk-12345678")

    assert body == "wrong key …, did you mean …?".encode()


@pytest.mark.parametrize("key", [None, "key", "none"])
def test_a_stand_in_for_a_key_is_no_secret(key: str | None) -> None:
    assert redacted(b"none of the keys", key) == b"none of the keys"
