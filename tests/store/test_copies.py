"""Rows that ask the same share one request: told apart by their bytes, and never mixed up."""

import tempfile
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anybatch.core.model import Run
from anybatch.core.template import Rendered
from anybatch.effects import unwatched
from anybatch.errors import StoreCorrupt
from anybatch.store.copies import alike, asked, copies_of, firsts, merge
from anybatch.store.digests import digests_of
from anybatch.store.requests import RequestFile, RequestWriter

from .given import RUN

BODIES = st.lists(st.sampled_from([b"{}", b'{"a":1}', b'{"a":2}', b'{"b":1}', b"[]"]), max_size=30)
HASHES = {"all apart": hash, "by length": len, "all the same": lambda body: 0}


def write(
    folder: Path, bodies: Sequence[bytes], hashed: Callable[[bytes], int] = hash
) -> "array[int]":
    with RequestWriter(folder, probe=unwatched, hashed=hashed) as writer:
        writer.add([Rendered(body, len(body)) for body in bodies])
        writer.finish()
        return writer.hashes


def read(folder: Path) -> list[bytes]:
    with RequestFile(folder) as requests:
        return [request.body for request in requests.read(range(requests.count))]


def merged(folder: Path, bodies: Sequence[bytes], hashed: Callable[[bytes], int] = hash) -> Run:
    """The run of these bodies, once equal ones are one."""
    first_of = firsts(write(folder, bodies, hashed))
    copies = 0 if first_of is None else alike(folder, first_of)
    if first_of is not None and copies:
        merge(folder, first_of, probe=unwatched)
    return replace(RUN, total=len(bodies), copies=copies)


@given(bodies=BODIES, hashed=st.sampled_from(sorted(HASHES)))
def test_each_row_asks_what_it_asked_before_and_equal_rows_ask_once(
    bodies: list[bytes], hashed: str
) -> None:
    with tempfile.TemporaryDirectory() as path:
        run = merged(Path(path), bodies, HASHES[hashed])
        kept, rows = read(Path(path)), asked(Path(path), run)
        copies = copies_of(Path(path), run)

    assert [kept[n] for n in rows] == bodies
    assert len(kept) == run.requests
    if hashed == "all apart":
        assert kept == list(dict.fromkeys(bodies))
    if copies is not None:
        assert [extra + 1 for extra in copies] == [list(rows).count(n) for n in range(len(kept))]


@given(hashes=st.lists(st.integers(0, 40), max_size=60), at_once=st.integers(1, 70))
def test_the_first_of_each_kind_is_found_in_however_many_passes(
    hashes: list[int], at_once: int
) -> None:
    found = firsts(array("q", hashes), at_once=at_once)

    expected = [hashes.index(value) for value in hashes]
    assert list(found or range(len(hashes))) == expected
    assert (found is None) == (len(set(hashes)) == len(hashes))


def test_answered_requests_come_last_and_the_first_of_them_last_of_all(tmp_path: Path) -> None:
    bodies = [b'{"n":%d}' % n for n in (0, 1, 2, 1, 3, 4)]
    first_of = firsts(write(tmp_path, bodies))
    assert first_of is not None
    assert alike(tmp_path, first_of) == 1

    merge(tmp_path, first_of, answered=[1, 4], probe=unwatched)

    run = replace(RUN, total=6, copies=1, reused=2)
    kept = read(tmp_path)
    assert kept == [b'{"n":%d}' % n for n in (0, 2, 4, 3, 1)]
    assert [kept[n] for n in asked(tmp_path, run)] == bodies
    assert (run.requests, run.to_send) == (5, 3)


def test_prefixes_move_with_their_requests(tmp_path: Path) -> None:
    merged(tmp_path, [b"{}", b"{}", b'{"a":1}'])

    with RequestFile(tmp_path) as requests:
        assert [prefix for _, _, prefix, _ in requests.entries()] == [2, 7]


BODIES_OF_SIX = [b'{"n":%d}' % n for n in (0, 1, 0, 2, 1, 0)]


def damages(content: bytes) -> list[bytes]:
    flipped = [
        content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))
    ]
    return [*flipped, *(content[:size] for size in range(len(content))), content + b"\0\0\0\0"]


def test_any_change_to_the_list_of_rows_is_noticed(tmp_path: Path) -> None:
    run = merged(tmp_path, BODIES_OF_SIX)
    path = tmp_path / "rows.index"
    content = path.read_bytes()

    for damage in damages(content):
        path.write_bytes(damage)
        with pytest.raises(StoreCorrupt, match=r"rows\.index"):
            asked(tmp_path, run)

    path.unlink()
    with pytest.raises(StoreCorrupt, match="is gone"):
        copies_of(tmp_path, run)


@pytest.mark.parametrize("changes", [{"copies": 2}, {"copies": 4}, {"total": 7}, {"total": 5}])
def test_a_list_of_rows_that_is_not_that_of_the_run_is_noticed(
    changes: dict[str, int], tmp_path: Path
) -> None:
    run = merged(tmp_path, BODIES_OF_SIX)

    with pytest.raises(StoreCorrupt, match=r"rows\.index"):
        asked(tmp_path, replace(run, **changes))


def test_rows_that_all_differ_leave_the_files_as_they_are(tmp_path: Path) -> None:
    run = merged(tmp_path, [b"{}", b"[]"])

    assert not run.is_shared
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests.index", "requests.jsonl"]
    assert asked(tmp_path, run) == range(2)


def test_digests_are_made_once_and_anew_when_they_are_damaged(tmp_path: Path) -> None:
    write(tmp_path, [b"{}", b"[]", b"{}"])
    made = digests_of(tmp_path, probe=unwatched)
    path = tmp_path / "requests.digests"
    content = path.read_bytes()

    assert made[0] == made[2] != made[1]
    for damage in damages(content):
        path.write_bytes(damage)
        assert digests_of(tmp_path, probe=unwatched) == made
    assert path.read_bytes() == content
