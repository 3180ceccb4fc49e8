"""Keys come from the environment, are named when missing, and are never repeated."""

import pytest

from anybatch.errors import BadSettings
from anybatch.executors.auth import headers_for, is_loopback, key_for, redacted
from anybatch.providers.compatible import at
from anybatch.providers.local import LOCAL
from anybatch.providers.openai import OPENAI

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
    assert headers_for(OPENAI, None, {}) == {}
    assert headers_for(OPENAI, "sk-1", {}) == {"authorization": "Bearer sk-1"}


def test_an_echoed_key_is_blotted_out() -> None:
    body = redacted(b"wrong key sk-12345678, did you mean sk-12345678?", "sk-12345678")

    assert body == "wrong key …, did you mean …?".encode()


@pytest.mark.parametrize("key", [None, "key", "none"])
def test_a_stand_in_for_a_key_is_no_secret(key: str | None) -> None:
    assert redacted(b"none of the keys", key) == b"none of the keys"
