"""The fake's files: forms in any order, lists by cursor, parts of a content, what is refused."""

import pytest

from anybatch.testing import FakeOpenAI, ManualClock, Phases

from .plain import (
    create,
    download,
    lines,
    poll,
    row,
    send,
    send_batch,
    send_file,
    send_form,
    upload,
)

LINE = lines([row("r1")])
DAY = 86_400


def test_a_file_is_told_of_as_it_was_uploaded() -> None:
    clock = ManualClock()
    now = int(clock.now().timestamp())
    with FakeOpenAI(clock=clock) as fake:
        file = send_file(fake, LINE).json
        again = send(fake, "GET", f"/files/{file['id']}").json

    assert file["id"].startswith("file-")
    assert file == again
    assert {**file, "id": None} == {
        "id": None,
        "object": "file",
        "bytes": len(LINE),
        "created_at": now,
        "filename": "in.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
        "expires_at": now + 30 * DAY,
    }


def test_the_parts_of_a_form_come_in_any_order() -> None:
    parts = [('name="purpose"', b"batch"), ('name="file"; filename="in.jsonl"', LINE)]

    with FakeOpenAI() as fake:
        first = send_form(fake, parts).json
        second = send_form(fake, parts[::-1], boundary="another").json

        assert first["bytes"] == second["bytes"] == len(LINE)
        assert download(fake, second["id"]).body == LINE


def test_a_file_of_many_megabytes_comes_back_as_it_was() -> None:
    content = LINE * 60_000

    with FakeOpenAI() as fake:
        assert download(fake, upload(fake, content)).body == content


def test_a_chunked_upload_arrives() -> None:
    body = b"".join(
        (
            b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n',
            LINE,
            b"\r\n--x--\r\n",
        )
    )
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    headers = {
        "content-type": "multipart/form-data; boundary=x",
        "transfer-encoding": "chunked",
    }

    with FakeOpenAI() as fake:
        answered = send(fake, "POST", "/files", chunked, headers)

        assert download(fake, answered.json["id"]).body == LINE


def test_a_name_of_any_letters_comes_back() -> None:
    parts = [
        ('name="purpose"', b"user_data"),
        ("name=\"file\"; filename*=UTF-8''r%C3%A9sum%C3%A9.txt", b"x"),
    ]
    with FakeOpenAI() as fake:
        quoted = send_file(fake, b"x", filename='a \\"b\\".txt', purpose="user_data").json
        starred = send_form(fake, parts).json

    assert quoted["filename"] == 'a "b".txt'
    assert starred["filename"] == "résumé.txt"


@pytest.mark.parametrize(
    ("parts", "param", "code"),
    [
        ([('name="file"; filename="a.jsonl"', LINE)], "purpose", "missing_required_parameter"),
        ([('name="purpose"', b"batch")], "file", "missing_required_parameter"),
        ([('name="purpose"', b"fun")], "purpose", "invalid_value"),
    ],
)
def test_a_form_that_lacks_something_is_refused(
    parts: list[tuple[str, bytes]], param: str, code: str
) -> None:
    with FakeOpenAI() as fake:
        answered = send_form(fake, parts)

    assert answered.status == 400
    assert (answered.error["param"], answered.error["code"]) == (param, code)


@pytest.mark.parametrize(
    ("content", "filename", "message"),
    [
        (LINE, "in.json", "Must be .jsonl"),
        (b"", "in.jsonl", "empty"),
        (b"hello\n" + LINE, "in.jsonl", "Line 1"),
        (b"\xef\xbb\xbf" + LINE, "in.jsonl", "Line 1"),
    ],
)
def test_what_cannot_be_a_batch_is_refused_at_once(
    content: bytes, filename: str, message: str
) -> None:
    with FakeOpenAI() as fake:
        answered = send_file(fake, content, filename=filename)

    assert answered.status == 400
    assert message in answered.error["message"]
    assert "detail" in answered.json
    assert fake.ledger.files == ()


def test_what_is_wrong_further_down_is_taken() -> None:
    with FakeOpenAI() as fake:
        assert send_file(fake, LINE + b"no json\n").status == 200


def test_a_file_that_is_too_large_is_refused() -> None:
    with FakeOpenAI(max_bytes=len(LINE)) as fake:
        fits, too_large = send_file(fake, LINE), send_file(fake, LINE + b" ")

    assert fits.status == 200
    assert (too_large.status, too_large.error["message"]) == (400, "File is too large.")


def test_a_body_that_is_no_form_is_refused() -> None:
    with FakeOpenAI() as fake:
        plain = send(fake, "POST", "/files", LINE)
        kind = {"content-type": "multipart/form-data; boundary=x"}
        endless = send(fake, "POST", "/files", b'--x\r\nfoo: bar\r\n\r\n"', kind)
        empty = send(fake, "POST", "/files", b"", kind)

    assert [one.status for one in (plain, endless, empty)] == [400, 400, 400]


def test_files_are_listed_page_by_page_the_newest_first() -> None:
    with FakeOpenAI() as fake:
        made = [upload(fake, LINE) for _ in range(3)]
        first = send(fake, "GET", "/files?limit=2").json
        second = send(fake, "GET", f"/files?limit=2&after={first['data'][-1]['id']}").json

    assert [file["id"] for file in first["data"]] == [made[2], made[1]]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (made[2], made[1], True)
    assert [file["id"] for file in second["data"]] == [made[0]]
    assert second["has_more"] is False


def test_a_list_can_begin_with_the_oldest_and_be_of_one_purpose() -> None:
    with FakeOpenAI() as fake:
        first, second = upload(fake, LINE), upload(fake, LINE)
        send_file(fake, b"x", filename="x.txt", purpose="user_data")
        listed = send(fake, "GET", "/files?order=asc&purpose=batch").json

    assert [file["id"] for file in listed["data"]] == [first, second]


def test_an_empty_list_has_no_ids() -> None:
    with FakeOpenAI() as fake:
        listed = send(fake, "GET", "/files").json

    assert listed == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=many", "limit"),
        ("order=random", "order"),
        ("after=file-none", "after"),
    ],
)
def test_a_list_that_cannot_be_is_refused(query: str, param: str) -> None:
    with FakeOpenAI() as fake:
        answered = send(fake, "GET", f"/files?{query}")

    assert answered.status == 400
    assert answered.error["param"] == param


def test_a_deleted_file_is_gone() -> None:
    with FakeOpenAI() as fake:
        file_id = upload(fake, LINE)
        deleted = send(fake, "DELETE", f"/files/{file_id}", headers={"content-type": "a/b"})
        statuses = [
            send(fake, "GET", f"/files/{file_id}").status,
            download(fake, file_id).status,
            send(fake, "DELETE", f"/files/{file_id}").status,
        ]
        listed = send(fake, "GET", "/files").json["data"]

    assert deleted.json == {"id": file_id, "object": "file", "deleted": True}
    assert (statuses, listed) == ([404, 404, 404], [])


def test_an_unknown_file_is_not_found_in_the_services_words() -> None:
    with FakeOpenAI() as fake:
        answered = send(fake, "GET", "/files/file-none")

    assert answered.error == {
        "message": "No such File object: file-none",
        "type": "invalid_request_error",
        "param": "id",
        "code": None,
    }
    assert answered.headers["x-request-id"]


def test_a_content_is_given_to_whoever_accepts_whatever() -> None:
    with FakeOpenAI() as fake:
        answered = download(fake, upload(fake, LINE), accept="application/binary")

    assert (answered.status, answered.body) == (200, LINE)
    assert answered.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("asked", "told", "start", "end"),
    [
        ("bytes=10-19", "bytes 10-19/{size}", 10, 20),
        ("bytes=10-", "bytes 10-{last}/{size}", 10, None),
        ("bytes=-10", "bytes {from_end}-{last}/{size}", -10, None),
        ("bytes=10-99999", "bytes 10-{last}/{size}", 10, None),
    ],
)
def test_a_part_of_a_content_is_given(asked: str, told: str, start: int, end: int | None) -> None:
    size = len(LINE)
    with FakeOpenAI() as fake:
        answered = download(fake, upload(fake, LINE), range=asked)

    assert (answered.status, answered.body) == (206, LINE[start:end])
    expected = told.format(size=size, last=size - 1, from_end=size - 10)
    assert answered.headers["content-range"] == expected


def test_a_part_beyond_the_end_is_refused() -> None:
    with FakeOpenAI() as fake:
        answered = download(fake, upload(fake, LINE), range=f"bytes={len(LINE)}-")

    assert (answered.status, answered.body) == (416, b"")
    assert answered.headers["content-range"] == f"bytes */{len(LINE)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "lines=1-2", "bytes=x-"])
def test_a_part_that_is_not_understood_gets_the_whole(asked: str) -> None:
    with FakeOpenAI() as fake:
        answered = download(fake, upload(fake, LINE), range=asked)

    assert (answered.status, answered.body) == (200, LINE)


def test_a_part_of_a_file_that_has_changed_gets_the_whole() -> None:
    headers = {"range": "bytes=1-2", "if-range": '"another"'}
    with FakeOpenAI() as fake:
        path = f"/files/{upload(fake, LINE)}/content"
        changed = send(fake, "GET", path, headers=headers)
        same = {**headers, "if-range": changed.headers["etag"]}

        assert changed.status == 200
        assert send(fake, "GET", path, headers=same).status == 206


def test_a_service_may_know_nothing_of_parts() -> None:
    with FakeOpenAI(ranges=False) as fake:
        answered = download(fake, upload(fake, LINE), range="bytes=10-19")

    assert (answered.status, answered.body) == (200, LINE)


def test_a_file_lives_as_long_as_it_was_told_to() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock) as fake:
        file = send_file(fake, LINE, anchor="created_at", seconds="3600").json
        clock.advance(3599)
        before = send(fake, "GET", f"/files/{file['id']}").status
        clock.advance(1)
        after = send(fake, "GET", f"/files/{file['id']}").status

    assert file["expires_at"] - file["created_at"] == 3600
    assert (before, after) == (200, 404)
    assert [kept.fate for kept in fake.ledger.files] == ["expired"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"anchor": "created_at", "seconds": "3599"}, "expires_after.seconds"),
        ({"anchor": "created_at", "seconds": "2592001"}, "expires_after.seconds"),
        ({"anchor": "created_at", "seconds": "soon"}, "expires_after.seconds"),
        ({"anchor": "now", "seconds": "3600"}, "expires_after.anchor"),
    ],
)
def test_a_life_that_cannot_be_is_refused(fields: dict[str, str], param: str) -> None:
    with FakeOpenAI() as fake:
        answered = send_file(fake, LINE, **fields)

    assert (answered.status, answered.error["param"]) == (400, param)


def test_result_files_live_from_their_own_creation() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock) as fake:
        after = {"anchor": "created_at", "seconds": 7200}
        batch_id = create(fake, [row("r1")], output_expires_after=after)
        batch = poll(fake, batch_id)
        file = send(fake, "GET", f"/files/{batch['output_file_id']}").json

    assert file["purpose"] == "batch_output"
    assert file["filename"] == f"{batch_id}_output.jsonl"
    assert file["expires_at"] - file["created_at"] == 7200


def test_a_batch_goes_on_when_its_input_is_deleted() -> None:
    clock = ManualClock()
    with FakeOpenAI(clock=clock, phases=Phases(in_progress=60)) as fake:
        file_id = upload(fake, lines([row("r1"), row("r2")]))
        batch_id = send_batch(fake, file_id).json["id"]
        poll(fake, batch_id)
        send(fake, "DELETE", f"/files/{file_id}")
        clock.advance(60)

        assert poll(fake, batch_id)["request_counts"]["completed"] == 2


def test_its_files_are_gone_when_it_is_closed() -> None:
    with FakeOpenAI() as fake:
        upload(fake, LINE)
        folder = fake._vault.path().parent
        assert any(folder.iterdir())

    assert not folder.exists()
    with pytest.raises(RuntimeError, match="closed"):
        fake.start()
