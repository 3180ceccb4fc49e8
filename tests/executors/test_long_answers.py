"""However long an answer is, and however well it was packed, no more of it is read than we take."""

import gzip
from datetime import timedelta

import pytest

from anybatch.errors import AnswerTooLong
from anybatch.executors.http import Http
from anybatch.providers.flow import Call
from anybatch.testing import Altered, FakeEndpoint

MOST = 1_000


def altered(body: bytes, *, packed: bool = False, framing: str = "length") -> Altered:
    headers = {"content-encoding": "gzip"} if packed else {}
    sent = gzip.compress(body) if packed else body
    return Altered(lambda _: sent, headers=headers, framing=framing)  # type: ignore[arg-type]


async def body_of(fault: Altered) -> bytes:
    with FakeEndpoint(script=lambda call: fault) as endpoint:
        deadline = timedelta(seconds=10)
        async with Http(endpoint.base_url, headers={}, deadline=deadline, most=MOST) as http:
            body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
            reply = await http.send(Call(method="POST", path="/chat/completions", body=body))
    return reply.body


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, MOST])
async def test_what_is_short_enough_comes_whole(packed: bool, framing: str, size: int) -> None:
    body = b"x" * size
    assert await body_of(altered(body, packed=packed, framing=framing)) == body


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [MOST + 1, 10_000_000])
async def test_what_is_longer_is_not_read_to_its_end(packed: bool, framing: str, size: int) -> None:
    with pytest.raises(AnswerTooLong):
        await body_of(altered(b"x" * size, packed=packed, framing=framing))
