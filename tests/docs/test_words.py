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


def printed(script: str, *options: str) -> str:
    command = [sys.executable, ROOT / "docs" / script, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_outcomes_page_is_printed_from_the_table() -> None:
    assert (ROOT / "docs" / "outcomes.md").read_text("utf-8") == printed("print_outcomes.py")


def test_the_providers_page_is_printed_from_the_facts() -> None:
    assert (ROOT / "docs" / "providers.md").read_text("utf-8") == printed("print_providers.py")


def test_the_readme_has_the_table_of_providers() -> None:
    assert printed("print_providers.py", "--table") in (ROOT / "README.md").read_text("utf-8")
