"""Which code page a text in Latin letters is in: the one that turns it into some language."""

from collections.abc import Sequence

_PUNCTUATION = frozenset("«»„“”‚‘’‹›–—…•·°§€£©®™×½¼¾²\xa0")  # noqa: RUF001

_ALPHABETS = tuple(
    frozenset(letters + letters.upper()) | _PUNCTUATION
    for letters in (
        "áàâãçéêíóôõúü",  # Portuguese
        "áéíñóúü¿¡ªº",  # Spanish
        "àâæçéèêëîïôœùûüÿ",  # French
        "àèéìíîòóùúº",  # Italian
        "àçèéíïòóúü·",  # Catalan
        "äöüßé",  # German
        "äëéèïöüáó",  # Dutch
        "åäöéàü",  # Swedish, Finnish
        "æøåéèêóôü",  # Danish, Norwegian
        "áðéíóúýþæö",  # Icelandic
        "ąćęłńóśźż",  # Polish
        "áčďéěíňóřšťúůýžäĺľôŕ",  # Czech, Slovak
        "áéíóöőúüű",  # Hungarian
        "ăâîşţ",  # Romanian
        "čćđšž",  # Croatian, Slovene
        "çğıİöşüâîû",  # Turkish
    )
)


def latin_code_page(sample: bytes, code_pages: Sequence[str]) -> str:
    """The code page whose letters fit one language best; of equals, the first."""
    return max(code_pages, key=lambda code_page: _fit(sample, code_page))


def _fit(sample: bytes, code_page: str) -> float:
    text = sample.decode(code_page, "replace")
    foreign = [letter for letter in text if not letter.isascii()]
    return max(sum(letter in alphabet for letter in foreign) for alphabet in _ALPHABETS)
