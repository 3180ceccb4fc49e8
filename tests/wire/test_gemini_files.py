"""Gemini's files as bytes: announced, uploaded, listed."""

from datetime import UTC, datetime

import pytest

from anybatch.wire import gemini_files as wire
from anybatch.wire.reading import Malformed

AT = datetime(2026, 11, 1, 0, 0, 0, 123456, UTC)
DEEP = b"[" * 100_000 + b"]" * 100_000


def test_an_upload_is_announced_with_its_size() -> None:
    file = wire.RemoteFile(display_name="in.jsonl", size=20)

    assert wire.start_headers(file) == {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": "20",
        "X-Goog-Upload-Header-Content-Type": "application/jsonl",
    }
    assert wire.write_start(file) == (
        b'{"file":{"displayName":"in.jsonl","mimeType":"application/jsonl","sizeBytes":"20"}}'
    )
    assert wire.read_file(wire.write_start(file)) == file


@pytest.mark.parametrize(("last", "command"), [(False, "upload"), (True, "upload, finalize")])
def test_the_last_part_of_an_upload_says_so(last: bool, command: str) -> None:
    headers = wire.part_headers(offset=8_388_608, last=last)

    assert headers == {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": "8388608"}


UPLOADED = wire.RemoteFile(
    name="files/abc",
    display_name="d",
    size=20,
    state="ACTIVE",
    created_at=AT,
    expires_at=AT,
    address="https://x/v1beta/files/abc",
)
UPLOADED_BODY = (
    b'{"name":"files/abc","displayName":"d","mimeType":"application/jsonl","sizeBytes":"20",'
    b'"createTime":"2026-11-01T00:00:00.123456Z","updateTime":"2026-11-01T00:00:00.123456Z",'
    b'"expirationTime":"2026-11-01T00:00:00.123456Z","uri":"https://x/v1beta/files/abc",'
    b'"state":"ACTIVE"}'
)


def test_a_file_is_written_and_read_in_its_envelope_or_without() -> None:
    assert wire.write_file(UPLOADED) == UPLOADED_BODY
    assert wire.read_file(UPLOADED_BODY) == UPLOADED
    assert wire.read_file(b'{"file":%b}' % UPLOADED_BODY) == UPLOADED


def test_an_announcement_may_be_in_snake_case_with_numbers() -> None:
    body = b'{"file":{"name":"files/m","mime_type":"jsonl","size_bytes":8388618}}'

    found = wire.read_file(body)

    assert found == wire.RemoteFile(name="files/m", mime_type="jsonl", size=8_388_618)


def test_a_page_of_files_is_read() -> None:
    body = b'{"files":[%b,{},7],"nextPageToken":"t"}' % UPLOADED_BODY

    assert wire.read_files(body) == ([UPLOADED], "t")
    assert wire.read_files(b"{}") == ([], None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"file":5}', b"<html>", DEEP])
def test_what_is_no_file_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.read_file(body)
