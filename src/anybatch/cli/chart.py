"""A bar for each way to get something answered, as a picture that needs nothing but itself."""

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from ..core.offers import money
from ..effects import unwatched
from ..errors import OutputExists, UsageError
from ..store.files import replace_whole

_FORMATS = (".svg", ".html")
_WIDTH = 880
_BAR, _PITCH, _TOP = 22, 34, 64
_LETTER = 7.4
"""About as wide is one of our letters."""
_TAKEN, _OTHER, _TEXT, _FAINT = "#0b7a53", "#8fa3b8", "#1b1f24", "#5c6670"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Bar(NamedTuple):
    """One way."""

    name: str
    dollars: float
    said: str = ""
    """What stands behind the dollars."""
    is_taken: bool = False


def check_chart(path: Path, *, force: bool) -> None:
    """Raise UsageError before any work is done for nothing."""
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"--chart {str(path)!r}: a chart is a .svg or an .html file; name one")
    if path.exists() and not force:
        raise OutputExists(f"{str(path)!r} exists. Choose another name, or overwrite with --force.")


def write_chart(path: Path, title: str, bars: Sequence[Bar], notes: Sequence[str]) -> None:
    """Raises StoreUnwritable."""
    drawn = svg(title, bars, notes)
    if path.suffix.lower() == ".html":
        drawn = _page(title, drawn)
    replace_whole(path, drawn.encode(), name="chart", probe=unwatched)


def svg(title: str, bars: Sequence[Bar], notes: Sequence[str] = ()) -> str:
    """A picture of `bars`, those that are taken in green; `notes` stand below."""
    left = min(_WIDTH * 0.5, 32 + _LETTER * max((len(bar.name) for bar in bars), default=0))
    room = _WIDTH - left - 16 - _LETTER * max((len(_behind(bar)) for bar in bars), default=0)
    most = max((bar.dollars for bar in bars), default=0.0) or 1.0
    height = _TOP + _PITCH * len(bars) + 20 * len(notes) + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{_safe(title)}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 34, title, size=17, weight=600),
        *_bars(bars, left=left, scale=max(room, 80.0) / most),
        *(
            _text(16, _TOP + _PITCH * len(bars) + 20 * (n + 1), note, fill=_FAINT)
            for n, note in enumerate(notes)
        ),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _bars(bars: Sequence[Bar], *, left: float, scale: float) -> Iterator[str]:
    for n, bar in enumerate(bars):
        top, middle = _TOP + _PITCH * n, _TOP + _PITCH * n + _BAR / 2 + 4.5
        width, weight = max(1.0, bar.dollars * scale), 600 if bar.is_taken else 400
        fill = _TAKEN if bar.is_taken else _OTHER
        yield f"<g><title>{_safe(f'{bar.name}: {_behind(bar)}')}</title>"
        yield _text(left - 8, middle, bar.name, weight=weight, anchor="end")
        yield (
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2" '
            f'fill="{fill}"/>'
        )
        yield _text(left + width + 8, middle, _behind(bar), weight=weight) + "</g>"


def _behind(bar: Bar) -> str:
    return f"{money(bar.dollars)}  {bar.said}".rstrip()


def _text(
    x: float,
    y: float,
    said: str,
    *,
    size: int = 13,
    weight: int = 400,
    fill: str = _TEXT,
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="{anchor}">{_safe(said)}</text>'
    )


def _safe(said: str) -> str:
    """As it stands in a picture or a page, whatever is in it."""
    return escape(_UNPRINTABLE.sub("\ufffd", said))


def _page(title: str, drawn: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_safe(title)}</title>\n</head>\n<body>\n{drawn}</body>\n</html>\n"
    )
