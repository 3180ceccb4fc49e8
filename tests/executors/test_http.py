"""One call over a real socket: a whole reply, or an exception that says whether it may have run."""

import gzip
import inspect
import socket
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyreqwest.exceptions as foreign
import pytest
from msgspec.structs import replace

from anybatch.core.model import Spec
from anybatch.errors import BadSettings, TransportError
from anybatch.executors.auth import headers_for
from anybatch.executors.batch import BatchExecutor
from anybatch.executors.http import Http, translated
from anybatch.providers import vertex
from anybatch.providers.flow import Call, Reply, Upload
from anybatch.providers.openai import OPENAI
from anybatch.providers.registry import find
from anybatch.testing import Call as Received
from anybatch.testing import Cut, FakeEndpoint, FakeVertex, Fault, Stall, Status
from anybatch.wire.gcs import GRAIN

from .calling import FastClock

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
CHAT = Call(method="POST", path="/chat/completions", body=BODY)
SECOND = timedelta(seconds=1)


async def send(base_url: str, *, deadline: timedelta = 5 * SECOND, key: str | None = None) -> Reply:
    async with Http(base_url, headers=headers_for(OPENAI, key), deadline=deadline) as http:
        return await http.send(CHAT)


async def failing(fault: Fault, *, deadline: timedelta = 5 * SECOND) -> TransportError:
    """What a call that meets `fault` raises."""
    with FakeEndpoint(script=[fault]) as endpoint, pytest.raises(TransportError) as raised:
        await send(endpoint.base_url, deadline=deadline)
    return raised.value


def foreign_exceptions() -> list[type[foreign.PyreqwestError]]:
    classes = [one for one in vars(foreign).values() if inspect.isclass(one)]
    return [one for one in classes if issubclass(one, foreign.PyreqwestError)]


def raised_by_the_client(kind: type[foreign.PyreqwestError], *causes: str) -> Exception:
    if kind is foreign.PyreqwestError:
        return kind("words")
    details: dict[str, Any] = {"causes": [{"message": cause} for cause in causes] or None}
    return kind("words", {**details, "status": 500, "doc": "", "pos": 0})


def translation_of(error: Exception) -> Exception:
    with pytest.raises((TransportError, BadSettings)) as raised, translated("http://host/v1"):
        raise error
    return raised.value


@pytest.mark.parametrize("kind", foreign_exceptions(), ids=lambda kind: kind.__name__)
def test_every_exception_of_the_client_becomes_ours(kind: type[foreign.PyreqwestError]) -> None:
    ours = translation_of(raised_by_the_client(kind))

    assert "http://host/v1" in str(ours)
    assert isinstance(ours, TransportError) == issubclass(kind, foreign.RequestError)


def test_the_list_of_the_clients_exceptions_is_not_empty() -> None:
    assert len(foreign_exceptions()) >= 20


@pytest.mark.parametrize("kind", [foreign.ConnectError, foreign.ConnectTimeoutError])
def test_only_a_connection_that_never_was_proves_that_nothing_was_sent(
    kind: type[foreign.RequestError],
) -> None:
    never = translation_of(raised_by_the_client(kind, "client error (Connect)", "refused"))
    perhaps = translation_of(raised_by_the_client(kind, "client error (SendRequest)", "reset"))

    assert isinstance(never, TransportError)
    assert not never.sent
    assert isinstance(perhaps, TransportError)
    assert perhaps.sent


async def test_a_refused_connection_sent_nothing() -> None:
    with FakeEndpoint() as endpoint:
        address = endpoint.base_url

    with pytest.raises(TransportError, match=r"no connection to .*refused") as raised:
        await send(address)

    assert not raised.value.sent


async def test_a_name_that_cannot_be_found_sent_nothing() -> None:
    with pytest.raises(TransportError, match=r"no connection to http://nowhere\.invalid") as raised:
        await send("http://nowhere.invalid/v1")

    assert not raised.value.sent


@pytest.mark.parametrize(
    "fault",
    [
        Cut("unread"),
        Cut("unexecuted"),
        Cut("unexecuted", by="close"),
        Cut("executed"),
        Cut("executed", by="close"),
        Cut("midway"),
        Cut("midway", by="close"),
        Cut("midway", chunked=True),
        Cut("midway", by="close", chunked=True),
    ],
    ids=repr,
)
async def test_a_connection_that_breaks_may_have_run(fault: Cut) -> None:
    error = await failing(fault)

    assert error.sent
    assert "no whole answer from http://127.0.0.1" in str(error)


async def test_half_an_answer_is_no_reply() -> None:
    told_length = await failing(Cut("midway", by="close"))
    chunked = await failing(Cut("midway", by="close", chunked=True))

    assert "length" in str(told_length)
    assert "chunk" in str(chunked)


async def test_a_call_without_an_answer_ends_at_the_deadline_and_may_have_run() -> None:
    error = await failing(Stall(60), deadline=SECOND / 10)

    assert error.sent
    assert "no answer from http://127.0.0.1" in str(error)


async def test_a_redirect_is_a_reply_and_nobody_else_gets_the_key() -> None:
    with FakeEndpoint() as elsewhere:
        target = {"location": f"{elsewhere.base_url}/chat/completions"}
        with FakeEndpoint(script=[Status(307, headers=target)]) as endpoint:
            reply = await send(endpoint.base_url, key="sk-secret")

    assert reply.status == 307
    assert elsewhere.ledger.received == 0


async def test_the_key_travels_in_a_header() -> None:
    seen = list[str]()

    def answer(call: Received) -> str:
        seen.append(call.headers["authorization"])
        return "yes"

    with FakeEndpoint(answer=answer, key="sk-secret") as endpoint:
        await send(endpoint.base_url, key="sk-secret")

    assert seen == ["Bearer sk-secret"]


async def test_a_call_goes_to_the_host_that_it_names_and_the_key_with_it() -> None:
    with FakeEndpoint(key="sk-secret") as one, FakeEndpoint(key="sk-secret") as other:
        headers = headers_for(OPENAI, "sk-secret")
        hosts = {"other": other.base_url}
        async with Http(one.base_url, headers=headers, hosts=hosts, deadline=SECOND) as http:
            first = await http.send(CHAT)
            second = await http.send(replace(CHAT, host="other"))
            named = f"{other.base_url}/chat/completions"
            third = await http.send(replace(CHAT, host="other", path=named))

        assert {first.status, second.status, third.status} == {200}
        assert (one.ledger.received, other.ledger.received) == (1, 2)


async def test_no_other_host_gets_the_key_whatever_a_service_says() -> None:
    with FakeEndpoint() as one, FakeEndpoint() as other:
        hosts = {"other": other.base_url}
        stranger = replace(CHAT, path=f"{other.base_url}/chat/completions")
        headers = headers_for(OPENAI, "sk-secret")
        async with Http(one.base_url, headers=headers, hosts=hosts, deadline=SECOND) as http:
            with pytest.raises(TransportError, match="not followed") as raised:
                await http.send(stranger)

        assert not raised.value.sent
        assert (one.ledger.received, other.ledger.received) == (0, 0)


async def test_a_part_of_a_file_is_sent_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    part = Upload(path=tmp_path / "file", name="file", start=1, length=4)
    rest = replace(part, start=8, length=None)

    with FakeVertex() as fake:
        async with Http(fake.address, headers={}, deadline=SECOND) as http:
            path = f"/upload/storage/v1/b/{fake.bucket}/o?uploadType=media&name=in"
            for upload in (part, rest):
                await http.send(Call(method="POST", path=path, upload=upload))

        assert [file.sha for file in fake.ledger.files] == [
            sha256(content).hexdigest() for content in (b"1234", b"89")
        ]


async def test_a_large_file_goes_to_a_bucket_part_by_part_and_survives_lost_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * (GRAIN // 64) + b"end"
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setattr(vertex, "_PART", GRAIN)
    faults = {"upload": [None, Cut("executed"), Status(503), Cut("unread"), None, Cut("executed")]}

    with FakeVertex(faults=faults) as fake:
        executor = BatchExecutor(
            find("vertex", configured={}, base_url=fake.base_url, environment=fake.environment),
            key=None,
            spec=Spec(provider="vertex", model="gemini-x", api="gemini.generate"),
            deadline=5 * SECOND,
            clock=FastClock(1_000.0),
            jitter=lambda: 0.0,
        )
        await executor.upload(tmp_path / "file", name="file")
        await executor.close()

        assert fake.ledger.files[0].sha == sha256(content).hexdigest()
        assert len(fake.ledger.files) == 1
        assert fake.ledger.operations["start"] == 1


async def test_a_compressed_answer_is_read() -> None:
    packed = Status(200, body=gzip.compress(b'{"a": 1}'), headers={"content-encoding": "gzip"})

    with FakeEndpoint(script=[packed]) as endpoint:
        reply = await send(endpoint.base_url)

    assert reply.body == b'{"a": 1}'


async def test_an_answer_that_says_it_is_compressed_and_is_not_is_no_answer() -> None:
    error = await failing(Status(200, body=b"plain", headers={"content-encoding": "gzip"}))

    assert error.sent


async def test_headers_that_are_no_text_are_passed_over() -> None:
    headers = {"x-city": "Orl\xe9ans", "Retry-After": "7"}

    with FakeEndpoint(script=[Status(503, headers=headers)]) as endpoint:
        reply = await send(endpoint.base_url)

    assert reply.status == 503
    assert reply.headers["retry-after"] == "7"
    assert "x-city" not in reply.headers


async def test_a_long_header_is_read() -> None:
    with FakeEndpoint(script=[Status(500, headers={"x-long": "a" * 100_000})]) as endpoint:
        reply = await send(endpoint.base_url)

    assert reply.headers["x-long"] == "a" * 100_000


async def test_headers_without_end_are_no_answer() -> None:
    error = await failing(Status(200, headers={"x-long": "a" * 2_000_000}), deadline=3 * SECOND)

    assert error.sent


async def test_who_is_never_accepted_gets_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with Http(f"http://127.0.0.1:{port}/v1", headers={}, deadline=SECOND / 2) as http:
            with pytest.raises(TransportError) as raised:
                await http.send(CHAT)

    assert raised.value.sent


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://a b/v1", "http://[::1/v1"])
async def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(BadSettings, match="is not an address that can be called"):
        await send(url)


async def test_a_proxy_is_not_asked_the_way_to_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    with FakeEndpoint() as endpoint:
        reply = await send(endpoint.base_url)

    assert reply.status == 200
