"""The fake's bucket: objects uploaded at once or in parts, listed, read in stretches, deleted."""

import pytest

from anybatch.testing import Cut, FakeVertex
from anybatch.wire.gcs import GRAIN

from .jobs import download, object_of, objects, part, put, start, uploads
from .wires import call, ok

BYTES = bytes(range(256)) * (GRAIN // 128)
"""Two grains."""


def address_of(fake: FakeVertex, name: str = "in") -> str:
    return start(fake, name).headers["location"]


def test_an_object_says_what_it_is() -> None:
    with FakeVertex() as fake:
        made = ok(call(fake, "POST", uploads(fake, "a/in.jsonl", by="media"), b"12345"))
        seen = ok(call(fake, "GET", object_of(fake, "a/in.jsonl")))

    assert seen == made
    assert (made["bucket"], made["name"], made["size"]) == ("bucket", "a/in.jsonl", "5")
    assert made["md5Hash"] == "gnzLDuqKcGxMNKFokfhOew=="


def test_an_object_comes_in_one_part() -> None:
    with FakeVertex() as fake:
        whole = part(fake, address_of(fake), b"12345", "0-4/5")
        plain = part(fake, address_of(fake, "plain"), b"12345")

        assert (ok(whole)["size"], ok(plain)["size"]) == ("5", "5")
        assert download(fake, "in").body == b"12345"


def test_an_object_comes_in_parts_of_whole_grains() -> None:
    size = len(BYTES) + 3
    with FakeVertex() as fake:
        address = address_of(fake)
        first = part(fake, address, BYTES, f"0-{len(BYTES) - 1}/{size}")
        last = part(fake, address, b"end", f"{len(BYTES)}-{size - 1}/{size}")

        assert (first.status, first.headers["range"]) == (308, f"bytes=0-{len(BYTES) - 1}")
        assert ok(last)["size"] == str(size)
        assert download(fake, "in").body == BYTES + b"end"


def test_of_a_part_that_is_no_whole_grains_the_rest_is_not_kept() -> None:
    with FakeVertex() as fake:
        address = address_of(fake)
        odd = part(fake, address, BYTES[:-1], f"0-{len(BYTES) - 2}/{len(BYTES)}")
        small = part(fake, address_of(fake), b"123", "0-2/5")

    assert odd.headers["range"] == f"bytes=0-{GRAIN - 1}"
    assert (small.status, small.headers.get("range")) == (308, None)


def test_what_is_there_already_is_passed_over() -> None:
    with FakeVertex() as fake:
        address = address_of(fake)
        part(fake, address, BYTES[:GRAIN], f"0-{GRAIN - 1}/{len(BYTES)}")
        whole = part(fake, address, BYTES, f"0-{len(BYTES) - 1}/{len(BYTES)}")
        again = part(fake, address, BYTES, f"0-{len(BYTES) - 1}/{len(BYTES)}")

        assert ok(whole) == ok(again)
        assert download(fake, "in").body == BYTES
        assert len(fake.ledger.files) == 1


def test_an_upload_says_how_much_of_it_is_there() -> None:
    with FakeVertex() as fake:
        address = address_of(fake)
        part(fake, address, BYTES[:GRAIN], f"0-{GRAIN - 1}/{len(BYTES)}")
        asked = part(fake, address, b"", f"*/{len(BYTES)}")
        gap = part(fake, address, b"x", f"{GRAIN + 1}-{GRAIN + 1}/{len(BYTES)}")

    assert (asked.status, asked.headers["range"]) == (308, f"bytes=0-{GRAIN - 1}")
    assert gap.status == 400


def test_an_upload_is_known_by_an_address_that_cannot_be_guessed() -> None:
    with FakeVertex(key="right") as fake:
        with_token = {"authorization": "Bearer right"}
        address = start(fake, "in", **with_token).headers["location"]
        guessed = part(fake, address.replace("upload_id=", "upload_id=x"), b"1")
        without = start(fake, "in")

        assert ok(part(fake, address, b"12345"))["size"] == "5"
        assert (guessed.status, without.status) == (404, 401)


@pytest.mark.parametrize("stretch", ["nonsense", "bytes 0-9/5"])
def test_a_stretch_that_cannot_be_is_refused(stretch: str) -> None:
    with FakeVertex() as fake:
        headers = {"Content-Range": stretch}
        assert call(fake, "PUT", address_of(fake), b"12345", headers).status == 400


def test_another_object_of_the_same_name_takes_its_place() -> None:
    with FakeVertex() as fake:
        put(fake, "in", b"first")
        put(fake, "in", b"second")

        assert download(fake, "in").body == b"second"
        assert [file.fate for file in fake.ledger.files] == ["deleted", "kept"]
        assert [file.filename for file in fake.ledger.leftover_files] == ["in"]


def test_objects_are_listed_by_name_and_by_how_they_begin() -> None:
    with FakeVertex() as fake:
        for name in ("b/2", "a", "b/1", "c d?"):
            put(fake, name, b"x")

        assert objects(fake) == ["a", "b/1", "b/2", "c d?"]
        assert objects(fake, "b/") == ["b/1", "b/2"]
        assert objects(fake, "nothing") == []


def test_a_list_is_walked_page_by_page() -> None:
    with FakeVertex() as fake:
        for name in ("a", "b", "c"):
            put(fake, name, b"x")
        path = f"/storage/v1/b/{fake.bucket}/o?maxResults=2"
        first = ok(call(fake, "GET", path))
        rest = ok(call(fake, "GET", f"{path}&pageToken={first['nextPageToken']}"))

    assert [each["name"] for each in (*first["items"], *rest["items"])] == ["a", "b", "c"]
    assert "nextPageToken" not in rest


def test_a_stretch_of_an_object_is_read() -> None:
    with FakeVertex() as fake:
        put(fake, "in", b"0123456789")
        rest = download(fake, "in", range="bytes=5-")
        behind = download(fake, "in", range="bytes=10-")

    assert (rest.status, rest.body) == (206, b"56789")
    assert rest.headers["content-range"] == "bytes 5-9/10"
    assert behind.status == 416


def test_an_object_that_was_deleted_is_gone() -> None:
    with FakeVertex() as fake:
        put(fake, "in", b"x")

        assert call(fake, "DELETE", object_of(fake, "in")).status == 204
        assert call(fake, "DELETE", object_of(fake, "in")).status == 404
        assert fake.ledger.leftover_files == ()


def test_there_is_one_bucket_and_it_says_so() -> None:
    with FakeVertex(bucket="mine") as fake:
        answered = call(fake, "GET", "/storage/v1/b/yours/o")

        assert answered.status == 404
        assert answered.error["errors"][0]["reason"] == "notFound"
        assert put(fake, "in", b"x") == "gs://mine/in"


def test_an_upload_whose_answer_is_lost_was_one() -> None:
    with FakeVertex(faults={"upload": [Cut("executed")]}) as fake:
        address = address_of(fake)
        with pytest.raises(ConnectionError):
            part(fake, address, b"12345")

        assert ok(part(fake, address, b"12345"))["size"] == "5"
        assert len(fake.ledger.files) == 1
