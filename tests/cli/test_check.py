"""`anybatch check`: what is wrong with a file, line by line, without a connection or a store."""

import gzip
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .process import anybatch, command, environment, report

MB = 1_000_000


def chat(name: str, **body: Any) -> dict[str, Any]:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": asked}


def message(name: str, **params: Any) -> dict[str, Any]:
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return {"custom_id": name, "params": {**asked, **params}}


def generation(key: str) -> dict[str, Any]:
    return {"key": key, "request": {"contents": [{"parts": [{"text": "hi"}]}]}}


GOOD: Mapping[str, list[dict[str, Any]]] = {
    "openai": [chat("a"), chat("b")],
    "anthropic": [message("a"), message("b")],
    "gemini": [generation("a"), generation("b")],
}


def write(file: Path, *lines: object) -> Path:
    written = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    file.write_bytes(b"".join(line + b"\n" for line in written))
    return file


def codes(file: Path, provider: str, *more: object) -> list[tuple[int | None, str]]:
    """What is said of a file as JSON: the number and the code of each problem."""
    finished = anybatch("check", file, "--provider", provider, "--json", *more, home=file.parent)
    said = report(finished)
    assert finished.returncode == (1 if said["problems"] else 0), finished.stderr
    assert said["ok"] == (not said["problems"])
    return [(problem["line"], problem["code"]) for problem in said["problems"]]


@pytest.mark.parametrize("provider", GOOD)
def test_a_good_file_is_summed_up_in_one_line(provider: str, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *GOOD[provider])

    finished = anybatch("check", "in.jsonl", "--provider", provider, home=tmp_path)

    size = file.stat().st_size
    expected = f"in.jsonl: 2 requests, {size} bytes, 1 batch at {provider}: no problem\n"
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, expected, "")


def test_nothing_is_made_and_no_key_is_needed(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", chat("a"))

    anybatch("check", "in.jsonl", "--provider", "openai", home=tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_each_problem_is_a_line_with_its_number_and_its_rule(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", chat("a"), b"", b"nope", chat("a", stream=True))

    finished = anybatch("check", "in.jsonl", "--provider", "openai", home=tmp_path)

    *problems, summary = finished.stdout.splitlines()
    assert finished.returncode == 1
    assert [line.split(": ")[0] for line in problems] == ["in.jsonl:3", *["in.jsonl:4"] * 2]
    assert ": invalid_json_line: " in problems[0]
    assert ": streaming_unsupported (body.stream): " in problems[1]
    assert ": duplicate_custom_id (custom_id): " in problems[2]
    assert summary.endswith("1 batch at openai: 3 problems")


def test_json_holds_the_same(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", chat("a"), chat("b", model=None))

    said = report(anybatch("check", file, "--provider", "openai", "--json", home=tmp_path))

    (problem,) = said["problems"]
    size = file.stat().st_size
    sums = {"requests": 2, "bytes": size, "batches": 1, "ok": False}
    assert said == {
        "file": str(file),
        "provider": "openai",
        "problems": [problem],
        **sums,
    }
    assert (problem["line"], problem["code"], problem["param"]) == (
        2,
        "invalid_request",
        "body.model",
    )


def test_lines_of_any_ending_and_none_at_the_end_are_numbered_as_an_editor_does(
    tmp_path: Path,
) -> None:
    good, bad = json.dumps(chat("a")).encode(), json.dumps(chat("a")).encode()
    (tmp_path / "in.jsonl").write_bytes(good + b"\r\n\r\n \n" + bad)

    assert codes(tmp_path / "in.jsonl", "openai") == [(4, "duplicate_custom_id")]


def test_line_separators_inside_a_text_end_no_line(tmp_path: Path) -> None:
    text = json.dumps(chat("a", user="1\u20282\u20293\u0085"), ensure_ascii=False).encode()

    assert codes(write(tmp_path / "in.jsonl", text), "openai") == []


def test_a_byte_order_mark_is_one_problem_and_hides_no_other(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", b"\xef\xbb\xbf" + json.dumps(chat("a")).encode(), b"{")

    assert codes(file, "openai") == [(1, "byte_order_mark"), (2, "invalid_json_line")]


def test_a_file_in_another_encoding_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(json.dumps(chat("a")).encode("utf-16"))

    assert codes(tmp_path / "in.jsonl", "openai") == [(None, "wrong_encoding")]


def test_an_empty_file_is_a_problem(tmp_path: Path) -> None:
    assert codes(write(tmp_path / "in.jsonl"), "openai") == [(None, "empty_file")]


def test_a_file_that_is_too_large_says_how_many_batches_it_makes(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *(chat(f"r{n}") for n in range(50_001)))

    said = report(anybatch("check", file, "--provider", "openai", "--json", home=tmp_path))

    assert [problem["code"] for problem in said["problems"]] == ["too_many_requests"]
    assert (said["requests"], said["batches"]) == (50_001, 2)


def test_requests_may_come_through_a_pipe(tmp_path: Path) -> None:
    given = json.dumps(chat("a")) + "\nnope\n"

    finished = anybatch("check", "-", "--provider", "openai", home=tmp_path, stdin=given)

    assert finished.returncode == 1
    assert finished.stdout.startswith("stdin:2: invalid_json_line")


def test_a_gzipped_file_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(json.dumps(chat("a")).encode() + b"\n{"))

    assert codes(tmp_path / "in.jsonl.gz", "openai") == [
        (None, "invalid_file_name"),
        (2, "invalid_json_line"),
    ]


# --- a body that holds all requests -----------------------------------------------------------


def body(*requests: object, indent: int | None = None) -> bytes:
    return json.dumps({"requests": list(requests)}, indent=indent).encode()


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n \n"])
def test_a_whole_body_is_looked_into_request_by_request(
    indent: int | None, end: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "in.json"
    file.write_bytes(body(message("a"), message("b", stream=True), indent=indent) + end)

    assert codes(file, "anthropic") == [(2, "streaming_unsupported")]
    finished = anybatch("check", "in.json", "--provider", "anthropic", home=tmp_path)
    assert finished.stdout.startswith("in.json:request 2: streaming_unsupported (params.stream)")


def test_a_body_larger_than_what_is_read_at_once_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    text = "x" * 400_000
    requests = [message(f"r{n}", system=text) for n in range(12)]
    file.write_bytes(body(*requests, message("r0")) + b" " * 3_000_000)

    assert codes(file, "anthropic") == [(13, "duplicate_custom_id")]


@pytest.mark.parametrize(
    "broken",
    [
        body(message("a"), message("b"))[:-1],
        body(message("a"), message("b"))[:-2],
        body(message("a"), message("b"))[:-9],
        body(message("a"), message("b")) + b"}",
        body(message("a"), message("b"))[:-1] + b',"more":1}',
    ],
)
def test_a_body_that_does_not_end_where_it_should_is_a_problem(
    broken: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "in.json"
    file.write_bytes(broken)

    ((number, code),) = codes(file, "anthropic")

    assert code == "invalid_json_line"
    assert number in (2, 3)


def test_a_body_without_requests_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_bytes(body())

    assert codes(tmp_path / "in.json", "anthropic") == [(None, "empty_file")]


# --- versions, providers ----------------------------------------------------------------------


def test_the_version_of_the_api_can_be_chosen(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", message("a", temperature=0))

    assert codes(file, "anthropic") == [(1, "forbidden_field")]
    assert codes(file, "anthropic", "--api-version", "2023-06-01") == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gone.jsonl", "--provider", "openai"], ["'gone.jsonl'", "does not exist"]),
        (["in.jsonl", "--provider", "nobody"], ["'nobody'", "openai"]),
        (["in.jsonl", "--provider", "local"], ["'local'", "no batch API", "openai"]),
        (
            ["in.jsonl", "--provider", "anthropic", "--api-version", "2020-01-01"],
            ["'2020-01-01'", "2026-10-21", "2023-06-01"],
        ),
        (["in.jsonl"], ["'--provider'", "anybatch check --help"]),
        ([".", "--provider", "openai"], ["'.'", "cannot be read"]),
    ],
)
def test_a_wrong_call_is_answered_in_one_line(
    words: list[str], says: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", chat("a"))

    finished = anybatch("check", *words, home=tmp_path)

    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert all(word in finished.stderr for word in says), finished.stderr


# --- memory ------------------------------------------------------------------------------------


def peak(file: Path, provider: str) -> int:
    """The memory that checking a file takes at most, in bytes."""
    process = subprocess.Popen(
        command("check", file, "--provider", provider),
        env=environment(file.parent),
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1)
    return used.ru_maxrss * 1024


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_file_takes_no_more_memory_for_being_larger(provider: str, tmp_path: Path) -> None:
    text = "x" * 200_000
    make = chat if provider == "openai" else message
    requests = [make(f"r{n}", user=text) for n in range(400)]
    small = write(tmp_path / "small.jsonl", *requests[:5])
    large = write(tmp_path / "large.jsonl", *requests)
    if provider == "anthropic":
        small.write_bytes(body(*requests[:5]))
        large.write_bytes(body(*requests))

    assert large.stat().st_size > 80 * MB
    assert peak(large, provider) < peak(small, provider) + 16 * MB


def test_problems_take_no_memory(tmp_path: Path) -> None:
    few = write(tmp_path / "few.jsonl", *[b"nope"] * 5)
    many = write(tmp_path / "many.jsonl", *[b"nope"] * 200_000)

    assert peak(many, "openai") < peak(few, "openai") + 4 * MB
