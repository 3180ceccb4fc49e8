"""A comparison of two runs as one page, without a script.

What models and rows say goes through the template's escaping and is text there, nothing else.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from ...effects import unwatched
from ...store.files import replace_whole
from ..comparison import NAMES, Shown, fields, lines, model_of, notes, safe, text_of

_MARK = b'<meta name="generator" content="anybatch compare">'
_LOOKED_AT = 1_000
_LONGEST = 4_000
"""Characters of a text that are shown; the run has all of it."""


def page_of(shown: Shown) -> str:
    """The page, whole."""
    compared = shown.compared
    sides = [(name, model_of(side.run)) for name, side in zip(NAMES, compared.sides, strict=True)]
    return _template().render(
        title=shown.title,
        rows=compared.rows,
        sides=sides,
        lines=lines(shown),
        fields=fields(compared),
        notes=notes(shown),
        differences=[
            {
                "place": shown.place(each),
                "row": each.row.items(),
                "answers": each.answers,
            }
            for each in compared.differences
        ],
    )


@cache
def _template() -> jinja2.Template:
    text = files(__package__).joinpath("comparison.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["said"] = _said
    return environment.from_string(text)


def _said(value: Any) -> str:
    text = text_of(value)
    return safe(text) if len(text) <= _LONGEST else safe(text[:_LONGEST]) + "…"


def write_page(shown: Shown, path: Path) -> None:
    """Put the page where `path` is. Raises StoreUnwritable."""
    content = page_of(shown).encode("utf-8", "replace")
    replace_whole(path, content, name="page", probe=unwatched)


def is_page(path: Path) -> bool:
    """Whether a file is such a page, which can be made anew at any time."""
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_LOOKED_AT)
    except OSError:
        return False
