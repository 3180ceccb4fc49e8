"""What holds of every document: links lead somewhere, words are plain, outcomes are the table's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from anybatch.providers.registry import BUILT_IN

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


def test_what_the_pages_say_of_providers_is_printed_from_the_facts() -> None:
    assert printed("print_providers.py") == ""


def test_every_provider_has_a_page() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "providers").glob("*.md")}

    assert pages == {"README", *BUILT_IN}
