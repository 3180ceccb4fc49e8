"""The project's own sources, read as syntax: what a module names, however it was imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "anybatch"


def modules(*places: str) -> list[Path]:
    """The Python files of these folders and files of the package; a place may not exist yet."""
    found = [PACKAGE / place for place in places]
    return sorted(
        file
        for place in found
        for file in (place.rglob("*.py") if place.is_dir() else [place])
        if file.is_file()
    )


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def names(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import and every use, aliases resolved.

    `from time import time as t; t()` yields `time.time` twice.
    """
    tree = ast.parse(source)
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        for alias, name in imported(node):
            aliases[alias] = name
            yield node.lineno, name
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and (name := dotted(node)):
            head, _, tail = name.partition(".")
            yield node.lineno, ".".join(filter(None, (aliases.get(head, head), tail)))


def imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (name here, name it stands for). Relative imports are our own and left out."""
    match node:
        case ast.Import(names=found):
            for each in found:
                yield (each.asname, each.name) if each.asname else (each.name.split(".")[0],) * 2
        case ast.ImportFrom(module=str(module), names=found, level=0):
            for each in found:
                yield each.asname or each.name, f"{module}.{each.name}"


def dotted(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            head = dotted(value)
            return f"{head}.{attr}" if head else f"?.{attr}"
        case _:
            return None
