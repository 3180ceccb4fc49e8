"""A model in this process: found, loaded, asked, broken off, and quiet about it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import msgspec
import pytest
import xllamacpp

from anybatch.core.model import Api, Json
from anybatch.errors import BadSettings, TransportError
from anybatch.executors import embedded
from anybatch.executors.embedded import PACKAGED, Embedded, weights

from .calling import Records, answers, answers_of, chat, reader

LABEL = {
    "type": "object",
    "properties": {"label": {"enum": ["bug", "feature", "question"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def shaped(schema: Json) -> Json:
    """The field that asks for an answer of this shape."""
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema},
        }
    }


# --- weights ------------------------------------------------------------------------------------


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()

    assert weights(str(file)) == file


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.gguf").touch()

    assert weights("~/model.gguf") == tmp_path / "model.gguf"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"there is no file .*nowhere\.gguf"):
        weights(str(tmp_path / "nowhere.gguf"))


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "model.gguf"
    folder.mkdir()

    with pytest.raises(BadSettings, match="there is no file"):
        weights(str(folder))


def test_an_unknown_name_is_answered_with_the_known_one() -> None:
    with pytest.raises(BadSettings, match=r"no local model 'gpt-5'; use local/smollm2, or local/"):
        weights("gpt-5")


@pytest.mark.real_model
def test_the_packaged_model_is_found() -> None:
    assert weights(PACKAGED).read_bytes()[:4] == b"GGUF"


# --- loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no model at all" * 100], ids=["empty", "other"])
def test_a_file_that_is_no_gguf_is_said_to_be_none(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)

    with pytest.raises(BadSettings, match=r"model\.gguf' cannot be loaded as a GGUF") as raised:
        Embedded(str(file), api="openai.chat", calls=1)

    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.real_model
def test_half_a_model_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(weights(PACKAGED).read_bytes()[:1_000_000])

    with pytest.raises(BadSettings, match="cannot be loaded"):
        Embedded(str(file), api="openai.chat", calls=1)


@pytest.mark.real_model
def test_an_api_it_does_not_speak_is_named_with_one_it_does() -> None:
    with pytest.raises(BadSettings, match=r"not take openai\.responses; use openai\.chat"):
        Embedded(PACKAGED, api="openai.responses", calls=1)


# --- asking -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Iterator[Embedded]:
    executor = Embedded(PACKAGED, api="openai.chat", calls=4)
    yield executor
    asyncio.run(executor.close())


@pytest.mark.real_model
async def test_every_answer_fits_its_schema_by_construction(model: Embedded) -> None:
    bodies = [chat(f"The app broke {n} times.", max_tokens=40, **shaped(LABEL)) for n in range(8)]
    reads = reader(schema=LABEL)

    results = await answers(model, bodies, reads=reads)

    assert [result.n for result in results] == list(range(8))
    assert {result.outcome for result in results} == {"succeeded"}
    assert all(reads.value(result)["label"] in ("bug", "feature", "question") for result in results)
    assert all(result.usage.tokens_in and result.usage.tokens_out for result in results)
    assert all(result.model == PACKAGED for result in results)


@pytest.mark.real_model
async def test_a_prompt_beyond_the_context_is_too_long(model: Embedded) -> None:
    (result,) = await answers(model, [chat("word " * 5_000)])

    assert result.outcome == "too_long"


@pytest.mark.real_model
async def test_an_answer_at_its_budget_is_truncated(model: Embedded) -> None:
    (result,) = await answers(model, [chat("hi", max_tokens=1)])

    assert (result.outcome, result.usage.tokens_out) == ("truncated", 1)


@pytest.mark.real_model
async def test_a_caller_who_asks_for_a_stream_gets_an_answer(model: Embedded) -> None:
    body = chat("hi", max_tokens=40, stream=True, **shaped(LABEL))

    (result,) = await answers(model, [body], reads=reader(schema=LABEL))

    assert result.outcome == "succeeded"


@pytest.mark.real_model
@pytest.mark.parametrize(
    "body",
    [
        {"model": "m"},
        {"model": "m", "messages": "hi"},
        [1, 2],
        chat("hi", temperature="hot"),
        chat("hi", max_tokens=2, **shaped({"type": "frob"})),
        chat("hi", max_tokens=2, **shaped({"$ref": "#/nowhere"})),
        chat("hi", max_tokens=2, **shaped({"$ref": "https://nowhere.invalid/a.json"})),
    ],
    ids=["no messages", "text", "list", "temperature", "type", "reference", "address"],
)
async def test_a_request_it_cannot_take_is_a_bad_one_and_the_next_is_answered(
    model: Embedded, body: Json
) -> None:
    bad, good = await answers(model, [body, chat("hi", max_tokens=1)])

    assert bad.outcome == "bad_request"
    assert bad.failure is not None
    assert bad.failure.message.startswith("HTTP 400: ")
    assert good.outcome == "truncated"


@pytest.mark.real_model
async def test_after_a_stop_it_asks_nothing_new_and_records_what_is_under_way(
    model: Embedded,
) -> None:
    records = Records(stop_after=1)
    bodies = [chat(f"hi {n}", max_tokens=4) for n in range(100)]

    results = await answers(model, bodies, records=records)

    assert 1 <= len(results) <= 8


@pytest.mark.real_model
async def test_an_answer_nobody_waits_for_is_broken_off(model: Embedded) -> None:
    endless = [chat(f"Count to {n}", max_tokens=1_500, ignore_eos=True) for n in range(8)]
    given_up = asyncio.create_task(answers(model, endless))
    _, waiting = await asyncio.wait([given_up], timeout=0.3)

    given_up.cancel()
    await asyncio.wait([given_up])

    assert waiting
    async with asyncio.timeout(10):
        (result,) = await answers(model, [chat("hi", max_tokens=1)])
    assert result.outcome == "truncated"


@pytest.mark.real_model
async def test_it_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    executor = Embedded(PACKAGED, api="openai.chat", calls=1)

    await answers_of(executor, [chat("hi", max_tokens=2), chat("word " * 5_000)])

    assert capfd.readouterr() == ("", "")


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("api", "body", "schema"),
    [
        ("openai.embeddings", {"model": "m", "input": "a text"}, None),
        ("openai.embeddings", {"model": "m", "input": "word " * 600}, None),
        ("openai.completions", {"model": "m", "prompt": "1 2 3", "temperature": 0}, None),
        ("openai.completions", {"model": "m", "prompt": "It broke.", **shaped(LABEL)}, LABEL),
    ],
    ids=["embeddings", "a long text", "completions", "a schema"],
)
async def test_other_apis_are_answered(api: Api, body: Json, schema: Json | None) -> None:
    if api == "openai.completions":
        body = {**body, "max_tokens": 20, **({} if schema else {"stop": ["\n"]})}
    reads = reader(api, schema)

    (result,) = await answers_of(Embedded(PACKAGED, api=api, calls=1), [body], reads=reads)

    value = reads.value(result)
    assert result.outcome in ("succeeded", "truncated") if schema is None else "succeeded"
    assert api != "openai.embeddings" or (len(value) == 576 and any(value))
    assert schema is None or value["label"] in ("bug", "feature", "question")


@pytest.mark.real_model
async def test_a_text_too_long_to_embed_is_too_long() -> None:
    executor = Embedded(PACKAGED, api="openai.embeddings", calls=1)

    (result,) = await answers_of(executor, [{"model": "m", "input": "word " * 3_000}])

    assert result.outcome == "too_long"


# --- what stays shut ----------------------------------------------------------------------------


KEPT: list[object] = []
"""Servers, until the process ends: now and then the end of one waits for ever."""


@pytest.mark.real_model
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer guessed"}], ids=["none", "wrong"]
)
def test_the_librarys_own_port_answers_nobody(headers: dict[str, str]) -> None:
    parameters = embedded.server_parameters(xllamacpp, weights(PACKAGED), name=PACKAGED, calls=1)
    server = embedded._server(xllamacpp, parameters, weights(PACKAGED))
    KEPT.append(server)
    address = urlsplit(server.listening_address)

    connection = HTTPConnection(address.hostname or "", address.port, timeout=5)
    try:
        connection.request("POST", "/v1/chat/completions", msgspec.json.encode(chat("hi")), headers)
        status = connection.getresponse().status
    finally:
        connection.close()

    assert address.hostname == "127.0.0.1"
    assert status == 401


@pytest.mark.real_model
async def test_a_closed_model_is_not_asked() -> None:
    executor = Embedded(PACKAGED, api="openai.chat", calls=1)
    await executor.close()

    with pytest.raises(ExceptionGroup) as raised:
        await answers(executor, [chat("hi")])

    assert raised.group_contains(TransportError, match="closed")


@pytest.mark.real_model
def test_a_process_that_breaks_off_its_answers_ends_well() -> None:
    script = dedent(
        """
        import asyncio
        import msgspec
        from anybatch.core.model import Request
        from anybatch.executors.embedded import Embedded

        BODY = msgspec.json.encode({
            "model": "m", "max_tokens": 1500, "ignore_eos": True,
            "messages": [{"role": "user", "content": "Write a long story"}],
        })

        async def record(*results):
            pass

        async def main():
            executor = Embedded("smollm2", api="openai.chat", calls=2)
            asked = (Request(n=n, body=BODY) for n in range(9))
            answering = asyncio.create_task(executor.answer(
                asked, read=print, record=record, stop=asyncio.Event()))
            await asyncio.wait([answering], timeout=0.5)
            answering.cancel()
            await asyncio.wait([answering])
            await executor.close()

        asyncio.run(main())
        """
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
