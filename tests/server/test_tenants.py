"""What another owner has is, to everybody else, not there: for each route that names a thing."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from anybatch.server import serving
from anybatch.server.anthropic import AnthropicFace
from anybatch.server.gemini import GeminiFace
from anybatch.server.gemini_files import GeminiFiles
from anybatch.server.openai import OpenAIFace
from anybatch.server.owners import hash_of
from anybatch.server.webhook_calls import WebhookCalls
from anybatch.testing import FakeEndpoint

from .hooks import ALLOWED
from .world import CHAT, chat, jsonl, served, until

ROUTES = {
    "GET /v1/files/{id}": "file",
    "GET /v1/files/{id}/content": "file",
    "DELETE /v1/files/{id}": "file",
    "GET /v1/files?after={id}": "file",
    "POST /v1/uploads/{id}/parts": "upload",
    "POST /v1/uploads/{id}/complete": "upload",
    "POST /v1/uploads/{id}/cancel": "upload",
    "GET /v1/batches/{id}": "batch",
    "POST /v1/batches/{id}/cancel": "batch",
    "GET /v1/batches/{id}/output": "batch",
    "GET /v1/batches?after={id}": "batch",
    "GET /v1/messages/batches/{id}": "message batch",
    "POST /v1/messages/batches/{id}/cancel": "message batch",
    "DELETE /v1/messages/batches/{id}": "message batch",
    "GET /v1/messages/batches/{id}/results": "message batch",
    "GET /v1/messages/batches?after_id={id}": "message batch",
    "GET /v1/messages/batches?before_id={id}": "message batch",
    "GET /v1beta/batches?pageToken={id}": "operation",
    "GET /v1beta/files?pageToken={id}": "gemini file",
    "GET /v1beta/batches/{id}": "operation",
    "POST /v1beta/batches/{id}:cancel": "operation",
    "DELETE /v1beta/batches/{id}": "operation",
    "GET /v1beta/files/{id}": "gemini file",
    "GET /v1beta/files/{id}:download": "gemini file",
    "GET /download/v1beta/files/{id}:download": "gemini file",
    "DELETE /v1beta/files/{id}": "gemini file",
    "GET /v1/webhook_endpoints/{id}": "webhook endpoint",
    "POST /v1/webhook_endpoints/{id}": "webhook endpoint",
    "DELETE /v1/webhook_endpoints/{id}": "webhook endpoint",
    "POST /v1/webhook_endpoints/{id}/rotate_secret": "webhook endpoint",
    "POST /v1/webhook_endpoints/{id}/test": "webhook endpoint",
    "POST /v1/webhook_endpoints/{id}/replay": "webhook endpoint",
    "GET /v1/webhook_endpoints/{id}/deliveries": "webhook endpoint",
    "GET /v1/webhook_endpoints?after={id}": "webhook endpoint",
}
DELETED_BY = {
    "file": "DELETE /v1/files/{id}",
    "message batch": "DELETE /v1/messages/batches/{id}",
    "operation": "DELETE /v1beta/batches/{id}",
    "gemini file": "DELETE /v1beta/files/{id}",
    "webhook endpoint": "DELETE /v1/webhook_endpoints/{id}",
}
MESSAGES = [{"role": "user", "content": "hi"}]
CONTENTS = [{"parts": [{"text": "hi"}], "role": "user"}]
OPEN_TO_ALL = {"GET /v1/models/{id}"}
MALFORMED = ("%00", "x" * 3000, "..%2F..%2Fetc", "%27%20or%201=1", "%F0%9F%90%9F", "file-")
WIDTH = 24
"""Hexadecimal digits in an id."""
KEYS = {name: hash_of(name) for name in ("alice", "bob")}
_PER_CALL = ("x-request-id", "request-id", "date")

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def call(endpoint: FakeEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    home = tmp_path_factory.mktemp("home")
    with served(home, endpoint, keys=KEYS, more=ALLOWED) as url, httpx2.Client() as client:
        origin = url.removesuffix("/v1")

        def call(
            owner: str, route: str, headers: Mapping[str, str] = {}, **more: Any
        ) -> httpx2.Response:
            method, path = route.split(" ", 1)
            headers = {"authorization": f"Bearer {owner}", **headers}
            return client.request(method, origin + path, headers=headers, **more)

        yield call


_numbers = count()


def make(call: Call, noun: str) -> str:
    """Something new of alice's; its id."""
    if noun == "upload":
        asked = {"bytes": 9, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "batch"}
        return str(call("alice", "POST /v1/uploads", json=asked).json()["id"])
    if noun == "message batch":
        params = {"model": "m", "max_tokens": 5, "messages": MESSAGES}
        asked = {"requests": [{"custom_id": "a", "params": params}]}
        return str(call("alice", "POST /v1/messages/batches", json=asked).json()["id"])
    if noun == "operation":
        inline = {"requests": [{"request": {"contents": CONTENTS}, "metadata": {"key": "a"}}]}
        asked = {"batch": {"displayName": "a", "inputConfig": {"requests": inline}}}
        made = call("alice", "POST /v1beta/models/m:batchGenerateContent", json=asked)
        return str(made.json()["name"]).removeprefix("batches/")
    if noun == "gemini file":
        return gemini_file(call)
    if noun == "webhook endpoint":
        for one in call("alice", "GET /v1/webhook_endpoints").json()["data"]:
            call("alice", f"DELETE /v1/webhook_endpoints/{one['id']}")  # there may be 20
        asked = {"url": "http://127.0.0.1:9/", "event_types": ["batch.expired"]}
        return str(call("alice", "POST /v1/webhook_endpoints", json=asked).json()["id"])
    rows = jsonl([chat(f"r{next(_numbers)}")])
    form = {"files": {"file": ("a.jsonl", rows)}, "data": {"purpose": "batch"}}
    file = call("alice", "POST /v1/files", **form).json()["id"]
    return str(file if noun == "file" else batch_of(call, "alice", file)["id"])


def gemini_file(call: Call) -> str:
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    start |= {
        "x-goog-upload-header-content-length": "3",
        "x-goog-upload-header-content-type": "a/b",
    }
    begun = call(
        "alice", "POST /upload/v1beta/files", json={"file": {"displayName": "a"}}, headers=start
    )
    end = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    assert begun.status_code == 200, begun.text
    sent = httpx2.post(begun.headers["x-goog-upload-url"], content=b"abc", headers=end)
    return str(sent.json()["file"]["name"]).removeprefix("files/")


def delete(call: Call, noun: str, id: str) -> None:
    def is_gone() -> bool:
        """What is not over is not deleted yet."""
        return bool(call("alice", DELETED_BY[noun].replace("{id}", id)).status_code == 200)

    until(is_gone, "its end")


def batch_of(call: Call, owner: str, file: str) -> Any:
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    return call(owner, "POST /v1/batches", json=asked).json()


def never_made(id: str) -> str:
    return id[:-WIDTH] + "0" * WIDTH


def ask(call: Call, owner: str, route: str, id: str) -> httpx2.Response:
    body = {"json": {"part_ids": []}} if route.startswith("POST") else {}
    return call(owner, route.replace("{id}", id), **body)


def told(answer: httpx2.Response, id: str) -> Any:
    """All that an answer says, but for the id that was asked for and what each call has anew."""
    headers = {k: v for k, v in answer.headers.items() if k not in _PER_CALL}
    text = re.sub("req_[0-9a-f]{24}", "REQUEST", answer.text.replace(id, "ID"))
    return answer.status_code, headers, text


def cases() -> Iterator[tuple[str, str]]:
    """Each route with each kind of id. OpenAI's uploads and batches cannot be deleted."""
    for route, noun in ROUTES.items():
        for kind in ("own", "foreign", "malformed", *(("deleted",) if noun in DELETED_BY else ())):
            yield route, kind


@pytest.mark.parametrize(("route", "kind"), [*cases()])
def test_what_is_not_the_callers_is_not_there(call: Call, route: str, kind: str) -> None:
    id = make(call, ROUTES[route])
    absent = told(ask(call, "bob", route, never_made(id)), never_made(id))

    match kind:
        case "own":
            assert ask(call, "alice", route, id).status_code != absent[0]
        case "foreign":
            assert told(ask(call, "bob", route, id), id) == absent
            assert ask(call, "alice", route, id).status_code != absent[0]
        case "deleted":
            delete(call, ROUTES[route], id)
            # A list goes on behind what was deleted, for its owner alone.
            walks = "?" in route
            assert ask(call, "alice", route, id).status_code == 200 or not walks
            assert told(ask(call, "bob" if walks else "alice", route, id), id) == absent
        case _:
            for malformed in MALFORMED:
                status = ask(call, "alice", route, malformed).status_code
                assert status in (absent[0], 404, 405), malformed
    assert absent[0] == (400 if "?" in route else 404), absent


def routes_of(face: type, **fields: type) -> Iterator[Route]:
    """What a face answers to that was never given anything to work with."""
    bare = object.__new__(face)
    for name, kind in fields.items():
        setattr(bare, name, object.__new__(kind))
    return (route for route in bare.routes() if isinstance(route, Route))


def named_by(route: Route) -> Iterator[str]:
    """The calls of a route that name a thing. Gemini's are the same in both versions."""
    if "{" not in re.sub("{model.*?}", "", route.path):
        return
    for method in (route.methods or set()) - {"HEAD"}:
        yield f"{method} {re.sub('{.*?}', '{id}', route.path)}"


@pytest.mark.parametrize(
    ("face", "fields"),
    [
        (OpenAIFace, {}),
        (WebhookCalls, {}),
        (AnthropicFace, {}),
        (GeminiFace, {"_files": GeminiFiles}),
    ],
)
def test_every_route_with_an_id_is_among_them(face: type, fields: dict[str, type]) -> None:
    there = {call for route in routes_of(face, **fields) for call in named_by(route)}
    if face is GeminiFace:
        there = {call.replace("/v1/", "/v1beta/") for call in there}

    assert there
    assert there - OPEN_TO_ALL <= set(ROUTES)


def test_all_protocols_are_among_them() -> None:
    """One that is new is asked for its routes above, too."""
    served_here = re.findall(r"(\w+Face)\(", inspect.getsource(serving))

    assert set(served_here) == {"OpenAIFace", "AnthropicFace", "GeminiFace"}


def test_a_batch_of_anothers_file_fails_as_one_of_a_file_that_is_not_there(call: Call) -> None:
    foreign = make(call, "file")

    def failure(file: str) -> Any:
        id = batch_of(call, "bob", file)["id"]
        until(
            lambda: call("bob", f"GET /v1/batches/{id}").json()["status"] == "failed", "a failure"
        )
        return str(call("bob", f"GET /v1/batches/{id}").json()["errors"]).replace(file, "ID")

    assert failure(foreign) == failure(never_made(foreign))
