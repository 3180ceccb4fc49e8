"""What holds of every document: links lead somewhere, words are plain, outcomes are the table's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .documents import DOCUMENTS, ROOT, links, name_of, prose

UNSEEN = re.compile(r"`[^`]*`|<!--.*?-->", re.DOTALL)
UNWANTED = re.compile(r"\b(?:simply|just|powerful|easily)\b|!(?!\[)", re.IGNORECASE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_to_files(document: Path) -> None:
    ours = [link for link in links(document.read_text("utf-8")) if "://" not in link]

    assert [link for link in ours if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_words_are_plain(document: Path) -> None:
    text = UNSEEN.sub("", prose(document.read_text("utf-8")))

    assert UNWANTED.findall(text) == []


def test_the_outcomes_page_is_printed_from_the_table() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "docs" / "print_outcomes.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert (ROOT / "docs" / "outcomes.md").read_text("utf-8") == printed
