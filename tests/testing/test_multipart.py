"""Forms are read where they lie; what is no form is noticed."""

from pathlib import Path

import pytest

from anybatch.testing.service.multipart import BadForm, boundary_of, digest_without, parts

TWO = (
    b"something before\r\n"
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
    b'--x\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name="b"; filename="f"'
    b"\r\n\r\ntwo\r\n--y\r\n\r\n--x--\r\nsomething behind"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "body"


def test_parts_are_found_with_all_that_is_in_them(file: Path) -> None:
    file.write_bytes(TWO)

    first, second = parts(file, b"x")

    assert (first.name, first.filename, first.content.read()) == ("a", None, b"one")
    assert (second.name, second.filename) == ("b", "f")
    assert second.content.read() == b"two\r\n--y\r\n"


def test_an_empty_part_is_a_part(file: Path) -> None:
    file.write_bytes(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--x--')

    (part,) = parts(file, b"x")

    assert part.content.read() == b""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        TWO.partition(b"--x--")[0],
        b"--x\r\nno headers",
        b"--x\r\nX-Name: a\r\n\r\none\r\n--x--",
    ],
)
def test_what_is_no_form_is_noticed(file: Path, body: bytes) -> None:
    file.write_bytes(body)

    with pytest.raises(BadForm):
        parts(file, b"x")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"; more', b"a b"),
        ("multipart/form-data", b""),
        ("application/json", b""),
    ],
)
def test_a_boundary_is_read_off_the_content_type(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


def test_the_boundary_makes_no_difference_to_the_digest(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    file.write_bytes(TWO)
    other.write_bytes(TWO.replace(b"--x", b"--zz"))

    assert digest_without(file, b"--x") == digest_without(other, b"--zz")
    assert digest_without(file, b"") != digest_without(other, b"")
