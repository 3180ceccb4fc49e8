"""A dataset through a prompt, in tokens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Row, Spec
from anybatch.core.tokens import ByBytes, Counted
from anybatch.datasets.source import open_source
from anybatch.engine.measure import Measured, measure, tokens_of
from anybatch.errors import BadInput, BadSettings

AROUND_TEXT, AROUND_ALL = 4, 3


class ByWords:
    """A word is a token: exact, and easily checked by hand."""

    counted = Counted("counted by words", 0.0, 0.0)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def spec(**changes: Any) -> Spec:
    asked: dict[str, Any] = {"provider": "openai", "model": "m", "api": "openai.chat"}
    return Spec(**{**asked, "prompt": "{{ text }}", **changes})


def measured(rows: Any, asked: Spec | None = None, **how: Any) -> Measured:
    options = {"skip_bad_rows": False, **how}
    return measure(open_source(rows), asked or spec(), lambda model: ByWords(), **options)[1]


def texts(count: int) -> list[Row]:
    return [{"n": n, "text": f"word {n} " + "more " * (n % 5)} for n in range(count)]


def test_every_text_of_a_prompt_is_counted_and_what_stands_around_it() -> None:
    found = measured([{"text": "a b"}, {"text": "c d e f"}], spec(system="one two three"))

    around = AROUND_ALL + 2 * AROUND_TEXT
    assert (found.rows, found.counted, found.band) == (2, 2, 0)
    assert found.prompt == 3 + 3 + around
    assert found.longest == 3 + 4 + around


def test_the_shape_of_an_answer_is_a_part_of_the_prompt() -> None:
    plain = measured([{"text": "a"}])
    shaped = measured(
        [{"text": "a"}], spec(output_schema={"type": "object", "properties": {"x": {}}})
    )

    assert shaped.prompt > plain.prompt


def test_a_number_of_geminis_configuration_is_read_by_no_model() -> None:
    body = {"contents": [{"parts": [{"text": "a b"}]}], "generationConfig": {"temperature": 0.5}}
    shaped = {**body, "generationConfig": {"responseJsonSchema": {"type": "object"}}}

    plain, framed = tokens_of(
        [json.dumps(each).encode() for each in (body, shaped)], "gemini.generate", ByWords()
    )

    assert plain == 2 + AROUND_TEXT + AROUND_ALL
    assert framed > plain


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (
            "openai.chat",
            {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
        ),
        (
            "openai.responses",
            {"input": [{"content": [{"type": "input_image", "image_url": "data:x"}]}]},
        ),
        (
            "anthropic.messages",
            {"messages": [{"content": [{"type": "image", "source": {"data": "x"}}]}]},
        ),
        ("gemini.generate", {"contents": [{"parts": [{"inlineData": {"data": "x"}}]}]}),
    ],
)
def test_an_image_is_a_thousand_tokens_and_its_bytes_are_none(api: Any, body: Any) -> None:
    (tokens,) = tokens_of([json.dumps(body).encode()], api, ByWords())

    assert tokens == 1_000 + AROUND_ALL


def test_images_widen_the_band_and_are_said(tmp_path: Path) -> None:
    content = [
        {"type": "text", "text": "what is it"},
        {"type": "image_url", "image_url": {"url": "data:x"}},
    ]
    line = {
        "custom_id": "a",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": [{"role": "user", "content": content}]},
    }
    (tmp_path / "in.jsonl").write_text(json.dumps(line) + "\n")

    found = measured(tmp_path / "in.jsonl", spec(prompt=None, model=None))

    assert found.how == "counted by words, 1,000 for each image or document"
    assert found.band == pytest.approx(0.7 * 1_000 / found.prompt)


def test_a_large_table_is_counted_by_a_sample_and_the_band_says_so() -> None:
    rows = texts(101_500)

    exact, sample = measured(rows, every_row=True), measured(rows)

    assert (sample.rows, sample.counted) == (101_500, 10_000)
    assert (exact.rows, exact.counted, exact.band, exact.sampled) == (101_500, 101_500, 0, 0)
    assert 0 < sample.band == sample.sampled < 0.02
    assert sample.prompt == pytest.approx(exact.prompt, rel=sample.band)
    assert exact.how == "counted by words"
    assert sample.how == "counted by words, a sample of 10,000"
    assert exact.longest == 2 + 4 + AROUND_TEXT + AROUND_ALL


def test_the_sample_and_all_rows_agree_on_what_repeats() -> None:
    rows = [{"text": f"word {n % 50_000}"} for n in range(102_000)]

    assert measured(rows).distinct == measured(rows, every_row=True).distinct
    assert measured(rows).distinct == pytest.approx(50_000 / 102_000, rel=0.01)


def test_what_a_factor_is_learned_for_keeps_what_the_sample_is_off_by() -> None:
    sample = measured(texts(101_500))

    taught = sample.times(1.5, band=0.03, how="× 1.5")

    assert taught.prompt == sample.prompt * 1.5
    assert taught.band == pytest.approx(0.03 + sample.sampled)


def test_what_all_prompts_begin_with_is_shared() -> None:
    head = "rule " * 40
    found = measured(texts(300), spec(prompt=head + "{{ text }}"))

    assert found.heads == 1
    assert 40 <= found.shared <= 43


def test_each_of_several_heads_is_found() -> None:
    rows = [{"head": f"context{n % 4} " + "fact " * 50, "text": f"t{n}"} for n in range(200)]

    found = measured(rows, spec(prompt="{{ head }} {{ text }}"))

    assert found.heads == 4
    assert found.shared == pytest.approx(51, rel=0.1)


def test_equal_rows_are_told_by_the_columns_that_the_prompt_names() -> None:
    rows = [{"id": n, "text": f"text {n % 3}"} for n in range(30)]

    flat = measured(rows)
    by_jinja = measured(rows, spec(prompt="{% if text %}{{ text }}{% endif %}"))
    whole = measured(rows, spec(prompt="{{ text }}{% if row.id > 99 %}!{% endif %}"))

    assert (flat.distinct, by_jinja.distinct) == (0.1, 0.1)
    assert whole.distinct == 1  # whatever it may read of a row, it is not called a repetition


def test_a_row_that_lacks_a_column_is_told_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    lines = [{"text": f"word {n}"} for n in range(101_000)] + [{"other": 1}, {"text": "end"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    with pytest.raises(BadInput, match=r"row 101,?001.*no column 'text'"):
        measured(file)
    assert measured(file, skip_bad_rows=True).rows == 101_001


def test_where_all_rows_are_bad_nothing_is_priced(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"text": "a"}\n{"text": "b"}\n')

    with pytest.raises(BadInput, match="has no rows to send"):
        measured(file, spec(prompt="{{ text.nope.nope }}"), skip_bad_rows=True)


def ready(tmp_path: Path, *bodies: dict[str, Any]) -> Path:
    file = tmp_path / "requests.jsonl"
    lines = (
        {"custom_id": str(n), "url": "/v1/chat/completions", "body": {"messages": [], **body}}
        for n, body in enumerate(bodies)
    )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_ready_made_requests_name_their_model_and_cap_their_answers(tmp_path: Path) -> None:
    file = ready(tmp_path, {"model": "a", "max_tokens": 10}, {"model": "a", "max_tokens": 30})

    asked, found = measure(
        open_source(file),
        spec(prompt=None, model=None),
        lambda model: ByBytes(),
        skip_bad_rows=False,
    )

    assert asked.model == "a"
    assert found.cap == 20


def test_where_one_has_no_cap_none_is_known(tmp_path: Path) -> None:
    file = ready(tmp_path, {"model": "a", "max_tokens": 10}, {"model": "a"})

    assert measured(file, spec(prompt=None, model=None)).cap is None


def test_where_nobody_names_a_model_nothing_has_a_price(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="a price is of a model"):
        measured(ready(tmp_path, {"max_tokens": 10}), spec(prompt=None, model=None))
