"""A call to a host that only the service knows carries nothing of ours, and tells nobody where."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from anybatch.errors import TransportError
from anybatch.executors.http import Http
from anybatch.providers.flow import Call, Upload

KEY = "key-of-the-account"
SECRET = "signature=secret"


class Seen:
    """What a storage got."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""


@contextmanager
def storage(
    status: int = 200, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Seen]]:
    """The address of a storage that answers so, and what it gets."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            seen.headers = {name.lower(): text for name, text in self.headers.items()}
            seen.body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/x?{SECRET}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Upload:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"12345")
    return Upload(path=path, name="in.jsonl")


def service(base_url: str = "http://127.0.0.1:9/v1") -> Http:
    headers = {"authorization": f"Bearer {KEY}", "x-more": "more"}
    return Http(base_url, headers=headers, deadline=timedelta(seconds=5))


def put(address: str, file: Upload) -> Call:
    return Call(method="PUT", path=address, upload=file, keyless=True)


async def test_the_file_goes_there_and_no_key_with_it(file: Upload) -> None:
    with storage() as (address, seen):
        async with service() as http:
            reply = await http.send(put(address, file))

    assert (reply.status, seen.body) == (200, b"12345")
    assert not {"authorization", "x-more", "content-type"} & set(seen.headers)


async def test_a_redirect_from_there_is_not_followed(file: Upload) -> None:
    with storage() as (elsewhere, untouched), storage(307, {"location": elsewhere}) as (address, _):
        async with service() as http:
            reply = await http.send(put(address, file))

    assert (reply.status, untouched.headers) == (307, {})


@pytest.mark.parametrize(
    ("base_url", "address"),
    [
        ("https://api.example/v1", f"http://storage.example/x?{SECRET}"),
        ("https://api.example/v1", f"http://127.0.0.1:9/x?{SECRET}"),
        ("http://127.0.0.1:9/v1", f"http://storage.example/x?{SECRET}"),
        ("https://api.example/v1", f"file:///etc/x?{SECRET}"),
        ("https://api.example/v1", "nowhere"),
    ],
)
async def test_nothing_goes_in_the_clear_to_elsewhere(
    base_url: str, address: str, file: Upload
) -> None:
    async with service(base_url) as http:
        with pytest.raises(TransportError, match="not followed") as refused:
            await http.send(put(address, file))

    assert not refused.value.sent
    assert SECRET not in str(refused.value)


async def test_an_address_that_is_a_key_by_itself_is_in_no_message(file: Upload) -> None:
    async with service() as http:
        with pytest.raises(TransportError) as broken:
            await http.send(put(f"http://127.0.0.1:9/x?{SECRET}", file))

    assert SECRET not in str(broken.value)
    assert "127.0.0.1:9" in str(broken.value)


async def test_the_same_address_without_that_word_gets_nothing(file: Upload) -> None:
    with storage() as (address, seen):
        async with service() as http:
            with pytest.raises(TransportError, match="not followed"):
                await http.send(Call(method="PUT", path=address, upload=file))

    assert seen.headers == {}
