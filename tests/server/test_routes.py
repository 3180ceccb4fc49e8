"""Which model is answered where."""

from pathlib import Path
from typing import Any

import pytest

from anybatch.errors import BadSettings
from anybatch.server.owners import EVERYBODY, hash_of, owners_of
from anybatch.server.routes import EMBEDDED, RouteTable, find, named, routes_of, with_routes
from anybatch.server.serving import HOST, PORT, serving_of
from anybatch.settings import Settings, load

HERE = {"base_url": "http://127.0.0.1:9/v1"}


def settings(*routes: dict[str, Any], **more: Any) -> Settings:
    return Settings(home=Path("home"), routes=routes, **more)


def test_without_routes_the_model_in_this_process_answers_all() -> None:
    routes = routes_of(settings())

    assert routes == (EMBEDDED,)
    assert find(routes, "whatever") == EMBEDDED
    assert EMBEDDED.spec("whatever", "openai.chat").model == "smollm2"


def test_the_first_that_matches_is_taken() -> None:
    routes = routes_of(
        settings(
            {"model": "llama-*", "provider": "lab", **HERE},
            {"model": "gpt-x", "provider": "openai"},
            {"model": "*", "provider": "local/own.gguf"},
        )
    )
    found = {name: find(routes, name) for name in ("llama-3", "gpt-x", "gpt-x2", "Llama-3")}

    assert {name: route and route.provider for name, route in found.items()} == {
        "llama-3": "lab",
        "gpt-x": "openai",
        "gpt-x2": "local",
        "Llama-3": "local",
    }
    assert list(named(routes)) == ["gpt-x", "own.gguf"]


def test_what_nothing_matches_has_no_route() -> None:
    assert find(routes_of(settings({"model": "a", **HERE})), "b") is None


def test_an_address_without_a_name_needs_no_key() -> None:
    given = settings({"model": "*", **HERE, "concurrency": 5, "rpm": 60})
    routes = routes_of(given)

    table = with_routes(given, routes).providers["127.0.0.1:9"]

    assert table == {"key_env": "", "concurrency": 5, "rpm": 60}
    assert routes[0].spec("m", "openai.chat").base_url == HERE["base_url"]


def test_a_route_says_more_of_a_provider_that_is_configured() -> None:
    given = settings(
        {"model": "*", "provider": "lab", "api_key_env": "LAB", **HERE},
        providers={"lab": {"rpm": 7}},
    )

    assert with_routes(given, routes_of(given)).providers["lab"] == {"rpm": 7, "key_env": "LAB"}


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"base_url": "http://x/v1"}, "needs a model"),
        ({"model": "*"}, "needs a base_url or a provider"),
        ({"model": "*", "base_url": "x"}, "is not an address"),
        ({"model": 5, **HERE}, "model must be a text"),
        ({"model": "*", **HERE, "colour": "red"}, "has 'colour'"),
        ({"model": "*", **HERE, "executor": "embedded"}, "executor is"),
    ],
)
def test_a_route_that_cannot_be_is_named_with_its_place(route: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSettings, match=said) as raised:
        routes_of(settings(route))

    assert "number 1" in str(raised.value)


def test_two_routes_may_not_contradict_each_other() -> None:
    with pytest.raises(BadSettings, match="different things"):
        routes_of(settings({"model": "a", **HERE, "rpm": 1}, {"model": "b", **HERE, "rpm": 2}))


NOWHERE: list[tuple[dict[str, Any], str]] = [
    ({"provider": "nobody"}, "no provider 'nobody'"),
    ({**HERE, "concurrency": 0}, "concurrency must be a whole number above 0, not 0"),
    ({**HERE, "rpm": "5"}, "rpm must be a whole number above 0, not '5'"),
    ({**HERE, "tpm": True}, "tpm must be"),
    ({"provider": "local", "batch_requests": -1}, "batch_requests must be"),
    ({"provider": "local/nomodel"}, "no local model 'nomodel'"),
    ({"provider": "local/nowhere.gguf"}, "no file 'nowhere.gguf'"),
    ({**HERE, "executor": "batch"}, "has no batch API"),
    ({"provider": "azure"}, "azure"),
]


@pytest.mark.parametrize(("route", "said"), NOWHERE)
def test_a_route_that_could_answer_nothing_is_refused_at_the_start_and_later(
    route: dict[str, Any], said: str
) -> None:
    good = {"model": "a", "base_url": "http://127.0.0.1:8/v1"}
    given = settings(good, {"model": "b", **route})
    table = RouteTable(settings(good))

    for take in (RouteTable, table.take):
        with pytest.raises(BadSettings, match=said) as raised:
            take(given)
        assert "number 2" in str(raised.value)
    assert (len(table), list(table.settings.providers)) == (1, ["127.0.0.1:8"])


def test_a_route_that_can_answer_is_taken_with_and_without_its_key() -> None:
    given = settings(
        {"model": "a", "provider": "openai"},
        {"model": "b", "provider": "openai", "executor": "batch"},
        {"model": "c", "provider": "lab", "rpm": 5},
        providers={"lab": {"base_url": HERE["base_url"]}},
    )

    assert len(RouteTable(given)) == 3


def test_the_settings_come_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "anybatch.toml").write_text(
        f'[server]\nport = 9000\n[[routes]]\nmodel = "*"\nbase_url = "{HERE["base_url"]}"\n'
    )
    loaded = load(folder=tmp_path, environment={}, store=tmp_path / "store")

    serving = serving_of(loaded, host=None, port=None)

    assert (serving.host, serving.port) == (HOST, 9000)
    assert serving.routes[0].model == "*"
    assert serving_of(loaded, host=None, port=0).port == 0
    assert serving_of(settings(), host=None, port=None).port == PORT


@pytest.mark.parametrize(
    "text", ["routes = 5", "routes = [5]", "server = 5", "[[server]]\nport = 1"]
)
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "anybatch.toml").write_text(text)

    with pytest.raises(BadSettings):
        load(folder=tmp_path, environment={})


@pytest.mark.parametrize(
    "server",
    [
        {"colour": "red"},
        {"port": "80"},
        {"port": 70_000},
        {"host": 5},
        {"keys": ["a"]},
        {"keys": {"a": "a key and not its hash"}},
    ],
)
def test_a_server_that_cannot_be_is_refused(server: dict[str, Any]) -> None:
    with pytest.raises(BadSettings):
        serving_of(settings(server=server), host=None, port=None)


def test_with_a_key_other_addresses_are_served() -> None:
    server = {"keys": {"alice": hash_of("key")}}

    assert serving_of(settings(server=server), host="0.0.0.0", port=0).host == "0.0.0.0"
    for here in ("127.0.0.1", "::1", "localhost"):
        assert serving_of(settings(), host=here, port=0).host == here


@pytest.mark.parametrize(
    ("headers", "owner"),
    [
        ([(b"authorization", b"Bearer key-a")], "alice"),
        ([(b"authorization", b"bearer key-b")], "bob"),
        ([(b"x-api-key", b"key-a")], "alice"),
        ([(b"x-goog-api-key", b"key-b")], "bob"),
        ([(b"authorization", b"Basic key-a")], None),
        ([(b"authorization", b"Bearer key-c")], None),
        ([(b"authorization", b"Bearer \xff")], None),
        ([], None),
    ],
)
def test_a_key_says_whose_call_it_is(headers: list[tuple[bytes, bytes]], owner: str | None) -> None:
    keys = {"alice": hash_of("key-a"), "bob": hash_of("key-b")}

    assert owners_of({"keys": keys}).owner_of(headers) == owner


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({"host": "127.0.0.1:8000", "authorization": "Bearer any"}, True),
        ({"host": "localhost"}, True),
        ({"host": "[::1]:8000", "origin": "http://localhost:3000"}, True),
        ({"host": "127.0.0.1:8000", "origin": "https://elsewhere.example"}, False),
        ({"host": "127.0.0.1:8000", "origin": "null"}, False),
        ({"host": "elsewhere.example"}, False),
        ({"host": "127.0.0.1.elsewhere.example"}, False),
        ({"host": "[::"}, False),
        ({}, False),
    ],
)
def test_without_keys_all_of_this_machine_are_one_and_no_page_from_elsewhere(
    headers: dict[str, str], is_let_in: bool
) -> None:
    given = [(name.encode(), value.encode()) for name, value in headers.items()]

    assert owners_of({}).owner_of(given) == (EVERYBODY if is_let_in else None)
