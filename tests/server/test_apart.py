"""Each protocol has files of its own; and lists are walked while what is in them is deleted."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest
from openai.types import FileObject

from anybatch.server import openai as face

from .world import chat, until, upload

PARAMS = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
ROW = {"request": {"contents": [{"parts": [{"text": "hi"}], "role": "user"}]}}
GOOGLE = {"x-goog-api-key": "any"}
THEIRS = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url.removesuffix("/v1")) as http:
        yield http


def gemini_batch(http: httpx2.Client) -> str:
    asked = {"batch": {"displayName": "a", "inputConfig": {"requests": {"requests": [ROW]}}}}
    made = http.post("/v1beta/models/m:batchGenerateContent", json=asked, headers=GOOGLE)
    return str(made.json()["name"])


def gemini_file(http: httpx2.Client) -> str:
    start = {"x-goog-upload-command": "start", "x-goog-upload-protocol": "resumable"}
    file = {"mime_type": "application/jsonl", "size_bytes": 3}
    begun = http.post("/upload/v1beta/files", headers=GOOGLE | start, json={"file": file})
    ends = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    sent = http.post(begun.headers["x-goog-upload-url"], headers=ends, content=b"abc")
    return str(sent.json()["file"]["name"])


def anthropic_batch(http: httpx2.Client) -> str:
    asked = {"requests": [{"custom_id": "a", "params": PARAMS}]}
    return str(http.post("/v1/messages/batches", json=asked, headers=THEIRS).json()["id"])


# --- whose files ---


def test_openai_sees_no_file_of_another_protocol(
    client: openai.OpenAI, http: httpx2.Client
) -> None:
    mine = upload(client, [chat("a")]).id
    name = gemini_batch(http)
    until(lambda: http.get(f"/v1beta/{name}", headers=GOOGLE).json().get("done"), "its end")
    other = gemini_file(http).removeprefix("files/")
    anthropic_batch(http)

    listed = list(client.files.list())

    assert mine in [file.id for file in listed]
    assert all(FileObject.model_validate(file.to_dict()) for file in listed)
    assert {file.purpose for file in listed} <= {"batch", "batch_output", "user_data"}
    for purpose in ("anthropic.requests", "anthropic.results", "gemini", "gemini_output", "x"):
        assert list(client.files.list(purpose=purpose)) == []
    for path in (other, f"{other}/content"):
        assert http.get(f"/v1/files/{path}").status_code == 404
    assert http.delete(f"/v1/files/{other}").status_code == 404
    assert http.get("/v1/files", params={"after": other}).status_code == 400
    assert http.get(f"/v1beta/files/{other}", headers=GOOGLE).status_code == 200
    assert http.get(f"/v1beta/files/{mine}", headers=GOOGLE).status_code == 404


# --- walks ---


def test_all_of_openais_files_are_deleted_on_one_walk(client: openai.OpenAI) -> None:
    made = [upload(client, [chat("a")]).id for _ in range(5)]

    walked = [client.files.delete(file.id).id for file in client.files.list(limit=2)]

    assert walked[:5] == made[::-1]
    assert list(client.files.list()) == []


def test_a_walk_from_the_oldest_on_finds_what_came_after_a_deletion(client: openai.OpenAI) -> None:
    last = upload(client, [chat("a")]).id
    client.files.delete(last)
    newer = upload(client, [chat("b")]).id

    assert [file.id for file in client.files.list(after=last, order="asc")] == [newer]


def walk(get: Callable[[str | None], tuple[list[str], str | None]], delete: Any) -> list[str]:
    """What is seen by who deletes each page before it asks for the next."""
    seen: list[str] = []
    page, more = get(None)
    while page:
        for id in page:
            until(lambda id=id: delete(id).status_code == 200, f"the end of {id}")  # type: ignore[misc]
        seen += page
        if more is None:
            break
        page, more = get(more)
    return seen


def test_all_of_anthropics_batches_are_deleted_on_one_walk(http: httpx2.Client) -> None:
    made = [anthropic_batch(http) for _ in range(5)]

    def get(after: str | None) -> tuple[list[str], str | None]:
        asked = {"limit": "2", **({} if after is None else {"after_id": after})}
        answer = http.get("/v1/messages/batches", params=asked, headers=THEIRS)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        return [each["id"] for each in found["data"]], found["last_id"]

    seen = walk(get, lambda id: http.delete(f"/v1/messages/batches/{id}", headers=THEIRS))

    assert seen[:5] == made[::-1]
    assert get(None)[0] == []


@pytest.mark.parametrize("noun", ["files", "batches"])
def test_all_of_geminis_are_deleted_on_one_walk(http: httpx2.Client, noun: str) -> None:
    make = gemini_file if noun == "files" else gemini_batch
    made = [make(http) for _ in range(5)]

    def get(page: str | None) -> tuple[list[str], str | None]:
        asked = {"pageSize": "2", **({} if page is None else {"pageToken": page})}
        answer = http.get(f"/v1beta/{noun}", params=asked, headers=GOOGLE)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        listed = found.get("files" if noun == "files" else "operations", [])
        return [each["name"] for each in listed], found.get("nextPageToken")

    seen = walk(get, lambda name: http.delete(f"/v1beta/{name}", headers=GOOGLE))

    assert seen[:5] == made[::-1]
    assert get(None)[0] == []


# --- names of calls ---


def test_a_cancellation_of_geminis_has_a_name_of_its_own(http: httpx2.Client) -> None:
    asked = {"batch": {"displayName": "a", "inputConfig": {"requests": {"requests": [ROW]}}}}
    named = GOOGLE | {"idempotency-key": "gemini created"}
    create = "/v1beta/models/m:batchGenerateContent"
    made = http.post(create, json=asked, headers=named).json()["name"]

    wrong = http.post(f"/v1beta/{made}:cancel", headers=named)

    assert wrong.status_code == 409
    assert http.post(create, json=asked, headers=named).json()["name"] == made


# --- parts ---


def begun(client: openai.OpenAI, size: int) -> str:
    asked: dict[str, Any] = {"filename": "a", "mime_type": "x", "purpose": "batch"}
    return client.uploads.create(bytes=size, **asked).id


def part(http: httpx2.Client, upload_id: str, data: bytes, name: str | None = None) -> int:
    headers = {} if name is None else {"idempotency-key": name}
    path = f"/v1/uploads/{upload_id}/parts"
    return http.post(path, files={"data": data}, headers=headers).status_code


def test_parts_that_come_at_once_are_no_more_than_the_upload(
    client: openai.OpenAI, http: httpx2.Client
) -> None:
    upload_id = begun(client, 100)

    def send(n: int) -> int:
        return part(http, upload_id, bytes([n]) * 90, f"{upload_id} {n}")

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(8)))

    assert sorted(answers) == [200, *[400] * 7]


def test_an_upload_of_openais_comes_in_so_many_parts_and_none_is_empty(
    client: openai.OpenAI, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face, "MAX_PARTS", 2)
    upload_id = begun(client, 3)

    answers = [part(http, upload_id, data) for data in (b"", b"a", b"b", b"c")]

    assert answers == [400, 200, 200, 400]


# --- calls that are for no protocol ---


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_who_looks_after_the_server_gets_the_name_of_its_call(
    http: httpx2.Client, path: str
) -> None:
    first, second = (http.get(path).headers for _ in range(2))

    assert first["x-request-id"] == first["request-id"] != second["request-id"]
