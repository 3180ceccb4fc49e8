"""Moderations and images, from the rows to the columns: one by one, and as batches."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import anybatch
from anybatch import errors
from anybatch.testing import FakeOpenAI

ROWS = [{"id": 1, "text": "birds"}, {"id": 2, "text": "violence"}]


@pytest.fixture
def service() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(shuffle=True) as fake:
        yield fake


@pytest.fixture
def ask(tmp_path: Path, service: FakeOpenAI) -> dict[str, Any]:
    return {
        "prompt": "{{ text }}",
        "model": "openai/m",
        "base_url": service.base_url,
        "store": tmp_path / "store",
    }


@pytest.mark.parametrize("executor", ["online", "batch"])
def test_what_moderation_found_stands_in_columns(ask: dict[str, Any], executor: Any) -> None:
    run = anybatch.run(ROWS, api="openai.moderations", executor=executor, **ask)

    first, second = run.rows()
    assert run.status == "ok"
    assert list(first)[:5] == ["id", "text", "flagged", "categories", "scores"]
    assert (first["flagged"], first["categories"]) == (False, [])
    assert (second["flagged"], second["categories"]) == (True, ["violence"])
    assert second["scores"]["violence"] > 0.5


@pytest.mark.parametrize("executor", ["online", "batch"])
def test_an_image_stands_in_one_column(ask: dict[str, Any], executor: Any) -> None:
    run = anybatch.run(ROWS, api="openai.images", executor=executor, **ask)

    first, second = (row["image"] for row in run.rows())
    assert run.status == "ok"
    assert base64.b64decode(first).startswith(b"\x89PNG")
    assert first != second


def test_several_images_of_a_row_are_a_list_of_addresses(ask: dict[str, Any]) -> None:
    parameters = {"n": 2, "response_format": "url"}

    run = anybatch.run(ROWS[:1], api="openai.images", parameters=parameters, **ask)

    (row,) = run.rows()
    assert [address[:8] for address in row["image"]] == ["https://", "https://"]


def test_a_table_of_findings_can_be_written(ask: dict[str, Any], tmp_path: Path) -> None:
    run = anybatch.run(ROWS, api="openai.moderations", **ask)

    lines = run.to_file(tmp_path / "out.csv").read_text("utf-8").splitlines()

    assert lines[0].startswith("id,text,flagged,categories,scores,")
    assert lines[2].startswith('2,violence,true,"[""violence""]",')


@pytest.mark.parametrize("api", ["openai.moderations", "openai.images"])
@pytest.mark.parametrize("more", [{"system": "Be brief."}, {"labels": ["a", "b"]}])
def test_they_take_no_system_prompt_and_no_schema(
    ask: dict[str, Any], api: Any, more: dict[str, Any]
) -> None:
    with pytest.raises(errors.UsageError, match=f"{api}.* takes no (system prompt|labels)"):
        anybatch.run(ROWS, api=api, **ask, **more)


def test_equal_texts_are_embedded_once_and_never_again(
    ask: dict[str, Any], service: FakeOpenAI
) -> None:
    rows = [{"text": text} for text in ("a", "b", "a", "a")]
    asked = {**ask, "api": "openai.embeddings", "executor": "batch"}
    first = anybatch.run(rows, **asked)
    again = anybatch.run([*rows, {"text": "c"}], reuse="settled", **asked)

    vectors = [row["embedding"] for row in again.rows()]
    assert first.status == again.status == "ok"
    assert vectors[0] == vectors[2] == vectors[3] != vectors[1]
    assert [row["embedding"] for row in first.rows()] == vectors[:4]
    assert service.ledger.billed == 3
