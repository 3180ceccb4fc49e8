"""Azure's conversations, as far as they differ from OpenAI's: no connection, no clock."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anybatch.errors import BadSettings
from anybatch.providers import azure
from anybatch.providers.flow import Flow, Refused, Reply, Upload
from anybatch.providers.provider import BatchApi, Provider
from anybatch.providers.registry import find

from .conversation import held, ok
from .test_openai import NOON, batch, refusal, submission

VERSION = "2024-10-21"
CLASSIC = f"api-version={VERSION}"
MINE = "https://mine.openai.azure.com"
CLASSIC_FORM = azure.placed(azure.AZURE, {"api_version": VERSION})


def api_of(provider: Provider) -> BatchApi:
    assert provider.batch is not None
    return provider.batch


def file(status: str | None) -> Reply:
    return ok({"id": "file-1", "object": "file", "status": status})


SENT = Upload(path=Path("x"), name="n")


def test_an_upload_is_waited_for_until_the_service_has_read_it() -> None:
    sent, calls = held(
        azure.upload(SENT), file("pending"), file("pending"), file("running"), file("processed")
    )

    assert sent == "file-1"
    assert [(call.method, call.path) for call in calls] == [
        ("POST", "/files"),
        *[("GET", "/files/file-1")] * 3,
    ]
    assert [call.pause.total_seconds() for call in calls] == [0, 0, 1, 2]


def test_an_upload_that_takes_long_is_waited_for_a_minute() -> None:
    sent, calls = held(azure.upload(SENT), *[file("pending")] * 9)

    assert sent == "file-1"
    assert sum(call.pause.total_seconds() for call in calls) == 60


def test_a_batch_is_made_of_what_the_service_has_read() -> None:
    taken, calls = held(azure.create(submission()), file("processed"), ok(batch()))

    assert taken.id == "batch_1"
    assert [(call.method, call.path, call.once) for call in calls] == [
        ("GET", "/files/file-1", False),
        ("POST", "/batches", True),
    ]


def test_an_upload_that_is_not_read_yet_is_waited_for_in_the_queue() -> None:
    with pytest.raises(Refused, match="has not read the upload yet: it is 'pending'") as refused:
        held(azure.create(submission()), file("pending"))

    assert refused.value.outcome == "server_error"


@pytest.mark.parametrize("talk", [azure.upload(SENT), azure.create(submission())])
def test_an_upload_that_the_service_cannot_read_is_no_batch(talk: Flow[Any]) -> None:
    with pytest.raises(Refused, match="cannot use the upload: it is 'error'") as refused:
        held(talk, file("error"), file("error"))

    assert refused.value.outcome == "bad_request"


def test_a_service_that_says_nothing_of_its_files_has_read_them() -> None:
    taken, _ = held(azure.create(submission()), file(None), ok(batch()))

    assert taken.id == "batch_1"


def test_counts_that_are_null_and_a_file_of_no_errors_are_read() -> None:
    counts = {"total": None, "completed": None, "failed": None}
    ended = batch(
        status="completed", request_counts=counts, output_file_id="out", error_file_id="err"
    )

    seen, _ = held(api_of(azure.AZURE).poll("batch_1"), ok(ended))

    assert (seen.phase, seen.size, seen.done, seen.results) == ("ended", None, 0, ("out", "err"))


@pytest.mark.parametrize("entries", ["data", "value"])
def test_a_batch_is_found_by_its_mark_in_older_lists_too(entries: str) -> None:
    page = {entries: [batch(id="b1", metadata={"anybatch": "run-1-0"}), batch(id="b0")]}

    found, _ = held(api_of(azure.AZURE).find(submission(), NOON), ok({**page, "has_more": False}))

    assert [one.id for one in found] == ["b1"]


def test_what_is_no_list_is_not_an_empty_one() -> None:
    with pytest.raises(Refused, match="has its entries in `data`"):
        held(api_of(azure.AZURE).find(submission(), NOON), ok({"object": "list"}))


def test_a_list_that_takes_no_cursor_is_read_once() -> None:
    page = {"data": [batch(id="b2"), batch(id="b1", metadata={"anybatch": "run-1-0"})]}

    found, calls = held(api_of(azure.AZURE).find(submission(), NOON), ok(page), ok(page))

    assert ([one.id for one in found], len(calls)) == (["b1"], 2)


CLASSIC_API = api_of(CLASSIC_FORM)
TALKS: dict[str, tuple[Callable[[], Flow[Any]], list[Reply], list[str]]] = {
    "upload": (
        lambda: CLASSIC_API.upload(SENT),  # type: ignore[misc]
        [file("pending"), file("processed")],
        [f"/files?{CLASSIC}", f"/files/file-1?{CLASSIC}"],
    ),
    "create": (
        lambda: CLASSIC_API.create(submission()),
        [file("processed"), ok(batch())],
        [f"/files/file-1?{CLASSIC}", f"/batches?{CLASSIC}"],
    ),
    "list": (
        lambda: CLASSIC_API.find(submission(), NOON),
        [ok({"data": [batch(id="b")], "has_more": True}), ok({"data": []})],
        [f"/batches?limit=100&{CLASSIC}", f"/batches?limit=100&after=b&{CLASSIC}"],
    ),
    "poll": (lambda: CLASSIC_API.poll("b"), [ok(batch())], [f"/batches/b?{CLASSIC}"]),
    "download": (
        lambda: CLASSIC_API.fetch("f", Path("to")),
        [ok({})],
        [f"/files/f/content?{CLASSIC}"],
    ),
    "cancel": (
        lambda: CLASSIC_API.cancel("b"),
        [refusal(409), ok(batch())],
        [f"/batches/b/cancel?{CLASSIC}", f"/batches/b?{CLASSIC}"],
    ),
    "delete": (lambda: CLASSIC_API.delete("f"), [ok({})], [f"/files/f?{CLASSIC}"]),
}


@pytest.mark.parametrize(("talk", "replies", "paths"), TALKS.values(), ids=TALKS.keys())
def test_in_its_classic_form_every_address_says_the_version(
    talk: Callable[[], Flow[Any]], replies: list[Reply], paths: list[str]
) -> None:
    _, calls = held(talk(), *replies)

    assert [call.path for call in calls] == paths


def test_in_its_classic_form_lines_and_batches_name_paths_without_a_root() -> None:
    _, (_, made) = held(CLASSIC_API.create(submission()), file("processed"), ok(batch()))
    line = CLASSIC_API.write_request("openai.chat", "r0", b"{}")

    assert msgspec.json.decode(made.body or b"")["endpoint"] == "/chat/completions"
    assert msgspec.json.decode(line)["url"] == "/chat/completions"


@pytest.mark.parametrize(
    ("api", "path"),
    [
        ("openai.chat", f"/deployments/my%2Fmodel/chat/completions?{CLASSIC}"),
        ("openai.embeddings", f"/deployments/my%2Fmodel/embeddings?{CLASSIC}"),
        ("openai.responses", f"/responses?{CLASSIC}"),
    ],
)
def test_in_its_classic_form_a_call_goes_to_a_deployment(api: Any, path: str) -> None:
    assert CLASSIC_FORM.path_of(api, "my/model") == path
    assert azure.AZURE.path_of(api, "my/model") == path.replace(
        "/deployments/my%2Fmodel", ""
    ).removesuffix(f"?{CLASSIC}")


@pytest.mark.parametrize(
    ("provider", "url", "ok"),
    [
        (azure.AZURE, "/v1/chat/completions", True),
        (azure.AZURE, "/chat/completions", False),
        (CLASSIC_FORM, "/chat/completions", True),
        (CLASSIC_FORM, "/v1/chat/completions", False),
    ],
    ids=["new", "new, without a root", "classic", "classic, with a root"],
)
def test_the_urls_of_ready_made_requests_are_held_against_the_form(
    provider: Provider, url: str, ok: bool
) -> None:
    rules = api_of(provider).rules
    assert rules is not None

    assert (url in rules.endpoints_of(api_of(provider).apis)) == ok


def told(**table: Any) -> Provider:
    return find("azure", configured={"azure": table})


def test_a_resource_is_called_in_its_new_form() -> None:
    found = told(resource_url=f"{MINE}/")

    assert (found.base_url, found.auth, found.batch) == (
        f"{MINE}/openai/v1",
        "api-key",
        azure.AZURE.batch,
    )


def test_with_a_version_it_is_called_in_its_classic_form() -> None:
    variables = {"AZURE_OPENAI_ENDPOINT": MINE, "OPENAI_API_VERSION": "2025-04-01-preview"}

    found = find("azure", configured={}, environment=variables)

    assert found.base_url == f"{MINE}/openai"
    assert found.path_of("openai.responses", "m") == "/responses?api-version=2025-04-01-preview"


@pytest.mark.parametrize("form", [{}, {"api_version": VERSION}], ids=["new", "classic"])
def test_an_address_that_is_given_whole_is_taken_as_it_is(form: dict[str, str]) -> None:
    written = told(base_url="https://gate.example/azure", **form)
    given = find("azure", configured={"azure": form}, base_url="https://gate.example/azure")

    assert written.base_url == given.base_url == "https://gate.example/azure"
    assert (given.auth, given.apis) == ("api-key", azure.AZURE.apis)


def test_without_a_resource_the_way_out_is_named() -> None:
    with pytest.raises(BadSettings, match=r"'azure' needs a resource_url.*AZURE_OPENAI_ENDPOINT"):
        find("azure", configured={})


@pytest.mark.parametrize(
    "table",
    [
        {"resource_url": "mine"},
        {"resource_url": f"{MINE}/openai/v1"},
        {"resource_url": MINE, "api_version": "v1"},
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(table: dict[str, str]) -> None:
    with pytest.raises(BadSettings, match=r"^\[providers.azure\] in anybatch.toml: .* must be"):
        told(**table)
