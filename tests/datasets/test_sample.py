"""Some rows by chance: the same again, in order, and each as likely as another."""

from collections import Counter
from pathlib import Path

import pytest

from anybatch.core.model import Row
from anybatch.datasets.sample import Sample, sample
from anybatch.datasets.source import open_source
from anybatch.errors import BadInput

from .reading import read

ROWS = [{"text": f"row {n}"} for n in range(100)]


def drawn(data: object, size: int, *, seed: int = 0) -> Sample:
    bad: list[int] = []
    return sample(open_source(data), size, seed=seed, on_bad_row=lambda line, why: bad.append(line))


def rows_of(found: Sample) -> list[Row]:
    return read(found.source).rows


def test_a_sample_has_rows_of_the_data_in_their_order_and_says_which() -> None:
    found = drawn(iter(ROWS), 10)

    assert found.of == 100
    assert rows_of(found) == [ROWS[number] for number in found.numbers]
    assert list(found.numbers) == sorted(set(found.numbers))
    assert len(found.numbers) == 10


def test_it_can_be_read_again_though_the_data_cannot() -> None:
    found = drawn(iter(ROWS), 10)

    assert rows_of(found) == rows_of(found)


def test_the_same_seed_draws_the_same_and_another_one_others() -> None:
    first, again, other = drawn(ROWS, 10), drawn(ROWS, 10), drawn(ROWS, 10, seed=1)

    assert first.numbers == again.numbers
    assert first.source.digest() == again.source.digest() is not None
    assert first.numbers != other.numbers
    assert first.source.digest() != other.source.digest()


def test_a_larger_sample_has_all_of_a_smaller_one() -> None:
    assert set(drawn(ROWS, 10).numbers) < set(drawn(ROWS, 30).numbers)


def test_each_row_is_as_likely_as_another() -> None:
    seen = Counter(number for seed in range(500) for number in drawn(ROWS, 20, seed=seed).numbers)

    assert len(seen) == 100
    assert all(60 < times < 145 for times in seen.values())  # 100 ± five standard deviations


@pytest.mark.parametrize("size", [3, 4, 1000])
def test_a_sample_of_all_rows_is_the_data_itself(size: int, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text\na\nb\nc\n")

    found = drawn(path, size)

    source = open_source(path)
    assert rows_of(found) == [{"text": "a"}, {"text": "b"}, {"text": "c"}]
    assert (found.source.name, found.source.digest()) == (source.name, source.digest())


def test_bad_rows_are_told_when_all_of_it_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n1,2\n3\n4,5\n")

    found = drawn(path, 10)

    reading = read(found.source)
    assert (found.of, reading.bad_lines) == (2, [3])
    assert reading.rows == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]


def test_bad_rows_are_none_of_a_part(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n1,2\n3\n4,5\n")

    found = drawn(path, 1)

    assert (found.of, len(rows_of(found))) == (2, 1)
    assert read(found.source).bad == []


def test_what_is_raised_at_a_bad_row_goes_through(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n1,2\n3\n")

    def refuse(line: int, why: str) -> None:
        raise BadInput(why)

    with pytest.raises(BadInput):
        sample(open_source(path), 1, seed=0, on_bad_row=refuse)


def test_a_part_of_ready_made_requests_is_ready_made(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    line = '{"custom_id":"%s","method":"POST","url":"/v1/chat/completions","body":{}}\n'
    path.write_text(line % "a" + line % "b")

    found = drawn(path, 1)

    assert found.source.requests
    assert rows_of(found)[0]["custom_id"] in ("a", "b")
