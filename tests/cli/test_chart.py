"""Charts: pictures that are valid, safe and to scale."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from anybatch.cli.chart import Bar, check_chart, svg, write_chart
from anybatch.errors import OutputExists, StoreUnwritable, UsageError

NAMED = "{http://www.w3.org/2000/svg}"
BARS = [Bar("real-time", 20.0), Bar("batch", 10.0, "saves 50%", is_taken=True)]


def widths(drawn: str) -> list[float]:
    """Those of the bars."""
    tree = ElementTree.fromstring(drawn)
    return [float(rect.attrib["width"]) for rect in tree.findall(f".//{NAMED}g/{NAMED}rect")]


def texts(drawn: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(drawn).iter(f"{NAMED}text")]


def test_bars_are_as_long_as_they_are_dear() -> None:
    real_time, batch = widths(svg("T", BARS))

    assert real_time == pytest.approx(2 * batch)


def test_each_bar_says_its_name_its_dollars_and_what_it_saves() -> None:
    assert texts(svg("Title", BARS, ["a note"])) == [
        "Title",
        "real-time",
        "$20.00",
        "batch",
        "$10.00  saves 50%",
        "a note",
    ]


@pytest.mark.parametrize("bars", [[], [Bar("free", 0.0)], [Bar("x" * 300, 1e9, "y" * 50)]])
def test_whatever_there_is_to_draw_is_drawn_within_the_picture(bars: list[Bar]) -> None:
    drawn = svg("T", bars)

    assert len(widths(drawn)) == len(bars)
    assert all(0 < width < 880 for width in widths(drawn))


HOSTILE = "<script>alert('1')</script> & \"quoted\" \x00\x1b[31m \ud800 \uffff 日本"


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_what_a_model_is_called_runs_nothing(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"chart{suffix}"

    write_chart(path, HOSTILE, [Bar(HOSTILE, 1.0, HOSTILE)], [HOSTILE])

    written = path.read_bytes().decode()
    assert "<script" not in written
    assert "日本" in written
    start, end = written.index("<svg"), written.index("</svg>") + len("</svg>")
    assert len(texts(written[start:end])) == 4


def test_a_page_holds_the_picture_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chart.html"

    write_chart(path, "T", BARS, [])

    written = path.read_text()
    assert svg("T", BARS) in written
    assert "default-src 'none'" in written
    assert "<script" not in written
    assert "http" not in written.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_only_pictures_and_pages_are_written_and_no_file_is_overwritten(tmp_path: Path) -> None:
    there = tmp_path / "there.svg"
    there.write_text("mine")

    with pytest.raises(UsageError, match=r"a \.svg or an \.html file"):
        check_chart(tmp_path / "chart.png", force=True)
    with pytest.raises(OutputExists, match="--force"):
        check_chart(there, force=False)
    check_chart(there, force=True)
    check_chart(tmp_path / "NEW.SVG", force=False)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match="cannot write"):
        write_chart(tmp_path / "nope" / "chart.svg", "T", BARS, [])
