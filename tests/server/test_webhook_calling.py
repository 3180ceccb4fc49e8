"""Calls to addresses that somebody else chose: where they go, and where none ever does."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.addresses import BadAddress
from anybatch.errors import TransportError
from anybatch.executors.http import post_to
from anybatch.providers.flow import Reply
from anybatch.server.webhook_calling import NOT_PUBLIC, Caller, Interrupted, Outcome

from .hooks import receiver

PUBLIC = "93.184.216.34"
SECONDS = timedelta(seconds=5)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Names:
    """Somebody who rules a name: what it leads to changes with each look."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = [*answers]
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not found:
            raise socket.gaierror("unknown")
        return found


class Posts:
    """Notes where calls would go."""

    def __init__(self, *unreached: str, sent: bool = False) -> None:
        self._unreached = unreached
        self._sent = sent
        self.called: list[str] = []

    async def __call__(
        self, ip: str, url: str, *, headers: Mapping[str, str], body: bytes, deadline: timedelta
    ) -> Reply:
        self.called.append(ip)
        if ip in self._unreached:
            raise TransportError("nobody there", sent=self._sent)
        return Reply(status=200, body=b"")


@contextmanager
def calling(*hosts: str, **more: Any) -> Iterator[Caller]:
    caller = Caller(frozenset(hosts), **more)
    try:
        yield caller
    finally:
        caller.close()


async def call(caller: Caller, url: str) -> Outcome:
    return await caller.call(url, headers={}, body=b"{}")


# --- where no call goes ---


@contextmanager
def sentinel() -> Iterator[tuple[int, list[Any]]]:
    """A port of this machine, and who connected to it."""
    came: list[Any] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)
    ended = threading.Event()

    def listen() -> None:
        while not ended.is_set():
            try:
                connection, peer = listener.accept()
            except TimeoutError:
                continue
            came.append(peer)
            connection.close()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield listener.getsockname()[1], came
    finally:
        ended.set()
        thread.join()
        listener.close()


HERE = [
    *("127.0.0.1", "127.1", "127.0.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1"),
    *(
        "017700000001",
        "0177.0.0.1",
        "127.0.0.01",
        "%31%32%37.0.0.1",
        "127.0.0.2",
        "127.255.255.254",
    ),
    *(
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
    ),
    *(
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[0:0:0:0:0:0:0:1]",
    ),
    *(
        "a@127.0.0.1",
        "hooks.example@127.0.0.1",
        "hooks.example\\@127.0.0.1",
        "127.0.0.1#hooks.example",
    ),
    *(
        "\u2460\u2461\u2466.0.0.1",
        "127\u30020\u30020\u30021",
        "[fe80::1%25lo]",
        "127.0.0.1\t",
        " 127.0.0.1",
    ),
]


async def test_no_guise_of_this_machine_is_called() -> None:
    with sentinel() as (port, came), calling() as caller:
        outcomes = [
            await call(caller, f"{scheme}://{host}:{port}/path")
            for host in HERE
            for scheme in ("https", "http")
        ]

    assert came == []
    assert len(outcomes) == 2 * len(HERE)
    assert {outcome.status for outcome in outcomes} == {None}


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["fd00:ec2::254"],
        ["::ffff:10.0.0.1"],
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        ["fe80::1%eth0"],
        ["not an address"],
        [],
    ],
)
async def test_a_name_that_leads_into_our_network_is_not_called(found: list[str]) -> None:
    posts = Posts()
    with calling(resolve=Names(found), post=posts) as caller:
        with pytest.raises(BadAddress, match=NOT_PUBLIC):
            await caller.check("https://hooks.example/")
        outcome = await call(caller, "https://hooks.example/")

    assert outcome == Outcome(None, why=NOT_PUBLIC)
    assert posts.called == []


async def test_a_name_that_leads_elsewhere_at_the_second_look_is_not_called_there() -> None:
    names, posts = Names([PUBLIC], ["127.0.0.1"]), Posts()
    with calling(resolve=names, post=posts) as caller:
        await caller.check("https://hooks.example/")
        outcome = await call(caller, "https://hooks.example/")

    assert (outcome.why, posts.called) == (NOT_PUBLIC, [])


async def test_what_was_checked_is_called_and_nothing_is_looked_up_again() -> None:
    names, posts = Names([PUBLIC], ["127.0.0.1"]), Posts()
    with calling(resolve=names, post=posts) as caller:
        outcome = await call(caller, "https://hooks.example/")

    assert outcome.status == 200
    assert (posts.called, names.asked) == ([PUBLIC], 1)


async def test_the_client_looks_nothing_up_by_itself() -> None:
    """The name is nobody's: only the address that it is given can have led there."""
    with receiver() as told, calling("hooks.test", resolve=Names(["127.0.0.1"])) as caller:
        url = told.url.replace("127.0.0.1", "hooks.test")
        outcome = await call(caller, f"{url}/a?b=c")
        (heard,) = told.heard

    assert outcome.status == 200
    assert (heard.path, heard.headers["host"]) == ("/a?b=c", url.removeprefix("http://"))


async def test_an_address_of_numbers_is_called_as_it_was_checked() -> None:
    with pytest.raises(TransportError, match="another address"):
        await post_to("127.0.0.1", "http://127.0.0.2/", headers={}, body=b"", deadline=SECONDS)


async def test_no_proxy_stands_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    with sentinel() as (port, came), receiver() as told, calling("127.0.0.1") as caller:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        outcome = await call(caller, told.url)

    assert (outcome.status, len(told.heard), came) == (200, 1, [])


# --- one address after the other ---


async def test_where_nobody_is_the_next_address_is_called() -> None:
    found = [PUBLIC, "93.184.216.35", "93.184.216.36"]
    posts = Posts(*found[:2])
    with calling(resolve=Names(found), post=posts) as caller:
        outcome = await call(caller, "https://hooks.example/")

    assert (outcome.status, posts.called) == (200, found)


async def test_what_may_have_arrived_is_not_said_at_another_address() -> None:
    posts = Posts(PUBLIC, sent=True)
    with calling(resolve=Names([PUBLIC, "93.184.216.35"]), post=posts) as caller:
        outcome = await call(caller, "https://hooks.example/")

    assert (outcome.why, posts.called) == ("no answer came", [PUBLIC])


async def test_a_name_with_many_addresses_is_not_called_at_all_of_them() -> None:
    found = [f"93.184.216.{n}" for n in range(1, 200)]
    posts = Posts(*found)
    with calling(resolve=Names(found), post=posts) as caller:
        outcome = await call(caller, "https://hooks.example/")

    assert outcome.why == "no connection"
    assert len(posts.called) == 3


# --- how long, and how much ---


async def test_who_answers_late_has_not_answered() -> None:
    with receiver() as told, calling("127.0.0.1", deadline=SECONDS / 25) as caller:
        told.goes_on.clear()
        outcome = await call(caller, told.url)

    assert outcome == Outcome(None, why="no answer came within 0 seconds")


async def test_who_stops_does_not_know_what_came_of_a_call() -> None:
    with receiver() as told, calling("127.0.0.1") as caller:
        told.goes_on.clear()
        under_way = asyncio.create_task(call(caller, told.url))
        await asyncio.to_thread(told.until_heard)
        caller.hurry(0.05)
        with pytest.raises(Interrupted):
            await under_way
        with pytest.raises(Interrupted):
            await asyncio.wait_for(call(caller, told.url), 1)


async def test_a_name_that_is_found_slowly_holds_up_no_other() -> None:
    goes_on = threading.Event()

    def look_up(host: str, port: int) -> Sequence[str]:
        if host == "slow.example":
            goes_on.wait(10)
        return [PUBLIC]

    with calling(resolve=look_up, post=Posts(), deadline=SECONDS / 5) as caller:
        slow = [asyncio.create_task(call(caller, "https://slow.example/")) for _ in range(4)]
        began = time.perf_counter()
        outcome = await call(caller, "https://quick.example/")
        took = time.perf_counter() - began
        outcomes = await asyncio.gather(*slow)
        goes_on.set()

    assert (outcome.status, took < 0.5) == (200, True)
    assert {each.why for each in outcomes} == {"no answer came within 1 seconds"}


async def test_an_answer_without_an_end_is_not_read() -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        except OSError:
            writer.close()

    async with serving(pour) as port:
        with calling("127.0.0.1") as caller:
            outcome = await call(caller, f"http://127.0.0.1:{port}/")

    assert outcome.status == 200
    assert sent < 32 << 20  # what lies in between is full then


# --- whose certificate ---


@asynccontextmanager
async def serving(listen: Any, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


CA = """\
-----BEGIN CERTIFICATE-----
MIIBeDCCAR+gAwIBAgIUbu4bdhGri4hZ2ToYJsoUPaDMU6cwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGYSB0ZXN0MCAXDTI2MTEyMDE2MTUzNFoYDzIxMjYxMDI3MTYx
NTM0WjARMQ8wDQYDVQQDDAZhIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AARF4LaFDqO6jEU9DrciU7xfS6T4ZII0IoYKLmnTmdYbLqsKcwFuoD9LWH2xFR76
NMRFPdT4ciPTN+oaFf56LgNZo1MwUTAdBgNVHQ4EFgQUXIEK3apTKjE+gj6mG46Q
773VOQIwHwYDVR0jBBgwFoAUXIEK3apTKjE+gj6mG46Q773VOQIwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAEZ05cSNhYIYMegQt4SsOXDCv8Ktcl
K+AL4Mvo78209AIgE3/V74lkHlNNetMhBS/dx1DUNQRBDupiBdyCKbGETbs=
-----END CERTIFICATE-----
"""
LEAF = """\
-----BEGIN CERTIFICATE-----
MIIBpDCCAUmgAwIBAgIURrdcVKv8w7S/Es+M1Qgm/1Frx50wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGYSB0ZXN0MCAXDTI2MTEyMDE2MTUzNFoYDzIxMjUwNjE0MTYx
NTM0WjAVMRMwEQYDVQQDDApob29rcy50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEwPIAcTcXhVMzWcdw0eNrhgVzh7ZEY3BOckscazEMY6j6zVdKzuzaIn5I
5mwbmpRn/boI2bmFjsOUz/zqPS8DkqN5MHcwFQYDVR0RBA4wDIIKaG9va3MudGVz
dDAJBgNVHRMEAjAAMBMGA1UdJQQMMAoGCCsGAQUFBwMBMB0GA1UdDgQWBBQcWTNr
SKEVj+UW+LPSZByWVyawYzAfBgNVHSMEGDAWgBRcgQrdqlMqMT6CPqYbjpDvvdU5
AjAKBggqhkjOPQQDAgNJADBGAiEAvXsv9mdr/dIBRng/LnEXv1ZN0ctVbdU8iZql
EhwKTNUCIQDZjf7VUbWjTCWkpif7DvQx5K+Azd5nKRyocWhbrY7sgQ==
-----END CERTIFICATE-----
"""
# Made for this test, of hooks.test, and good for nothing else.
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2Xu5g3/1ApcvtOzE
FxVDyBtUE30O2knhmIUWn7xYUwihRANCAATA8gBxNxeFUzNZx3DR42uGBXOHtkRj
cE5ySxxrMQxjqPrNV0rO7NoifkjmbBualGf9ugjZuYWOw5TP/Oo9LwOS
-----END PRIVATE KEY-----
"""


async def test_who_is_called_has_to_show_that_it_is_the_host_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text(CA)
    (tmp_path / "service.pem").write_text(KEY + LEAF)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "service.pem")
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"{}"))
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with serving(answer, context) as port:
        with calling("hooks.test", "other.test", resolve=Names(["127.0.0.1"])) as caller:
            right = await call(caller, f"https://hooks.test:{port}/")
            wrong = await call(caller, f"https://other.test:{port}/")

    assert names == ["hooks.test", "other.test"]
    assert (right.status, wrong) == (200, Outcome(None, why="no connection"))
    assert len(heard) == 1
