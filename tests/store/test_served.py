"""What a server keeps: files, uploads and orders, each found by its owner alone."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from msgspec.structs import replace

from anybatch.core.model import Usage
from anybatch.core.served import AFTER, OVER, Order, Problem, StoredFile, Upload, UploadPart
from anybatch.store import served
from anybatch.store.blobs import Blobs
from anybatch.store.served import ServedStore

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ServedStore]:
    store = ServedStore(tmp_path)
    yield store
    store.close()


def file(id: str, **changes: Any) -> StoredFile:
    values: dict[str, Any] = {
        "id": id,
        "owner": "me",
        "name": "in.jsonl",
        "purpose": "batch",
        "size": 1,
        "crc": 2**32 - 1,
        "created_at": AT,
        "expires_at": None,
    }
    return StoredFile(**(values | changes))


def order(id: str, **changes: Any) -> Order:
    values: dict[str, Any] = {
        "id": id,
        "owner": "me",
        "face": "openai",
        "api": "openai.chat",
        "asked": {"metadata": {"a": "ü"}},
        "input_file": "file-1",
        "input_size": 9,
        "created_at": AT,
        "expires_at": AT + HOUR,
        "kept_seconds": 3600,
    }
    return Order(**(values | changes))


UPLOAD = Upload(
    id="upload_1",
    owner="me",
    name="in.jsonl",
    purpose="batch",
    mime_type="x",
    size=2,
    kept_seconds=None,
    created_at=AT,
    expires_at=AT + HOUR,
)


def part(id: str) -> UploadPart:
    return UploadPart(id=id, upload_id="upload_1", size=1, created_at=AT)


# --- files ---


def test_a_file_is_found_by_its_owner_until_its_time_is_over(store: ServedStore) -> None:
    kept = file("file-1", expires_at=AT + HOUR)
    store.add_file(kept)

    assert store.file("file-1", owner="me", now=AT) == kept
    assert store.file("file-1", owner="you", now=AT) is None
    assert store.file("file-1", owner="me", now=AT + HOUR) is None
    assert store.outlived_files(AT) == []
    assert store.outlived_files(AT + HOUR) == [kept]


def test_files_are_listed_from_either_end_by_cursor_and_purpose(store: ServedStore) -> None:
    for n in range(5):
        store.add_file(file(f"file-{n}", purpose="batch" if n % 2 == 0 else "user_data"))
    store.add_file(file("file-gone", expires_at=AT))
    store.add_file(file("file-yours", owner="you"))

    def listed(**asked: Any) -> list[str] | None:
        all_there_are = {"most": 10, "purposes": ("batch", "user_data")}
        found = store.files_of("me", now=AT, **(all_there_are | asked))
        return None if found is None else [one.id[-1] for one in found]

    assert listed() == ["4", "3", "2", "1", "0"]
    assert listed(most=2, after="file-3") == ["2", "1"]
    assert listed(newest_first=False, after="file-2") == ["3", "4"]
    assert listed(purposes=["batch"]) == ["4", "2", "0"]
    assert listed(purposes=[]) == []
    assert listed(purposes=["batch"], after="file-3") is None
    assert listed(after="file-0") == []
    assert listed(after="file-yours") is None


def test_a_deleted_file_is_forgotten(store: ServedStore) -> None:
    store.add_file(file("file-1"))

    assert not store.delete_file("file-1", owner="you", now=AT)
    assert store.delete_file("file-1", owner="me", now=AT)
    assert not store.delete_file("file-1", owner="me", now=AT)
    assert store.file_ids() == set()


def test_a_list_goes_on_behind_what_was_deleted_until_that_is_forgotten(
    store: ServedStore,
) -> None:
    for n in range(4):
        store.add_file(file(f"file-{n}"))

    def listed(after: str, owner: str = "me", **asked: Any) -> list[str] | None:
        purposes = asked.pop("purposes", ("batch",))
        found = store.files_of(owner, now=AT, most=10, after=after, purposes=purposes, **asked)
        return None if found is None else [one.id[-1] for one in found]

    for n in (1, 3):
        assert store.delete_file(f"file-{n}", owner="me", now=AT)
    store.add_file(file("file-4"))

    assert listed("file-3") == ["2", "0"]
    assert listed("file-3", newest_first=False) == ["4"]
    assert listed("file-1", newest_first=False) == ["2", "4"]
    assert listed("file-3", owner="you") is None
    assert listed("file-3", purposes=("gemini",)) is None
    store.forget_places(AT - HOUR)
    assert listed("file-1") == ["0"]
    store.forget_places(AT)
    assert listed("file-1") is None


def test_a_list_of_orders_goes_on_behind_what_was_deleted(store: ServedStore) -> None:
    over = [order(f"batch_{n}", status="failed", ended_at=AT) for n in range(3)]
    for each in over:
        store.add_order(each)

    assert store.delete_order(over[1], files=[], now=AT)
    assert not store.delete_order(over[1], files=[], now=AT)

    def listed(owner: str, face: str) -> list[str] | None:
        found = store.orders_of(owner, face=face, most=10, after="batch_1")
        return None if found is None else [each.id for each in found]

    mine = over[1].owner, over[1].face
    assert listed(*mine) == ["batch_0"]
    assert listed("another", mine[1]) is None
    assert listed(mine[0], "another") is None


# --- uploads ---


def test_parts_are_taken_until_an_upload_ends(store: ServedStore) -> None:
    store.add_upload(UPLOAD)

    assert store.add_upload_part(part("part_2"))
    assert store.add_upload_part(part("part_1"))
    assert [one.id for one in store.parts_of("upload_1")] == ["part_2", "part_1"]
    assert store.end_upload(UPLOAD, "completed", file=file("file-1"))
    assert not store.add_upload_part(part("part_3"))
    assert not store.end_upload(UPLOAD, "cancelled")
    assert store.parts_of("upload_1") == []
    assert store.upload("upload_1", owner="you") is None
    ended = store.upload("upload_1", owner="me")
    assert ended == replace(UPLOAD, status="completed", file_id="file-1")
    assert store.file_ids() == {"file-1"}


def test_uploads_that_nobody_completed_are_known(store: ServedStore) -> None:
    store.add_upload(UPLOAD)

    assert store.outlived_uploads(AT) == []
    assert store.outlived_uploads(AT + HOUR) == [UPLOAD]


# --- orders ---


def test_an_order_comes_back_as_it_was_saved(store: ServedStore) -> None:
    taken = order("batch_1")
    store.add_order(taken)
    saved = replace(
        taken,
        status="running",
        started_at=AT,
        total=2,
        model="m",
        runs=("1-0",),
        problems=(Problem(code="c", message="m", line=1),),
        usage=Usage(tokens_in=1),
    )

    assert store.order("batch_1") == taken
    assert store.save_order(saved, seen="received")
    assert store.order("batch_1") == saved


def test_an_order_that_has_moved_is_not_moved_again(store: ServedStore) -> None:
    store.add_order(order("batch_1"))

    assert store.save_order(order("batch_1", status="running"), seen="received")
    made = [file("file-out")]
    assert not store.save_order(order("batch_1", status="failed"), seen="received", files=made)
    assert store.file_ids() == set()


@pytest.mark.parametrize("status", AFTER)
@pytest.mark.parametrize("following", AFTER)
def test_no_order_goes_back(store: ServedStore, status: Any, following: Any) -> None:
    store.add_order(order("batch_1", status=status))
    moved = order("batch_1", status=following)

    if following == status or following in AFTER[status]:
        assert store.save_order(moved, seen=status)
    else:
        with pytest.raises(AssertionError):
            store.save_order(moved, seen=status)


def test_every_order_can_come_to_an_end() -> None:
    def ends(status: Any) -> bool:
        return status in OVER or any(ends(after) for after in AFTER[status])

    assert all(map(ends, AFTER))


def test_open_orders_are_those_that_are_not_over(store: ServedStore) -> None:
    for status in AFTER:
        store.add_order(order(status, status=status))

    assert {one.status for one in store.open_orders()} == AFTER.keys() - OVER


def test_orders_are_listed_by_cursor_for_their_owner_and_protocol(store: ServedStore) -> None:
    for n in range(3):
        store.add_order(order(f"batch_{n}"))
    store.add_order(order("yours", owner="you"))
    store.add_order(order("other", face="anthropic"))

    def listed(**asked: Any) -> list[str] | None:
        found = store.orders_of("me", face="openai", **({"most": 9} | asked))
        return None if found is None else [one.id for one in found]

    assert listed() == ["batch_2", "batch_1", "batch_0"]
    assert listed(after="batch_2", most=1) == ["batch_1"]
    assert listed(after="yours") is None
    assert listed(after="other") is None


def test_the_runs_of_an_order_are_forgotten_once(store: ServedStore) -> None:
    ended = order("batch_1", status="completed", ended_at=AT, runs=("1-0",))
    store.add_order(ended)

    assert store.ended_orders(AT) == []
    assert store.ended_orders(AT + HOUR) == [ended]
    store.forget_runs(ended)
    assert store.ended_orders(AT + HOUR) == []


# --- statements ---


def test_every_statement_is_used_and_every_name_that_is_used_exists() -> None:
    source = Path(served.__file__).read_text("utf-8")
    used = re.findall(r'(?:_run\(|_run_alone\(|_found\(\w+,|name =)\s*"(\w+)"', source)
    used += re.findall(r'else "(\w+_first)"', source)

    assert sorted(set(used)) == sorted(served._SQL)


def test_every_statement_says_in_a_sentence_what_it_does() -> None:
    text = (files("anybatch.store") / "served.sql").read_text("utf-8")

    assert re.findall(r"^-- (\w+) --\n-- [A-Z].*\.$", text, re.MULTILINE) == list(served._SQL)


@pytest.mark.parametrize("name", ["orders_newest_first", "files_newest_first", "open_orders"])
def test_no_list_reads_more_than_its_page(store: ServedStore, name: str) -> None:
    statement = served._SQL[name]
    values = dict.fromkeys(re.findall(r":(\w+)", statement))

    db = sqlite3.connect(store.root / "anybatch.db")
    plan = [row[3] for row in db.execute(f"explain query plan {statement}", values)]
    db.close()

    read = [step for step in plan if step != "LIST SUBQUERY 1" and "json_each" not in step]
    assert read
    assert all("USING INDEX" in step or "USE TEMP B-TREE" in step for step in read), plan
    assert not {"SCAN orders", "SCAN files"} & set(plan)


# --- blobs ---


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    kept, discarded = blobs.begin(), blobs.begin()
    for blob in (kept, discarded):
        blob.write(b"half ")
        blob.write(b"and half")

    before = blobs.file("file-1").exists()
    kept.keep(blobs.file("file-1"))
    kept.discard()
    discarded.discard()

    assert not before
    assert blobs.file("file-1").read_bytes() == b"half and half"
    assert (kept.size, kept.crc) == (13, crc32(b"half and half"))
    assert list((tmp_path / "incoming").iterdir()) == []


def test_parts_are_joined_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    for name in ("a", "b"):
        piece = blobs.begin()
        piece.write(name.encode())
        piece.keep(blobs.part(name))

    blob, digest = blobs.join(["b", "a", "b"])

    assert blob.path.read_bytes() == b"bab"
    assert digest == hashlib.md5(b"bab").hexdigest()
    blob.discard()


def test_what_nobody_knows_of_is_swept_away(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    for path in (blobs.file("known"), blobs.file("unknown"), blobs.part("known")):
        path.write_text("x")
    (tmp_path / "incoming" / "left").write_text("x")

    blobs.sweep(files={"known"}, parts=set())

    assert [path.name for path in sorted((tmp_path / "files").iterdir())] == ["known"]
    assert list((tmp_path / "parts").iterdir()) == []
    assert list((tmp_path / "incoming").iterdir()) == []
