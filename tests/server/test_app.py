"""What every call passes on its way in: the face that claims it, a name, an owner, a log line."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from anybatch.server import log
from anybatch.server.app import application
from anybatch.server.face import caller_of
from anybatch.server.owners import Owners, hash_of


class Saying:
    """A face that says its name, and claims what carries the header `x-face` with it, or all."""

    id_prefix = input_purpose = output_purpose = ""

    def __init__(self, name: str, *, claims_all: bool = False) -> None:
        self.name = name
        self._claims_all = claims_all

    def claims(self, scope: Any) -> bool:
        return self._claims_all or (b"x-face", self.name.encode()) in scope["headers"]

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/who", self.who), Route("/broken", self.broken)]

    async def who(self, request: Request) -> Response:
        return PlainTextResponse(f"{self.name} {caller_of(request).owner}")

    async def broken(self, request: Request) -> Response:
        raise ValueError("a mistake of ours")

    def failure(self, status: int, message: str, *, request_id: str) -> Response:
        return PlainTextResponse(f"{self.name}: {message}", status_code=status)

    def _of_an_order(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    reader = unknown_input = unserved = write_line = output_name = _of_an_order


class Answer:
    """What an application answered."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.text = ""

    async def take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.text += message.get("body", b"").decode()


async def call(path: str, *, owners: Owners | None = None, **headers: str) -> Answer:
    faces = [Saying("first"), Saying("usual", claims_all=True)]
    given = {"host": "127.0.0.1"} | {k.replace("_", "-"): v for k, v in headers.items()}
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"secret=1",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    answer = Answer()
    app = application(faces, owners or Owners({}))
    await app(scope, receive, answer.take)
    return answer


async def test_a_call_goes_to_the_first_face_that_claims_it() -> None:
    assert (await call("/who", x_face="first")).text == "first everybody"
    assert (await call("/who")).text == "usual everybody"


@pytest.mark.parametrize("face", ["first", "usual"])
async def test_each_face_says_in_its_own_words_what_is_not_there(face: str) -> None:
    answer = await call("/nothing", x_face=face)

    assert (answer.status, answer.text) == (404, f"{face}: Not Found (GET /nothing)")


async def test_a_key_says_who_calls_and_a_wrong_one_is_refused_by_the_face() -> None:
    owners = Owners({"alice": hash_of("key")})

    known = await call("/who", owners=owners, authorization="Bearer key")
    unknown = await call("/who", owners=owners, x_face="first")

    assert known.text == "usual alice"
    assert (unknown.status, unknown.text[:6]) == (401, "first:")


async def test_every_answer_and_its_log_line_have_the_same_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    answers = [await call(path) for path in ("/who", "/nothing", "/broken")]

    assert log.flush()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["id"].encode() for line in lines] == [a.headers[b"x-request-id"] for a in answers]
    assert [line["status"] for line in lines] == [200, 404, 500]
    assert len({line["id"] for line in lines}) == 3


async def test_a_mistake_of_ours_is_in_the_log_and_not_in_the_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    answer = await call("/broken")

    assert log.flush()
    said = capfd.readouterr().err
    assert answer.status == 500
    assert "mistake" not in answer.text
    assert json.loads(said)["failure"] == "ValueError: a mistake of ours"
    assert "secret" not in said
