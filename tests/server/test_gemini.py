"""Gemini's files and batches over a real socket, call by call."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from anybatch.server import gemini_files, log
from anybatch.server.owners import hash_of
from anybatch.testing import FakeEndpoint, FakeGemini, Status, matching
from anybatch.testing.endpoint import Call

from .world import LIMIT_S, served, until

REFUSING: Final = {"call": matching('"fail"', Status(400, message="Not this one."))}
OVER = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
CREATE = "/v1beta/models/gemini-x:batchGenerateContent"


def routes_to(fake: FakeGemini) -> list[dict[str, Any]]:
    base_url = f"{fake.address}/v1beta"
    there = {"provider": "gemini", "base_url": base_url, "api_key_env": "", "executor": "online"}
    return [{"model": "gemini-*", **there}, {"model": "embedder", **there}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = {"alice": hash_of("a"), "bob/ö": hash_of("b")}
    with FakeGemini(faults=REFUSING) as fake:
        home = tmp_path_factory.mktemp("home")
        with served(home, routes=routes_to(fake), keys=keys) as url:
            yield url.removesuffix("/v1")


@pytest.fixture(scope="module")
def alice(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, headers={"x-goog-api-key": "a"}) as client:
        yield client


@pytest.fixture(scope="module")
def bob(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, headers={"x-goog-api-key": "b"}) as client:
        yield client


def ask(prompt: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}


def start(client: httpx2.Client, size: int, **about: Any) -> httpx2.Response:
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    file = {"mime_type": "application/jsonl", "size_bytes": size, **about}
    return client.post("/upload/v1beta/files", headers=headers, json={"file": file})


def send(address: str, content: bytes, offset: int, command: str = "upload") -> httpx2.Response:
    """Without a key: the address is the secret."""
    headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
    return httpx2.post(address, headers=headers, content=content)


def upload(client: httpx2.Client, content: bytes) -> dict[str, Any]:
    address = start(client, len(content)).headers["x-goog-upload-url"]
    file: dict[str, Any] = send(address, content, 0, "upload, finalize").json()["file"]
    return file


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def inline(*requests: Any, name: str = "ours") -> dict[str, Any]:
    return {"batch": {"displayName": name, "inputConfig": {"requests": {"requests": [*requests]}}}}


def of_file(name: str) -> dict[str, Any]:
    return {"batch": {"displayName": "ours", "inputConfig": {"fileName": name}}}


def until_over(client: httpx2.Client, created: httpx2.Response) -> dict[str, Any]:
    assert created.status_code == 200, created.text
    operation: dict[str, Any] = created.json()
    end = time.monotonic() + LIMIT_S
    while operation["metadata"]["state"].removeprefix("BATCH_STATE_") not in OVER:
        assert time.monotonic() < end, operation
        time.sleep(0.005)
        operation = client.get(f"/v1beta/{operation['name']}").json()
    return operation


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert answer.headers["x-request-id"]
    return error["code"], error["status"]


# --- batches ---


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_a_batch_goes_from_a_file_to_one_file_in_its_order(
    alice: httpx2.Client, version: str
) -> None:
    rows = [{"key": f"r{n}", "request": ask("fail" if n == 1 else f"say {n}")} for n in range(4)]
    file = upload(alice, jsonl(*rows, {"request": ask("nameless")}))

    created = alice.post(CREATE.replace("v1beta", version), json=of_file(file["name"]))
    operation = until_over(alice, created)

    about = operation["metadata"]
    assert operation["done"] is True
    assert about["state"] == "BATCH_STATE_SUCCEEDED"
    assert about["inputConfig"] == {"fileName": file["name"]}
    assert about["batchStats"] == {
        "requestCount": "5",
        "successfulRequestCount": "4",
        "failedRequestCount": "1",
        "pendingRequestCount": "0",
    }
    assert operation["response"]["responsesFile"] == about["output"]["responsesFile"]
    path = f"{about['output']['responsesFile']}:download"
    for address in (f"/{version}/{path}", f"/download/{version}/{path}"):
        found = alice.get(address, params={"alt": "media"})
        assert found.status_code == 200
    lines = [json.loads(line) for line in found.content.splitlines()]
    assert [line["key"] for line in lines] == ["r0", "r1", "r2", "r3", None]
    assert lines[1]["error"] == {"code": 400, "message": "Not this one."}
    assert lines[0]["response"]["candidates"][0]["content"]["parts"][0]["text"] == "echo: say 0"


def test_a_stretch_of_the_results_is_read_or_refused_in_the_envelope(alice: httpx2.Client) -> None:
    file = upload(alice, jsonl({"key": "a", "request": ask("hi")}))
    operation = until_over(alice, alice.post(CREATE, json=of_file(file["name"])))
    path = f"/v1beta/{operation['response']['responsesFile']}:download"

    found = alice.get(path, headers={"range": "bytes=0-0"})
    past = alice.get(path, headers={"range": "bytes=999999-"})

    assert (found.status_code, found.content) == (206, b"{")
    assert error_of(past) == (416, "INVALID_ARGUMENT")


def test_what_was_said_beside_an_inline_request_comes_back_with_it(alice: httpx2.Client) -> None:
    said = {"of": "mine", "key": "ä\n1"}
    created = alice.post(
        CREATE, json=inline({"request": ask("a"), "metadata": said}, {"request": ask("fail")})
    )

    answers = until_over(alice, created)["metadata"]["output"]["inlinedResponses"]
    first, second = answers["inlinedResponses"]
    assert first["metadata"] == said
    assert second == {"error": {"code": 3, "message": "Not this one."}}


def test_files_of_inline_batches_are_nobodys_to_see(alice: httpx2.Client) -> None:
    seen = upload(alice, jsonl({"request": ask("a")}))["name"]
    for _ in range(3):
        until_over(alice, alice.post(CREATE, json=inline({"request": ask("a")})))

    listed = alice.get("/v1beta/files", params={"pageSize": 1}).json()["files"]

    assert [file["name"] for file in listed] == [seen]


def test_a_file_with_a_line_that_is_no_request_fails(alice: httpx2.Client) -> None:
    file = upload(alice, jsonl({"request": ask("a")}) + b"what?\n")

    operation = until_over(alice, alice.post(CREATE, json=of_file(file["name"])))

    assert operation["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert operation["error"]["code"] == 3
    assert "Line 2" in operation["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        (CREATE, {}, (400, "INVALID_ARGUMENT")),
        (CREATE, inline(), (400, "INVALID_ARGUMENT")),
        (CREATE, inline({"requests": 5}), (400, "INVALID_ARGUMENT")),
        (CREATE, of_file("files/nobody"), (404, "NOT_FOUND")),
        ("/v1/models/other:batchGenerateContent", inline(ask("a")), (404, "NOT_FOUND")),
        ("/v1/elsewhere:batchGenerateContent", inline(ask("a")), (404, "NOT_FOUND")),
    ],
)
def test_what_cannot_become_a_batch_is_refused(
    alice: httpx2.Client, path: str, body: Any, error: tuple[int, str]
) -> None:
    assert error_of(alice.post(path, json=body)) == error


def test_a_body_that_is_too_long_is_refused(alice: httpx2.Client) -> None:
    body = json.dumps(inline({"request": ask("x" * 20_000_000)}))

    assert error_of(alice.post(CREATE, content=body)) == (400, "INVALID_ARGUMENT")


def test_the_same_call_by_its_name_makes_one_batch(alice: httpx2.Client) -> None:
    headers = {"idempotency-key": "once"}
    body = inline({"request": ask("a")})

    first, again = (alice.post(CREATE, json=body, headers=headers).json() for _ in range(2))
    other = alice.post(CREATE, json=inline({"request": ask("b")}), headers=headers)

    assert first["name"] == again["name"]
    assert error_of(other) == (409, "ABORTED")


def test_a_batch_is_deleted_when_it_is_over(alice: httpx2.Client) -> None:
    name = until_over(alice, alice.post(CREATE, json=inline({"request": ask("a")})))["name"]

    assert error_of(alice.post(f"/v1/{name}:cancel")) == (400, "FAILED_PRECONDITION")
    assert alice.delete(f"/v1/{name}").json() == {}
    assert error_of(alice.delete(f"/v1/{name}")) == (404, "NOT_FOUND")
    names = [each["name"] for each in alice.get("/v1/batches").json()["operations"]]
    assert name not in names


# --- who may see what ---


def test_what_belongs_to_another_is_not_there(alice: httpx2.Client, bob: httpx2.Client) -> None:
    file = upload(alice, jsonl({"request": ask("a")}))["name"]
    batch = until_over(alice, alice.post(CREATE, json=of_file(file)))
    result = batch["metadata"]["output"]["responsesFile"]

    for method, path in [
        ("GET", batch["name"]),
        ("POST", f"{batch['name']}:cancel"),
        ("DELETE", batch["name"]),
        ("GET", file),
        ("DELETE", file),
        ("GET", f"{result}:download"),
    ]:
        foreign = bob.request(method, f"/v1beta/{path}")
        absent = bob.request(method, f"/v1beta/{re.sub('[0-9a-f]{24}', '0' * 24, path)}")
        assert error_of(foreign) == error_of(absent) == (404, "NOT_FOUND"), path
    assert error_of(bob.post(CREATE, json=of_file(file))) == (404, "NOT_FOUND")


def test_a_key_is_needed_and_google_says_so(url: str) -> None:
    without = httpx2.get(f"{url}/v1beta/batches")
    wrong = httpx2.get(f"{url}/v1/batches", headers={"x-goog-api-key": "c"})

    assert error_of(without) == error_of(wrong) == (400, "INVALID_ARGUMENT")
    assert "API key not valid" in wrong.json()["error"]["message"]


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_a_key_may_stand_in_the_address(url: str, bob: httpx2.Client, version: str) -> None:
    made = bob.post(CREATE, json=inline({"request": ask("hi")})).json()["name"]

    def asked(path: str, key: str) -> httpx2.Response:
        return httpx2.get(f"{url}/{version}/{path}", params={"pageSize": 1, "key": key})

    assert asked(made, "b").json()["name"] == made
    assert asked("batches", "b").json()["operations"][0]["name"] == made
    assert error_of(asked(made, "a")) == (404, "NOT_FOUND")
    for wrong in ("c", "sha256"):
        assert error_of(asked("batches", wrong)) == (400, "INVALID_ARGUMENT")
    header = {"x-goog-api-key": "a"}
    both = httpx2.get(f"{url}/{version}/{made}?key=b", headers=header)
    assert error_of(both) == (404, "NOT_FOUND")  # the header says who calls


def test_a_file_is_uploaded_with_a_key_in_the_address(url: str) -> None:
    begin = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    file = {"file": {"mime_type": "application/jsonl", "size_bytes": 3}}
    for path in ("/upload/v1/files", "/upload/v1beta/files"):
        begun = httpx2.post(f"{url}{path}?key=a", headers=begin, json=file)
        address = begun.headers["x-goog-upload-url"]
        sent = send(address, b"abc", 0, "upload, finalize")

        assert sent.status_code == 200
        assert "key=" not in address + begun.text + sent.text


def test_a_key_in_the_address_is_in_no_log(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    log.flush()
    capfd.readouterr()
    with httpx2.Client(base_url=url) as client:
        calls = [
            client.get("/v1/batches?key=a"),
            client.get("/v1beta/nothing?pageSize=1&key=very-secret"),
            client.post("/v1/models/m:batchGenerateContent?key=very-secret", content=b"{"),
            client.put("/v1/files?key=very%2Dsecret"),
        ]
    log.flush()
    said = capfd.readouterr().err

    assert [call.status_code for call in calls] == [200, 400, 400, 400]
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["path"] for line in lines if line["event"] == "request"] == [
        call.request.url.path for call in calls
    ]
    assert not any(word in said for word in ("key=", "very", "pageSize"))
    assert not any("very" in call.text for call in calls)


def test_the_same_paths_answer_openai_by_its_own_header(url: str) -> None:
    listed = httpx2.get(f"{url}/v1/batches", headers={"authorization": "Bearer a"})

    assert listed.json()["object"] == "list"
    assert listed.json()["data"] == []


# --- uploads ---


def test_an_address_of_an_upload_opens_nothing_else(alice: httpx2.Client, url: str) -> None:
    address = start(alice, 3).headers["x-goog-upload-url"]
    secret = address.partition("?")[2]

    assert error_of(httpx2.get(f"{url}/v1beta/batches?{secret}"))[0] == 400
    made_up = re.sub("upload_[0-9a-f]{24}", "upload_" + "0" * 24, address)
    assert error_of(send(made_up, b"abc", 0))[0] == 400


def test_an_upload_of_openais_has_no_address_here(alice: httpx2.Client, url: str) -> None:
    asked = {"bytes": 3, "filename": "a", "mime_type": "x", "purpose": "batch"}
    by_key = {"headers": {"authorization": "Bearer a"}}
    made = httpx2.post(f"{url}/v1/uploads", json=asked, **by_key).json()["id"]

    def answered(upload: str, **headers: str) -> tuple[int, str]:
        address = f"{url}/upload/v1beta/files?upload_id={upload}.alice"
        said = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
        answer = httpx2.post(address, headers={**said, **headers}, content=b"abc")
        return answer.status_code, answer.text.replace(upload, "ID")

    never = "upload_" + "0" * 24
    for headers in ({}, {"x-goog-api-key": "a"}, {"x-goog-api-key": "b"}):
        assert answered(made, **headers) == answered(never, **headers)
        assert answered(made, **headers)[0] in (400, 404)
    part = httpx2.post(f"{url}/v1/uploads/{made}/parts", files={"data": b"abc"}, **by_key)
    assert part.status_code == 200, part.text


def test_an_upload_of_geminis_is_none_of_openais(alice: httpx2.Client, url: str) -> None:
    address = start(alice, 3).headers["x-goog-upload-url"]
    (made,) = re.findall("upload_[0-9a-f]{24}", address)

    for path, more in (("parts", {"files": {"data": b"abc"}}), ("cancel", {})):
        headers = {"authorization": "Bearer a"}
        answer = httpx2.post(f"{url}/v1/uploads/{made}/{path}", headers=headers, **more)
        assert answer.status_code == 404, answer.text


def test_a_part_whose_answer_was_lost_may_be_sent_again(bob: httpx2.Client) -> None:
    content = jsonl({"request": ask("a")})
    address = start(bob, len(content), display_name="mine").headers["x-goog-upload-url"]

    for _ in range(2):
        part = send(address, content[:10], 0)
        assert part.headers["x-goog-upload-status"] == "active"
    asked = send(address, b"", 0, "query")
    ends = [send(address, content[10:], 10, "upload, finalize") for _ in range(2)]

    assert asked.headers["x-goog-upload-size-received"] == "10"
    assert [end.headers["x-goog-upload-status"] for end in ends] == ["final", "final"]
    assert ends[0].json() == ends[1].json()
    file = ends[0].json()["file"]
    assert (file["displayName"], file["sizeBytes"]) == ("mine", str(len(content)))
    assert bob.get(f"/v1/{file['name']}").json() == file


@pytest.mark.parametrize(
    ("content", "offset", "command"),
    [
        (b"abcd", 0, "upload"),
        (b"abc", 1, "upload"),
        (b"ab", 0, "upload, finalize"),
    ],
    ids=["too much", "a gap", "too little"],
)
def test_bytes_that_are_not_what_was_announced_are_refused(
    alice: httpx2.Client, content: bytes, offset: int, command: str
) -> None:
    address = start(alice, 3).headers["x-goog-upload-url"]

    assert error_of(send(address, content, offset, command)) == (400, "INVALID_ARGUMENT")


def test_an_upload_that_is_cancelled_takes_nothing_more(alice: httpx2.Client) -> None:
    address = start(alice, 3).headers["x-goog-upload-url"]

    assert send(address, b"", 0, "cancel").headers["x-goog-upload-status"] == "cancelled"
    assert error_of(send(address, b"abc", 0)) == (400, "FAILED_PRECONDITION")


def test_a_part_that_comes_twice_at_once_is_there_once(alice: httpx2.Client) -> None:
    content = b"x" * 1_000_000
    address = start(alice, len(content)).headers["x-goog-upload-url"]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: send(address, content, 0), range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert send(address, b"", 0, "query").headers["x-goog-upload-size-received"] == "1000000"


def test_an_upload_comes_in_so_many_parts_and_no_more(
    alice: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_files, "MAX_PARTS", 2)
    address = start(alice, 3).headers["x-goog-upload-url"]

    answers = [send(address, b"a", offset).status_code for offset in range(3)]

    assert answers == [200, 200, 400]


@pytest.mark.parametrize("about", [{"size_bytes": 3_000_000_000}, {"name": "files/mine"}])
def test_an_upload_that_cannot_be_is_refused_at_once(
    alice: httpx2.Client, about: Mapping[str, Any]
) -> None:
    assert error_of(start(alice, 3, **about)) == (400, "INVALID_ARGUMENT")


def test_lists_are_walked_to_their_end(bob: httpx2.Client) -> None:
    made = [upload(bob, jsonl({"request": ask("a")}))["name"] for _ in range(3)]

    found: list[str] = []
    token: str | None = ""
    while token is not None:
        page = bob.get("/v1beta/files", params={"pageSize": 2, "pageToken": token}).json()
        found += [file["name"] for file in page["files"]]
        token = page.get("nextPageToken")

    assert found[:3] == made[::-1]
    assert len(found) == len(set(found))
    assert error_of(bob.get("/v1beta/files", params={"pageToken": "no"}))[0] == 400
    assert error_of(bob.get("/v1beta/batches", params={"pageSize": "x"}))[0] == 400


def test_bytes_go_to_where_the_server_is_whatever_a_call_says_of_that(
    alice: httpx2.Client, url: str
) -> None:
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    headers["Host"] = "elsewhere.example"

    answer = alice.post("/upload/v1/files", headers=headers, json={"file": {"size_bytes": 3}})

    assert answer.headers["x-goog-upload-url"].startswith(f"{url}/upload/v1/files?upload_id=")


def test_bytes_may_come_by_another_port_of_this_machine(alice: httpx2.Client) -> None:
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    headers["Host"] = "localhost:1234"

    answer = alice.post("/upload/v1/files", headers=headers, json={"file": {"size_bytes": 3}})

    assert answer.headers["x-goog-upload-url"].startswith("http://localhost:1234/upload/v1/files?")


# --- what answers in the words of another api ---


def test_what_answers_may_speak_otherwise_and_the_order_stays(tmp_path: Path) -> None:
    cannot = {**ask("b"), "tools": [{"googleSearch": {}}]}
    rows = [{"request": ask("a")}, {"request": cannot}, {"request": ask("c")}]

    with FakeEndpoint() as endpoint, client_at(tmp_path, endpoint) as client:
        operation = until_over(client, client.post(CREATE, json=inline(*rows)))

    first, second, third = operation["response"]["inlinedResponses"]["inlinedResponses"]
    assert [said(first), said(third)] == ["echo: a", "echo: c"]
    assert second["error"]["code"] == 3
    assert "googleSearch" in second["error"]["message"]
    stats = operation["metadata"]["batchStats"]
    assert (stats["successfulRequestCount"], stats["failedRequestCount"]) == ("2", "1")


def test_a_batch_that_is_cancelled_keeps_what_is_answered(tmp_path: Path) -> None:
    rows = [{"request": ask(prompt)} for prompt in ("late", "quick", "late")]

    with FakeEndpoint(latency=slow) as endpoint, client_at(tmp_path, endpoint) as client:
        created = client.post(CREATE, json=inline(*rows))
        path = f"/v1/{created.json()['name']}"
        until(lambda: done_of(client, path) == "1", "the quick one")
        assert error_of(client.delete(path)) == (400, "FAILED_PRECONDITION")
        assert client.post(f"{path}:cancel").json() == {}
        operation = until_over(client, created)
        assert client.post(f"{path}:cancel").json() == {}

    about = operation["metadata"]
    assert (about["state"], operation["error"]["code"]) == ("BATCH_STATE_CANCELLED", 1)
    first, second, third = about["output"]["inlinedResponses"]["inlinedResponses"]
    assert said(second) == "echo: quick"
    assert first["error"]["code"] == third["error"]["code"] == 1
    assert about["batchStats"]["pendingRequestCount"] == "2"


@contextmanager
def client_at(home: Path, endpoint: FakeEndpoint) -> Iterator[httpx2.Client]:
    """A client of a server that has `endpoint` answer."""
    with served(home, endpoint) as url, client_of(url) as client:
        yield client


def client_of(url: str) -> httpx2.Client:
    headers = {"x-goog-api-key": "any"}
    return httpx2.Client(base_url=url.removesuffix("/v1"), headers=headers)


def slow(call: Call) -> float:
    return 60.0 if "late" in call.prompt else 0.0


def done_of(client: httpx2.Client, path: str) -> str | None:
    about = client.get(path).json()["metadata"]
    done: str | None = about.get("batchStats", {}).get("successfulRequestCount")
    return done


def said(answer: Any) -> str:
    text: str = answer["response"]["candidates"][0]["content"]["parts"][0]["text"]
    return text


def test_a_batch_goes_through_to_googles_own_and_outlives_the_server(tmp_path: Path) -> None:
    body = inline({"request": ask("a"), "metadata": {"key": "k"}}, {"request": ask("b")})

    with FakeGemini() as fake:
        routes = [{**route, "executor": "batch"} for route in routes_to(fake)]
        with served(tmp_path, routes=routes) as url, client_of(url) as client:
            created = client.post(CREATE, json=body)
        with served(tmp_path, routes=routes) as url, client_of(url) as client:
            output = until_over(client, created)["metadata"]["output"]
        assert len(fake.ledger.batches) == 1

    answers = output["inlinedResponses"]["inlinedResponses"]
    assert [said(answer) for answer in answers] == ["echo: a", "echo: b"]
    assert answers[0]["metadata"] == {"key": "k"}
