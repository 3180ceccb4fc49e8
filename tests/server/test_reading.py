"""A stored file is read whole or in one stretch, and to its end, whoever deletes it meanwhile."""

import os
from contextlib import suppress
from pathlib import Path

import httpx2
import openai
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from anybatch.server.reading import PastTheEnd, read_all, read_answer, stretch_of


@pytest.mark.parametrize(
    ("asked", "stretch"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=2-4", range(2, 5)),
        ("bytes=2-99", range(2, 10)),
        ("bytes=2-", range(2, 10)),
        ("bytes=-2", range(8, 10)),
        ("bytes=-99", range(10)),
        ("bytes=-", None),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        (f"bytes={'9' * 5000}-", None),
        ("", None),
    ],
)
def test_a_stretch_is_what_was_asked_for_or_all(asked: str, stretch: range | None) -> None:
    assert stretch_of(asked, 10) == stretch


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_stretch_behind_the_end_is_none(asked: str) -> None:
    with pytest.raises(PastTheEnd):
        stretch_of(asked, 10)


def test_a_stretch_behind_the_end_is_refused_in_the_envelope(
    client: openai.OpenAI, url: str
) -> None:
    file = client.files.create(file=("a.bin", b"0123456789"), purpose="user_data")
    path = f"{url}/files/{file.id}/content"

    past = httpx2.get(path, headers={"range": "bytes=10-"})
    etag = httpx2.get(path).headers["etag"]
    same = httpx2.get(path, headers={"range": "bytes=1-2", "if-range": etag})
    other = httpx2.get(path, headers={"range": "bytes=1-2", "if-range": '"else"'})

    assert (past.status_code, past.headers["content-range"]) == (416, "bytes */10")
    assert past.json()["error"]["type"] == "invalid_request_error"
    assert (same.status_code, same.content) == (206, b"12")
    assert (other.status_code, len(other.content)) == (200, 10)


async def test_a_file_is_closed_though_its_reader_goes_before_the_first_piece(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}

    async def gone(message: Message) -> None:
        raise OSError("the connection is gone")

    async def nothing_more() -> Message:
        return {"type": "http.disconnect"}

    before = len(os.listdir("/proc/self/fd"))
    for answer in (
        await read_answer(Request(scope), path, name="a"),
        await read_all([path, path], media_type="text/plain"),
    ):
        with suppress(OSError, ClientDisconnect):
            await answer(scope, nothing_more, gone)

    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_deleted_is_read_to_its_end_by_who_has_begun(
    client: openai.OpenAI, url: str
) -> None:
    content = bytes(range(256)) * 100_000
    file = client.files.create(file=("a.bin", content), purpose="user_data")

    with httpx2.stream("GET", f"{url}/files/{file.id}/content") as reply:
        pieces = reply.iter_bytes()
        read = next(pieces)
        client.files.delete(file.id)
        read += b"".join(pieces)

    assert read == content
    assert httpx2.get(f"{url}/files/{file.id}/content").status_code == 404


def test_of_what_is_there_the_head_may_be_asked_for(client: openai.OpenAI, url: str) -> None:
    file = client.files.create(file=("a.bin", b"0123456789"), purpose="user_data")

    reply = httpx2.head(f"{url}/files/{file.id}/content")

    assert (reply.status_code, reply.headers["content-length"], reply.content) == (200, "10", b"")
