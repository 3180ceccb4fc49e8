"""The rows of a run come back as they came, or not at all."""

import os
import re
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Row
from anybatch.effects import unwatched
from anybatch.errors import StoreCorrupt
from anybatch.store.rows import RowWriter, read_rows

from .given import TEXTS

ROWS: list[Row] = [{"text": f"row {n}"} for n in range(5)]


def written(folder: Path, rows: list[Row], *, at_once: int = 2) -> Path:
    with RowWriter(folder, probe=unwatched) as writer:
        for start in range(0, len(rows), at_once):
            writer.add(rows[start : start + at_once])
        writer.finish()
    return folder / "rows.jsonl"


def digest_of(rows: list[Row], *, at_once: int) -> str:
    with TemporaryDirectory() as name, RowWriter(Path(name), probe=unwatched) as writer:
        for start in range(0, len(rows), at_once):
            writer.add(rows[start : start + at_once])
        return writer.finish()


@given(st.lists(st.dictionaries(TEXTS, TEXTS | st.integers(0, 9) | st.none()), max_size=9))
def test_rows_come_back_as_they_were_written(rows: list[Row]) -> None:
    with TemporaryDirectory() as name:
        written(Path(name), rows)

        assert list(read_rows(Path(name), count=len(rows))) == rows


def test_every_line_is_json_the_checksum_too(tmp_path: Path) -> None:
    lines = written(tmp_path, ROWS).read_bytes().splitlines()

    assert len(lines) == 6
    assert re.fullmatch(rb'"crc32 [0-9a-f]{8}"', lines[-1])


def test_the_digest_is_of_the_rows_and_not_of_how_they_came() -> None:
    assert digest_of(ROWS, at_once=1) == digest_of(ROWS, at_once=5) != digest_of([], at_once=1)


@pytest.mark.parametrize("bit", range(8))
def test_a_bit_that_changed_is_noticed_before_a_row_is_read(tmp_path: Path, bit: int) -> None:
    path = written(tmp_path, ROWS)
    sound = path.read_bytes()

    for at in range(len(sound)):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << bit]) + sound[at + 1 :])
        with pytest.raises(StoreCorrupt) as refused:
            next(read_rows(tmp_path, count=5))

        assert str(path) in str(refused.value)
        assert f"`anybatch rm {tmp_path.name}`" in str(refused.value)


def test_rows_that_were_cut_off_are_noticed_before_a_row_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)

    while size := path.stat().st_size:
        os.truncate(path, size - 1)
        with pytest.raises(StoreCorrupt, match="changed or missing"):
            next(read_rows(tmp_path, count=5))


@pytest.mark.parametrize("count", [0, 4, 6])
def test_the_rows_of_another_run_are_noticed(tmp_path: Path, count: int) -> None:
    written(tmp_path, ROWS)

    with pytest.raises(StoreCorrupt, match=f"holds 5 rows, and the run has {count}"):
        list(read_rows(tmp_path, count=count))


def test_rows_that_are_gone_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreCorrupt, match=re.escape(f"{str(tmp_path / 'rows.jsonl')!r} is gone")):
        next(read_rows(tmp_path, count=5))


def test_reading_many_rows_takes_constant_memory(tmp_path: Path) -> None:
    written(tmp_path, [{"text": "x" * 1_000}] * 20_000, at_once=1_000)

    tracemalloc.start()
    count = sum(1 for _ in read_rows(tmp_path, count=20_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 4_000_000
