"""The fake's files: uploaded in parts, listed, downloaded, deleted, expired."""

import pytest

from anybatch.testing import Cut, FakeGemini, ManualClock

from .generations import create, download, lines, part, poll, rows, start, upload
from .wires import call, ok

LINES = lines(rows(3))


def address_of(fake: FakeGemini) -> str:
    return start(fake, len(LINES)).headers["x-goog-upload-url"]


def test_a_file_says_what_it_is_and_lives_for_48_hours() -> None:
    with FakeGemini(clock=ManualClock()) as fake:
        file = ok(call(fake, "GET", f"/v1/{upload(fake, LINES, display_name='mine')}"))

    assert (file["displayName"], file["sizeBytes"], file["state"]) == (
        "mine",
        str(len(LINES)),
        "ACTIVE",
    )
    assert (file["createTime"], file["expirationTime"]) == (
        "2030-01-01T00:00:00.000000Z",
        "2030-01-03T00:00:00.000000Z",
    )
    assert (file["mimeType"], file["source"]) == ("application/jsonl", "UPLOADED")


def test_a_file_comes_in_parts() -> None:
    with FakeGemini() as fake:
        address = address_of(fake)
        first = part(fake, address, LINES[:10], command="upload")
        last = part(fake, address, LINES[10:], offset=10, command="upload, finalize")

        assert first.headers["x-goog-upload-status"] == "active"
        assert last.headers["x-goog-upload-status"] == "final"
        assert ok(last)["file"]["sizeBytes"] == str(len(LINES))


def test_an_upload_says_how_much_of_it_is_there() -> None:
    with FakeGemini() as fake:
        address = address_of(fake)
        part(fake, address, LINES[:10], command="upload")
        asked = part(fake, address, b"", command="query")
        wrong = part(fake, address, LINES, offset=7, command="upload")

    assert asked.headers["x-goog-upload-size-received"] == "10"
    assert asked.headers["x-goog-upload-status"] == "active"
    assert wrong.status == 400


def test_an_upload_ends_once() -> None:
    with FakeGemini() as fake:
        address = address_of(fake)
        ok(part(fake, address, LINES, command="upload, finalize"))
        again = part(fake, address, LINES, command="upload, finalize")

        assert again.status == 400
        assert len(fake.ledger.files) == 1


def test_the_bytes_need_no_key_and_their_address_cannot_be_guessed() -> None:
    with FakeGemini(key="right") as fake:
        headers = {"x-goog-api-key": "right", "X-Goog-Upload-Command": "start"}
        begun = [call(fake, "POST", "/upload/v1/files", {}, headers) for _ in range(2)]
        first, second = [one.headers["x-goog-upload-url"] for one in begun]
        sent = part(fake, first, LINES, command="upload, finalize")
        guessed = part(
            fake, second.replace("upload_id=", "upload_id=x"), LINES, command="upload, finalize"
        )

    assert first != second
    assert first.startswith(f"{fake.address}/upload/v1/files?upload_id=")
    assert (sent.status, guessed.status) == (200, 404)


@pytest.mark.parametrize("root", ["/v1", "/v1beta", "/download/v1beta"])
def test_results_are_downloaded_under_every_address(root: str) -> None:
    with FakeGemini() as fake:
        file = poll(fake, create(fake, rows(2)))["response"]["responsesFile"]
        whole = call(fake, "GET", f"{root}/{file}:download?alt=media")
        rest = download(fake, file, range="bytes=5-")

    assert len(whole.body.splitlines()) == 2
    assert (rest.status, rest.body) == (206, whole.body[5:])


def test_what_was_uploaded_is_not_downloaded() -> None:
    with FakeGemini() as fake:
        assert download(fake, upload(fake, LINES)).status == 400


def test_a_file_that_was_deleted_is_gone() -> None:
    with FakeGemini() as fake:
        file = upload(fake, LINES)

        assert ok(call(fake, "DELETE", f"/v1beta/{file}")) == {}
        assert call(fake, "DELETE", f"/v1beta/{file}").error["status"] == "NOT_FOUND"
        assert fake.ledger.leftover_files == ()


def test_files_expire_those_of_results_too() -> None:
    clock = ManualClock()
    with FakeGemini(clock=clock) as fake:
        name = create(fake, rows(1))
        file = poll(fake, name)["response"]["responsesFile"]
        clock.advance(48 * 3600)

        assert download(fake, file).status == 404
        assert ok(call(fake, "GET", "/v1beta/files")) == {}
        assert {one.fate for one in fake.ledger.files} == {"expired"}


def test_a_list_is_walked_to_its_end() -> None:
    with FakeGemini() as fake:
        names = [upload(fake, LINES) for _ in range(3)]
        first = ok(call(fake, "GET", "/v1beta/files?pageSize=2"))
        token = first["nextPageToken"]
        rest = ok(call(fake, "GET", f"/v1beta/files?pageSize=2&pageToken={token}"))

    assert [file["name"] for file in (*first["files"], *rest["files"])] == names[::-1]


def test_a_file_may_choose_its_name_once() -> None:
    with FakeGemini() as fake:
        assert upload(fake, LINES, name="files/mine") == "files/mine"
        assert start(fake, 1, name="files/mine").status == 409


def test_a_file_has_a_limit() -> None:
    with FakeGemini(max_bytes=10) as fake:
        assert start(fake, 11).status == 400


def test_an_upload_whose_answer_is_lost_was_one() -> None:
    with FakeGemini(faults={"upload": [Cut("executed")]}) as fake:
        with pytest.raises(ConnectionError):
            part(fake, address_of(fake), LINES, command="upload, finalize")

        assert len(fake.ledger.files) == 1
