"""Any provider is found by its name, with what the user said of it, or the way out is named."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from anybatch.errors import BadSettings
from anybatch.providers.provider import Provider
from anybatch.providers.registry import BUILT_IN, checked_url, find

Tables = Mapping[str, Mapping[str, Any]]
MINE: Tables = {"mine": {"base_url": "https://models.example/v1"}}


@pytest.mark.parametrize("provider", BUILT_IN.values(), ids=BUILT_IN.keys())
def test_every_provider_of_ours_is_remote_with_a_key_or_local_without(provider: Provider) -> None:
    if provider.base_url is None:
        assert provider.key_env is None
        return
    address = urlsplit(provider.base_url)

    assert address.scheme == "https"
    assert not provider.base_url.endswith("/")
    assert provider.key_env is not None
    assert provider.auth == "google" or provider.key_env.endswith("_API_KEY")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_provider_of_ours_is_found_by_its_name(name: str) -> None:
    assert find(name, configured={}, offline=True) == BUILT_IN[name]


@pytest.mark.parametrize(
    ("name", "configured", "base_url", "address", "key_env"),
    [
        ("mine", MINE, None, "https://models.example/v1", "MINE_API_KEY"),
        ("mine", MINE, "http://other:80/v1/", "http://other:80/v1", "MINE_API_KEY"),
        ("any-name.1", {}, "http://h/v1", "http://h/v1", "ANY_NAME_1_API_KEY"),
        ("openai", {}, "http://h/v1", "http://h/v1", "OPENAI_API_KEY"),
        ("local", {}, "http://h/v1", "http://h/v1", None),
        ("openai", {"openai": {"base_url": "https://eu/v1"}}, None, "https://eu/v1", None),
        ("mine", {"mine": {**MINE["mine"], "key_env": "K"}}, None, MINE["mine"]["base_url"], "K"),
        ("mine", {"mine": {"key_env": "K"}}, "http://h/v1", "http://h/v1", "K"),
    ],
    ids=[
        "from the file",
        "an address beats the file",
        "any name with an address",
        "a known name keeps its key",
        "local elsewhere",
        "a known name elsewhere",
        "a variable of its own",
        "a variable for an address",
    ],
)
def test_a_provider_is_found_where_the_user_put_it(
    name: str, configured: Tables, base_url: str | None, address: str, key_env: str | None
) -> None:
    found = find(name, configured=configured, base_url=base_url)

    assert (found.name, found.base_url) == (name, address)
    assert found.key_env == (key_env or BUILT_IN[name].key_env)


def test_settings_change_what_they_name_and_nothing_else() -> None:
    table = {"concurrency": 3, "rpm": 100, "tpm": 5_000, "parameters": {"temperature": 0}}

    found = find("openai", configured={"openai": table, "groq": {"rpm": 1}})

    assert (found.concurrency, found.rpm, found.tpm) == (3, 100, 5_000)
    assert found.parameters == {"temperature": 0}
    assert found.base_url == BUILT_IN["openai"].base_url


def test_a_service_without_keys_is_told_by_an_empty_variable() -> None:
    found = find("mine", configured={"mine": {**MINE["mine"], "key_env": ""}})

    assert found.key_env is None


def test_an_unknown_name_is_answered_with_the_known_ones_and_the_way_out() -> None:
    with pytest.raises(BadSettings) as raised:
        find("opanai", configured=MINE)

    message = str(raised.value)
    assert "there is no provider 'opanai'" in message
    assert all(name in message for name in (*BUILT_IN, "mine"))
    assert "--base-url" in message
    assert "[providers.opanai]" in message


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"rmp": 5}, r"has 'rmp'; it may have base_url, .*rpm"),
        ({"rpm": 0}, "rpm must be a whole number above 0, not 0"),
        ({"rpm": -1}, "rpm must be a whole number above 0"),
        ({"tpm": 1.5}, "tpm must be a whole number above 0, not 1.5"),
        ({"concurrency": True}, "concurrency must be a whole number above 0, not True"),
        ({"concurrency": "8"}, "concurrency must be a whole number above 0, not '8'"),
        ({"base_url": 5}, "base_url must be a text"),
        ({"base_url": "models.example"}, "'models.example' is not an address"),
        ({"key_env": 5}, "key_env must be the name of an environment variable"),
        ({"parameters": "hot"}, "parameters must be a table"),
        ({"parameters": {"model": "x"}}, "parameters may not have 'model'"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_named_with_its_place(
    table: Mapping[str, Any], says: str
) -> None:
    configured = {"mine": {**MINE["mine"], **table}}

    with pytest.raises(BadSettings, match=rf"\[providers\.mine\] in anybatch\.toml.*{says}"):
        find("mine", configured=configured)


@pytest.mark.parametrize(
    "url", ["http://h/v1", "https://h.example:8443/a/v1", "http://[::1]:80/v1", "http://127.0.0.1"]
)
def test_an_address_is_taken_without_its_last_slash(url: str) -> None:
    assert checked_url(url, where="here") == url
    assert checked_url(f"{url}/", where="here") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h/v1",
        "ftp://h/v1",
        "http://",
        "http:///v1",
        "http://h:99999/v1",
        "http://h:port/v1",
        "http://[::1/v1",
        "http://a b/v1",
        "http://h/v1\n",
    ],
)
def test_what_is_no_address_is_refused_where_it_stands(url: str) -> None:
    with pytest.raises(BadSettings, match=r"--base-url: .* is not an address; write it as https:"):
        checked_url(url, where="--base-url")


def test_an_address_may_not_hold_a_password_and_it_is_not_repeated() -> None:
    with pytest.raises(BadSettings, match="put the key in the environment") as raised:
        checked_url("https://me:secret@models.example/v1", where="--base-url")

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("end", ["?api-version=1", "#top"])
def test_an_address_that_no_path_can_be_joined_to_is_refused(end: str) -> None:
    with pytest.raises(BadSettings, match=r"must end in its path"):
        checked_url(f"https://h/v1{end}", where="--base-url")


KEY, TOKEN = {"ANTHROPIC_API_KEY": "k"}, {"ANTHROPIC_AUTH_TOKEN": "t"}


@pytest.mark.parametrize(
    ("environment", "variable", "header"),
    [
        (KEY, "ANTHROPIC_API_KEY", "x-api-key"),
        (TOKEN, "ANTHROPIC_AUTH_TOKEN", "authorization"),
        ({**KEY, **TOKEN}, "ANTHROPIC_API_KEY", "x-api-key"),
        ({"ANTHROPIC_API_KEY": " ", **TOKEN}, "ANTHROPIC_AUTH_TOKEN", "authorization"),
        ({"ANTHROPIC_AUTH_TOKEN": " "}, "ANTHROPIC_API_KEY", "x-api-key"),
    ],
    ids=["a key", "a token", "the key wins", "an empty key", "an empty token"],
)
def test_a_token_is_taken_where_there_is_no_key(
    environment: Mapping[str, str], variable: str, header: str
) -> None:
    found = find("anthropic", configured={}, environment=environment)

    assert (found.key_env, found.auth) == (variable, header)


def test_who_names_a_variable_means_that_one() -> None:
    mine = {"anthropic": {"key_env": "MINE"}}

    found = find("anthropic", configured=mine, environment=TOKEN)

    assert (found.key_env, found.auth) == ("MINE", "x-api-key")


ORGANIZED = {"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": " proj_1 "}


def test_whose_account_it_is_is_said_as_the_official_sdk_says_it() -> None:
    found = find("openai", configured={}, base_url="http://h/v1", environment=ORGANIZED)
    none = find("openai", configured={}, environment={"OPENAI_ORG_ID": ""})

    assert found.scope == {"organization": "org-1", "project": "proj_1"}
    assert found.scope_headers == {"openai-organization": "org-1", "openai-project": "proj_1"}
    assert (none.scope, none.scope_headers) == ({}, {})


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "openai"])
def test_no_other_service_hears_of_it(name: str) -> None:
    found = find(name, configured={}, environment=ORGANIZED, offline=True)

    assert (found.scope, found.scope_headers) == ({}, {})


def test_an_organization_that_no_header_can_carry_is_refused() -> None:
    with pytest.raises(BadSettings, match="OPENAI_ORG_ID: organization must be the id"):
        find("openai", configured={}, environment={"OPENAI_ORG_ID": "org 1\n2"})


@pytest.mark.parametrize("provider", BUILT_IN.values(), ids=BUILT_IN.keys())
def test_tiers_are_dated_and_fit_what_else_is_known(provider: Provider) -> None:
    if provider.tiers is None:
        assert provider.base_url is None
        return

    assert "checked 20" in provider.tiers.source
    assert "standard" in provider.tiers.names
    assert ("batch" in provider.tiers.names) == (provider.batch is not None)
