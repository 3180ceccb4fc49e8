"""In which encoding a text is written."""

import codecs
import io
import re
from dataclasses import dataclass

from ..errors import BadInput
from .alphabets import latin_code_page
from .streams import HEAD_BYTES, Stream, blocks, marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    name: str
    errors: str = "strict"
    """`surrogateescape` where some bytes may be wrong: rows that hold them are bad."""


def open_text(stream: Stream, encoding: Encoding) -> io.TextIOWrapper:
    """The text with its line ends as they are."""
    return io.TextIOWrapper(
        stream.open(), encoding=encoding.name, errors=encoding.errors, newline=""
    )


def find_encoding(stream: Stream) -> Encoding:
    """Byte order mark first, then UTF-8 if all of it is, then what the letters suggest."""
    if mark := marked(stream.head) or _unmarked_utf16(stream.head):
        return Encoding(name=mark)
    if not stream.repeatable and _is_utf8(stream.head):
        return Encoding(name="utf-8", errors="surrogateescape")
    wrong = _first_wrong(stream)
    if wrong is None:
        return Encoding(name="utf-8")
    if wrong.after_multibyte:
        return Encoding(name="utf-8", errors="surrogateescape")
    return Encoding(name=guess_encoding(wrong.around, name=stream.name))


def _unmarked_utf16(head: bytes) -> str | None:
    if re.match(rb"(?:[^\0]\0){3}", head):
        return "utf-16-le"
    if re.match(rb"(?:\0[^\0]){3}", head):
        return "utf-16-be"
    return None


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrong:
    """The first place that is not UTF-8."""

    around: bytes
    after_multibyte: bool
    """UTF-8 beyond ASCII came before it: the file is UTF-8 with damage, not another encoding."""


def _first_wrong(stream: Stream) -> _Wrong | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    multibyte = False
    with stream.open() if stream.repeatable else io.BytesIO(stream.head) as file:
        for block in blocks(file):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return _wrong(error, after_multibyte=multibyte)
            multibyte = multibyte or not block.isascii()
    pending, _ = decoder.getstate()
    return _Wrong(around=pending, after_multibyte=multibyte) if pending else None


def _wrong(error: UnicodeDecodeError, *, after_multibyte: bool) -> _Wrong:
    start, text = error.start, error.object
    around = text[max(0, start - HEAD_BYTES) : start + HEAD_BYTES]
    return _Wrong(around=around, after_multibyte=after_multibyte or not text[:start].isascii())


_JAPANESE = ("cp932", "euc_jp")
_ASIAN = ("gb18030", "big5", "cp949", *_JAPANESE)
_LATIN = ("cp1252", "cp1250", "cp1254")
_OTHER = ("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256")
_WORD = re.compile(rb"[A-Za-z\x80-\xff]{2,}")
_KANA = re.compile("[\u3041-\u30fe]")


def guess_encoding(sample: bytes, *, name: str) -> str:
    """The likeliest encoding of text that is not UTF-8."""
    # Few files need it, and it takes longer to import than all the rest of this package.
    import charset_normalizer

    if japanese := next((code for code in _JAPANESE if _has_kana(sample, code)), None):
        return japanese
    latin = _foreign_share(sample) <= 0.7
    candidates = [*(_LATIN if latin else _OTHER), *_ASIAN]
    best = charset_normalizer.from_bytes(sample, cp_isolation=candidates).best()
    if best is not None and best.encoding not in _LATIN:
        return best.encoding
    if not latin or not any(_decodes(sample, code_page) for code_page in _LATIN):
        raise BadInput(
            f"{name!r} is not UTF-8, and what it is instead cannot be found. "
            "Save it as UTF-8 and try again."
        )
    # The Latin code pages differ in a few letters, which the library is at a loss to tell apart.
    return latin_code_page(sample, _LATIN)


def _decodes(sample: bytes, encoding: str) -> bool:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _foreign_share(sample: bytes) -> float:
    """How much of the words beyond ASCII is beyond ASCII.

    Latin scripts have a few such letters in a word; other scripts have nothing else.
    """
    words = b"".join(word for word in _WORD.findall(sample) if not word.isascii())
    return sum(byte >= 0x80 for byte in words) / max(1, len(words))


def _has_kana(sample: bytes, encoding: str) -> bool:
    """No Japanese text is without them, and no other text has many, whatever it is taken for."""
    text = sample.decode(encoding, "replace")
    foreign = sum(not letter.isascii() for letter in text)
    wrong = text.count("\ufffd")
    # A sample may begin and end in the middle of a letter.
    return wrong <= 2 and len(_KANA.findall(text)) > 0.2 * foreign
