"""The documents of the project, read as Markdown: their fenced blocks, names and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Documents whose examples are run."""
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    line: int
    """Of its first line of content."""
    language: str
    text: str


def blocks(document: str) -> Iterator[Block]:
    for found in _FENCE.finditer(document):
        line = document.count("\n", 0, found.start()) + 2
        yield Block(line=line, language=found[1], text=found[2])


def prose(document: str) -> str:
    """All but the fenced blocks."""
    return _FENCE.sub("", document)


def code_words(document: str) -> list[str]:
    """What stands in backquotes outside the blocks."""
    return _CODE.findall(prose(document))


def links(document: str) -> list[str]:
    return _LINK.findall(prose(document))


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))
