"""Any requests of a run can be read, in any order, in constant memory."""

import os
import re
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.core.model import Request
from anybatch.core.template import Rendered
from anybatch.effects import unwatched
from anybatch.errors import StoreCorrupt, StoreUnwritable
from anybatch.store.numbers import read_numbers, write_numbers
from anybatch.store.requests import ENTRY, RequestFile, RequestWriter
from anybatch.testing import Crash, CrashAt, Watch

from .limits import largest_file

PREFIXES = st.integers(0, 3) | st.integers(0, 2**32 - 1)
BODIES = st.binary(max_size=40)
RENDERED = st.lists(st.builds(Rendered, body=BODIES, prefix=PREFIXES), max_size=40)


def written(folder: Path, requests: Sequence[Rendered], *, at_once: int = 7) -> Path:
    with RequestWriter(folder, probe=unwatched) as writer:
        for start in range(0, len(requests), at_once):
            writer.add(requests[start : start + at_once])
        writer.finish()
    return folder


@given(RENDERED, st.data())
def test_any_requests_are_read_in_any_order(requests: list[Rendered], data: st.DataObject) -> None:
    numbers = st.integers(0, len(requests) - 1) if requests else st.nothing()
    wanted = data.draw(st.lists(numbers))

    with TemporaryDirectory() as folder, RequestFile(written(Path(folder), requests)) as file:
        found = list(file.read(wanted))

    assert found == [Request(n=n, body=requests[n].body) for n in wanted]


@given(RENDERED)
def test_the_index_says_where_each_request_lies(requests: list[Rendered]) -> None:
    with TemporaryDirectory() as folder:
        with RequestFile(written(Path(folder), requests)) as file:
            entries, count = list(file.entries()), file.count
        content = (Path(folder) / "requests.jsonl").read_bytes()
        index_size = (Path(folder) / "requests.index").stat().st_size

    assert count == len(requests)
    assert index_size == ENTRY.size * count == 20 * count
    assert content == b"".join(request.body + b"\n" for request in requests)
    bodies = [content[at : at + length] for at, length, _, _ in entries]
    assert bodies == [request.body for request in requests]
    assert [prefix for _, _, prefix, _ in entries] == [r.prefix for r in requests]


def test_thousands_of_requests_are_read_across_the_edges_of_what_is_read_at_once(tmp_path) -> None:
    requests = [Rendered(b"%d" % n * (n % 5), n) for n in range(5_000)]
    wanted = [*range(1_000, 4_500), 7, 6, 5, *range(1_023, 1_026), 4_999, 0, 0]

    with RequestFile(written(tmp_path, requests, at_once=1_000)) as file:
        found = list(file.read(wanted))
        tail = list(file.entries(4_998, 2))

    assert found == [Request(n=n, body=requests[n].body) for n in wanted]
    assert [prefix for _, _, prefix, _ in tail] == [4_998, 4_999]


def test_a_requests_file_is_written_once(tmp_path: Path) -> None:
    written(tmp_path, [Rendered(b"{}", 0)])

    with pytest.raises(StoreUnwritable, match=re.escape(str(tmp_path))):
        RequestWriter(tmp_path, probe=unwatched)


def test_nothing_is_durable_before_the_files_and_their_names_are(tmp_path: Path) -> None:
    watch = Watch()

    with RequestWriter(tmp_path, probe=watch) as writer:
        writer.add([Rendered(b"{}", 0)])
        writer.finish()

    effects = [name for name, moment in watch.crossings if moment == "after"]
    written = ["requests.write", "index.write"]
    assert effects == [*written, "requests.fsync", "index.fsync", "folder.fsync"]


# --- grouped by prefix ---


@given(st.lists(PREFIXES, max_size=60))
def test_requests_that_share_a_prefix_come_together_and_in_order(prefixes: list[int]) -> None:
    requests = [Rendered(b"{}", prefix) for prefix in prefixes]

    with TemporaryDirectory() as folder, RequestFile(written(Path(folder), requests)) as file:
        numbers = list(file.prefix_order())

    assert sorted(numbers) == list(range(len(prefixes)))
    for group in groups(numbers, prefixes):
        assert group == [n for n, prefix in enumerate(prefixes) if prefix == prefixes[group[0]]]


def groups(numbers: list[int], prefixes: list[int]) -> Iterator[list[int]]:
    """Cut `numbers` where the prefix changes."""
    group: list[int] = []
    for n in numbers:
        if group and prefixes[n] != prefixes[group[0]]:
            yield group
            group = []
        group.append(n)
    if group:
        yield group


PREFIX_LISTS: dict[str, tuple[Sequence[int], bool]] = {
    "no requests": ([], False),
    "one request": ([1], False),
    "all different": (range(5_000), False),
    "all alike": ([7] * 5_000, True),
    "pairs": ([n // 2 for n in range(5_000)], True),
    "hardly any alike": ([*range(5_000), *range(10)], False),
    "alike, but far apart": ([*range(2_500), *range(2_500)], True),
}


@pytest.mark.parametrize(("prefixes", "shared"), PREFIX_LISTS.values(), ids=PREFIX_LISTS.keys())
def test_prefixes_are_shared_if_grouping_them_would_pay(tmp_path, prefixes, shared: bool) -> None:
    requests = [Rendered(b"{}", prefix) for prefix in prefixes]

    with RequestFile(written(tmp_path, requests, at_once=1_000)) as file:
        assert file.shares_prefixes() == shared


# --- memory ---


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """200,000 requests that share five prefixes."""
    requests = [Rendered(b'{"n":%06d}' % n, n % 5) for n in range(200_000)]
    return written(tmp_path, requests, at_once=5_000)


def peak_bytes(read: Callable[[], Iterable[object]]) -> int:
    """The most memory held while everything that `read()` gives goes by."""
    tracemalloc.start()
    try:
        for _ in read():
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_reading_200_000_requests_takes_constant_memory(many: Path) -> None:
    with RequestFile(many) as file:
        assert peak_bytes(lambda: file.read(range(file.count))) < 1_000_000


def test_ordering_200_000_requests_takes_a_few_bytes_each(many: Path) -> None:
    with RequestFile(many) as file:
        assert peak_bytes(file.prefix_order) < 200_000 * 16


def test_large_bodies_are_not_read_all_at_once(tmp_path: Path) -> None:
    length, count = 1 << 20, 64
    with open(tmp_path / "requests.jsonl", "wb") as bodies:
        bodies.truncate((length + 1) * count)  # a hole: it costs no disk
    zeros = bytes(length)
    entries = [ENTRY.pack(n * (length + 1), length, 0, crc32(zeros, n)) for n in range(count)]
    (tmp_path / "requests.index").write_bytes(b"".join(entries))

    with RequestFile(tmp_path) as file:
        assert peak_bytes(lambda: file.read(range(count))) < 5 * length


# --- what the disk can do to it ---


@pytest.mark.parametrize("name", ["requests.jsonl", "requests.index"])
def test_a_file_that_is_gone_is_named_and_nothing_stays_open(tmp_path: Path, name: str) -> None:
    written(tmp_path, [Rendered(b"{}", 0)])
    (tmp_path / name).unlink()
    open_before = len(os.listdir("/dev/fd"))

    with pytest.raises(StoreCorrupt, match=re.escape(str(tmp_path / name))):
        RequestFile(tmp_path)

    assert len(os.listdir("/dev/fd")) == open_before


@pytest.mark.parametrize("name", ["requests.jsonl", "requests.index"])
@pytest.mark.parametrize("lost", [1, 20, 30])
def test_what_was_cut_off_is_noticed_before_anything_is_read(
    tmp_path: Path, name: str, lost: int
) -> None:
    written(tmp_path, [Rendered(b"0123456789", 0)] * 3)
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size - lost)
    open_before = len(os.listdir("/dev/fd"))

    with pytest.raises(StoreCorrupt, match="do not end at the same request") as refused:
        RequestFile(tmp_path)

    assert len(os.listdir("/dev/fd")) == open_before
    assert str(tmp_path / "requests.jsonl") in str(refused.value)
    assert f"`anybatch rm {tmp_path.name}`" in str(refused.value)


def test_what_is_cut_off_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    written(tmp_path, [Rendered(b"0123456789", 0)] * 3)

    with RequestFile(tmp_path) as file:
        os.truncate(tmp_path / "requests.jsonl", 25)
        with pytest.raises(StoreCorrupt, match="ends at byte 25, too early"):
            list(file.read([2]))
        os.truncate(tmp_path / "requests.index", 30)
        with pytest.raises(StoreCorrupt, match="ends at byte 30, too early"):
            list(file.entries(1, 2))


def test_a_request_that_is_not_there_is_named(tmp_path: Path) -> None:
    written(tmp_path, [Rendered(b"{}", 0)])

    with RequestFile(tmp_path) as file, pytest.raises(StoreCorrupt, match=r"requests\.index"):
        list(file.read([1]))


@pytest.mark.parametrize("bit", [0, 7])
@pytest.mark.parametrize("name", ["requests.jsonl", "requests.index"])
def test_a_bit_that_changed_gives_no_other_request(tmp_path: Path, name: str, bit: int) -> None:
    bodies = [b'{"n":%d}' % n for n in range(12)]
    written(tmp_path, [Rendered(body, 0) for body in bodies])
    sound = (tmp_path / name).read_bytes()

    for at in range(len(sound)):
        damaged = bytearray(sound)
        damaged[at] ^= 1 << bit
        (tmp_path / name).write_bytes(damaged)
        found = read_until_damage(tmp_path)
        assert found == bodies[: len(found)]
        assert len(found) < 12 or is_no_part_of_a_request(name, at)


def read_until_damage(folder: Path) -> list[bytes]:
    found = []
    with suppress(StoreCorrupt), RequestFile(folder) as file:
        for request in file.read(range(12)):
            found.append(request.body)
    return found


def is_no_part_of_a_request(name: str, at: int) -> bool:
    """A newline between bodies, or a prefix: what nobody reads once the run is planned."""
    newlines = {8 * n + 7 for n in range(10)} | {88, 97}
    return at in newlines if name == "requests.jsonl" else 12 <= at % ENTRY.size < 16


def test_two_requests_that_changed_places_are_noticed(tmp_path: Path) -> None:
    written(tmp_path, [Rendered(b"a", 0), Rendered(b"b", 0)])
    index = (tmp_path / "requests.index").read_bytes()
    last = ENTRY.pack(2, 1, 0, ENTRY.unpack(index[:20])[3])
    (tmp_path / "requests.index").write_bytes(index[:20] + last)

    with RequestFile(tmp_path) as file, pytest.raises(StoreCorrupt, match="request 1"):
        list(file.read([0, 1]))


def test_a_disk_that_takes_no_more_is_named(tmp_path: Path) -> None:
    with RequestWriter(tmp_path, probe=unwatched) as writer:
        writer.add([Rendered(b"x" * 1_000, 0)])

        with largest_file(500), pytest.raises(StoreUnwritable, match=re.escape(str(tmp_path))):
            writer.finish()


# --- the numbers of a batch that is not a range ---


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_numbers_come_back_as_they_were_written(numbers: list[int]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "b.index"

        count = write_numbers(path, numbers, probe=unwatched)

        assert count == len(numbers)
        assert list(read_numbers(path)) == numbers
        assert path.stat().st_size == 4 * count + 4
        assert os.listdir(folder) == ["b.index"]


@given(st.binary(max_size=40))
def test_numbers_that_do_not_match_their_checksum_are_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "b.index"
        path.write_bytes(content)

        with pytest.raises(StoreCorrupt, match=r"b\.index"):
            read_numbers(path)


def test_numbers_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.index"
    write_numbers(path, range(10), probe=unwatched)

    for size in range(44):
        os.truncate(path, size)
        with pytest.raises(StoreCorrupt):
            read_numbers(path)
        write_numbers(path, range(10), probe=unwatched)


def test_numbers_that_are_gone_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreCorrupt, match="is gone"):
        read_numbers(tmp_path / "b.index")


def test_numbers_appear_whole_or_not_at_all_wherever_the_writer_dies(tmp_path: Path) -> None:
    path, watch = tmp_path / "b.index", Watch()
    write_numbers(path, [1, 2, 3], probe=watch)

    for k in range(1, len(watch.crossings) + 1):
        with pytest.raises(Crash):
            write_numbers(path, [4, 5, 6, 7], probe=CrashAt(k))
        assert list(read_numbers(path)) in ([1, 2, 3], [4, 5, 6, 7])


def test_numbers_that_the_disk_refuses_leave_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "b.index"
    write_numbers(path, [1, 2, 3], probe=unwatched)

    with largest_file(10), pytest.raises(StoreUnwritable, match=re.escape(str(path))):
        write_numbers(path, range(100), probe=unwatched)

    assert list(read_numbers(path)) == [1, 2, 3]
