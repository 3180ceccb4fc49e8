"""Cloud Storage's objects as bytes, and the addresses they lie at."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anybatch.wire import gcs
from anybatch.wire.gcs import Place, RemoteObject
from anybatch.wire.reading import Malformed

AT = datetime(2026, 11, 1, 0, 0, 0, 123456, UTC)
PLACE = Place("b", "a folder/in.jsonl")
KEPT = RemoteObject(place=PLACE, size=20, created_at=AT)
KEPT_BODY = (
    b'{"kind":"storage#object","id":"b/a folder/in.jsonl/7","bucket":"b",'
    b'"name":"a folder/in.jsonl","generation":"7","contentType":"application/jsonl","size":"20",'
    b'"md5Hash":"eA==","timeCreated":"2026-11-01T00:00:00.123456Z",'
    b'"updated":"2026-11-01T00:00:00.123456Z"}'
)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("gs://b/o", Place("b", "o")),
        ("gs://b/a/b.jsonl", Place("b", "a/b.jsonl")),
        ("gs://b/a/", Place("b", "a/")),
        *[(uri, None) for uri in ("gs://b", "gs://b/", "gs:///o", "bq://p.d.t", "files/1", "")],
    ],
)
def test_an_address_names_a_place_or_none(uri: str, place: Place | None) -> None:
    assert gcs.read_uri(uri) == place
    assert place is None or place.uri == uri


def test_what_is_special_in_a_name_is_not_special_in_an_address() -> None:
    assert gcs.object_path(PLACE) == "/storage/v1/b/b/o/a%20folder%2Fin.jsonl"
    assert gcs.content_path(Place("b", "a?b#c")) == "/storage/v1/b/b/o/a%3Fb%23c?alt=media"
    assert gcs.start_path(PLACE) == (
        "/upload/storage/v1/b/b/o?uploadType=resumable&name=a%20folder%2Fin.jsonl"
    )
    assert gcs.list_path(Place("b", "a/"), None) == (
        "/storage/v1/b/b/o?maxResults=1000&prefix=a%2F"
    )
    assert gcs.list_path(Place("b", ""), "t=").endswith("&prefix=&pageToken=t%3D")


@pytest.mark.parametrize(
    ("start", "length", "size", "stretch"),
    [(0, 5, 5, "bytes 0-4/5"), (5, 3, 9, "bytes 5-7/9"), (9, 0, 9, "bytes */9")],
)
def test_a_part_says_where_it_belongs(start: int, length: int, size: int, stretch: str) -> None:
    assert gcs.part_headers(start=start, length=length, size=size) == {"Content-Range": stretch}


@pytest.mark.parametrize(
    ("headers", "count"),
    [({"range": "bytes=0-262143"}, 262_144), ({}, 0), ({"range": "bytes=5-6"}, 0)],
)
def test_the_service_says_how_much_it_has(headers: dict[str, str], count: int) -> None:
    assert gcs.received(headers) == count


def test_an_upload_is_announced_with_its_size() -> None:
    assert gcs.start_headers(5)["X-Upload-Content-Length"] == "5"


def test_an_object_is_written_and_read() -> None:
    assert gcs.write_object(KEPT, generation=7, digest="eA==") == KEPT_BODY
    assert gcs.read_object(KEPT_BODY) == KEPT


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"name":"o"}', b'{"bucket":"b","name":5}', b"<html>"]
)
def test_what_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        gcs.read_object(body)


@pytest.mark.parametrize("token", [None, "t"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_page_of_objects_is_written_and_read(count: int, token: str | None) -> None:
    body = gcs.write_objects([KEPT_BODY] * count, next_page=token)

    assert gcs.read_objects(body) == ([KEPT] * count, token)
    assert (b"items" in body) == (count > 0)


def test_an_error_has_the_services_envelope() -> None:
    assert gcs.write_error(404, "no", reason="notFound") == (
        b'{"error":{"code":404,"message":"no",'
        b'"errors":[{"message":"no","domain":"global","reason":"notFound"}]}}'
    )


@given(st.binary())
def test_nothing_that_comes_raises_anything_else(body: bytes) -> None:
    for read in (gcs.read_object, gcs.read_objects):
        try:
            read(body)
        except Malformed:
            continue
