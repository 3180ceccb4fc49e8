"""A result counts when the database says so, and only then."""

import os
import re
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Result, Segment
from anybatch.effects import unwatched
from anybatch.errors import StoreCorrupt, StoreUnwritable
from anybatch.store.journal import SegmentWriter, committed_lines, lines_behind, segment_path
from anybatch.testing import Watch
from anybatch.wire.jsonl import write_line

from .limits import largest_file

LINES = st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=6)
WHOLE = Segment(token=1, size=8, crc=crc32(b"one\ntwo\n"))

SEGMENTS = st.lists(st.tuples(LINES, st.binary(max_size=40)), max_size=4)
"""For each owner: the lines it committed, and what it left behind them."""


class OnFullDisk(SegmentWriter):
    """A segment on a device that is always full."""

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open("/dev/full", os.O_WRONLY)
        return self._descriptor


def append(path: Path, *lines: bytes) -> Segment:
    """One owner's commit."""
    writer = SegmentWriter(path, probe=unwatched)
    writer.append(b"".join(line + b"\n" for line in lines))
    writer.close()
    return as_it_is(writer)


def as_it_is(writer: SegmentWriter, *, token: int = 1) -> Segment:
    """What the database is told."""
    return Segment(token=token, size=writer.size, crc=writer.crc)


def flip(path: Path, at: int, *, bit: int = 0) -> None:
    """Damage one bit."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def read(folder: Path, *segments: Segment) -> list[bytes]:
    return [line for _, _, line in committed_lines(folder, "b", segments)]


@given(SEGMENTS)
def test_what_lies_behind_the_committed_length_never_happened(segments) -> None:
    with TemporaryDirectory() as name:
        folder, committed = Path(name), []
        for token, (lines, rest) in enumerate(segments, 1):
            content = b"".join(line + b"\n" for line in lines)
            segment_path(folder, "b", token).write_bytes(content + rest)
            committed.append(Segment(token=token, size=len(content), crc=crc32(content)))

        found = list(committed_lines(folder, "b", committed))

        assert [(token, line) for token, _, line in found] == [
            (token, line) for token, (lines, _) in enumerate(segments, 1) for line in lines
        ]
        for token, offset, line in found:
            content = segment_path(folder, "b", token).read_bytes()
            assert content[offset : offset + len(line) + 1] == line + b"\n"


@given(st.lists(LINES.filter(bool), max_size=5))
def test_each_append_gives_the_length_to_commit(appends: list[list[bytes]]) -> None:
    with TemporaryDirectory() as name:
        folder, expected = Path(name), list[bytes]()
        writer = SegmentWriter(segment_path(folder, "b", 1), probe=unwatched)

        for lines in appends:
            size = writer.append(b"".join(line + b"\n" for line in lines))
            expected += lines
            assert read(folder, as_it_is(writer)) == expected
            assert size == writer.size

        writer.close()


def test_the_lines_of_a_result_are_its_journal(tmp_path: Path) -> None:
    line = write_line(Result(n=3, outcome="succeeded"))
    writer = SegmentWriter(segment_path(tmp_path, "b", 1), probe=unwatched)

    writer.append(line)
    writer.close()

    assert read(tmp_path, as_it_is(writer)) == [line[:-1]]


def test_an_owner_that_lost_its_lease_writes_on_and_harms_nobody(tmp_path: Path) -> None:
    stale = SegmentWriter(segment_path(tmp_path, "b", 1), probe=unwatched)
    stale.append(b"one\n")
    first = as_it_is(stale)
    present = SegmentWriter(segment_path(tmp_path, "b", 2), probe=unwatched)
    present.append(b"two\n")
    second = as_it_is(present, token=2)

    stale.append(b"late\n")
    present.append(b"three\n")
    third = as_it_is(present, token=2)
    stale.append(b"later\n")
    stale.close()
    present.close()

    assert read(tmp_path, first, second) == [b"one", b"two"]
    assert read(tmp_path, first, third) == [b"one", b"two", b"three"]


def test_two_owners_never_share_a_segment(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    append(path, b"one")

    with pytest.raises(StoreUnwritable, match=re.escape(str(path))):
        append(path, b"two")

    assert path.read_bytes() == b"one\n"


def test_a_segment_appears_with_its_first_line(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    writer = SegmentWriter(path, probe=unwatched)

    existed = path.exists()
    writer.append(b"one\n")
    writer.close()

    assert not existed
    assert path.exists()


def test_a_writer_that_wrote_nothing_leaves_no_file(tmp_path: Path) -> None:
    SegmentWriter(segment_path(tmp_path, "b", 1), probe=unwatched).close()

    assert os.listdir(tmp_path) == []


def test_a_line_is_durable_before_its_length_is_known(tmp_path: Path) -> None:
    watch = Watch()
    writer = SegmentWriter(segment_path(tmp_path, "b", 1), probe=watch)

    writer.append(b"one\n")
    writer.append(b"two\n")
    writer.close()

    effects = [name for name, moment in watch.crossings if moment == "after"]
    each = ["journal.write", "journal.fsync"]
    assert effects == ["journal.create", "folder.fsync", *each, *each]


@pytest.mark.parametrize("size", [0, 3, 7])
def test_a_segment_shorter_than_what_was_committed_is_noticed(tmp_path: Path, size: int) -> None:
    path = segment_path(tmp_path, "b", 1)
    append(path, b"one", b"two")
    os.truncate(path, size)

    with pytest.raises(StoreCorrupt, match=re.escape(str(path))):
        read(tmp_path, WHOLE)


def test_a_segment_that_is_gone_is_noticed(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)

    with pytest.raises(StoreCorrupt, match=re.escape(f"{str(path)!r} is gone")):
        read(tmp_path, WHOLE)


def test_a_length_that_does_not_end_a_line_is_noticed(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    append(path, b"one", b"two")

    with pytest.raises(StoreCorrupt, match="cut in the middle"):
        read(tmp_path, Segment(token=1, size=6, crc=crc32(b"one\ntw")))


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("bit", [0, 7])
def test_a_bit_that_changed_is_noticed_before_a_line_is_read(
    tmp_path: Path, at: int, bit: int
) -> None:
    path = segment_path(tmp_path, "b", 1)
    segment = append(path, b"one", b"two")
    flip(path, at, bit=bit)

    with pytest.raises(StoreCorrupt) as refused:
        next(committed_lines(tmp_path, "b", [segment]))

    assert f"{str(path)!r} does not match its checksum" in str(refused.value)
    assert f"`anybatch rm {tmp_path.name}`" in str(refused.value)


def test_a_bit_that_changed_behind_the_committed_length_is_no_matter(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    committed = append(path, b"one", b"two")
    with open(path, "ab") as file:
        file.write(b"late\n")
    flip(path, 9)

    assert read(tmp_path, committed) == [b"one", b"two"]


def test_the_checksum_of_a_long_segment_takes_constant_memory(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    segment = append(path, *[b"x" * 1_000] * 20_000)

    tracemalloc.start()
    count = sum(1 for _ in committed_lines(tmp_path, "b", [segment]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 8_000_000


def test_a_folder_in_place_of_a_segment_is_named(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    path.mkdir()

    for reads in (lambda: read(tmp_path, WHOLE), lambda: lines_behind(path, 0)):
        with pytest.raises(StoreCorrupt, match=re.escape(f"{str(path)!r} cannot be read")):
            reads()


def test_whole_lines_behind_a_length_are_counted(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    before = lines_behind(path, 0)
    path.write_bytes(b"one\ntwo\nthr")

    assert before == 0
    assert [lines_behind(path, size) for size in (0, 4, 8, 11, 99)] == [2, 1, 0, 0, 0]


def test_a_batch_without_a_journal_has_no_results(tmp_path: Path) -> None:
    assert read(tmp_path) == []


def test_a_full_disk_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    writer = OnFullDisk(path, probe=unwatched)

    with pytest.raises(StoreUnwritable) as refused:
        writer.append(b"one\n")
    writer.close()

    assert str(refused.value) == (
        f"cannot write {str(path)!r}: the disk is full; free some space, "
        "then run the same command again"
    )
    assert writer.size == 0


def test_a_disk_that_takes_a_part_leaves_what_was_committed(tmp_path: Path) -> None:
    path = segment_path(tmp_path, "b", 1)
    writer = SegmentWriter(path, probe=unwatched)
    writer.append(b"one\n")
    committed = as_it_is(writer)

    with largest_file(6), pytest.raises(StoreUnwritable, match=re.escape(str(path))):
        writer.append(b"two\n")
    writer.close()

    assert path.read_bytes() == b"one\ntw"
    assert as_it_is(writer) == committed
    assert read(tmp_path, committed) == [b"one"]


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    path = segment_path(tmp_path / "gone", "b", 1)

    with pytest.raises(StoreUnwritable, match=re.escape(str(path))):
        append(path, b"one")
