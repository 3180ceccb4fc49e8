"""ARCHITECTURE.md speaks of what is there: files, functions, effects, tables."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from .documents import ROOT, blocks, code_words

PACKAGE = ROOT / "src" / "anybatch"
TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")

_ENTRY = re.compile(r"^( *)(\S+)(?:  +(\S.*))?$")
_PLACE = re.compile(r"([\w/]+\.py):([\w.]+)")
_EFFECT = re.compile(r'(?:effect\(|\bname=)"([a-z]+\.[a-z]+)"')


def tree(text: str) -> dict[Path, str]:
    """Path -> what is said of it, from lines indented by two spaces a folder."""
    said: dict[Path, str] = {}
    folders: list[str] = []
    for line in text.splitlines():
        entry = _ENTRY.fullmatch(line)
        assert entry, line
        depth = len(entry[1]) // 2
        folders[depth:] = [entry[2].rstrip("/")]
        said[Path(*folders)] = entry[3] or ""
    return said


def drawn() -> dict[Path, str]:
    """The tree that ARCHITECTURE.md draws."""
    found = next(block for block in blocks(TEXT) if block.text.startswith("src/anybatch/"))
    return tree(found.text)


def is_ours(path: Path) -> bool:
    return path.suffix in (".py", ".sql") and path.name != "__init__.py"


def test_every_file_that_is_drawn_exists() -> None:
    assert [str(path) for path in drawn() if not (ROOT / path).exists()] == []


def test_every_module_and_folder_is_drawn() -> None:
    files = {path.relative_to(ROOT) for path in PACKAGE.rglob("*") if is_ours(path)}
    there = files | {path.parent for path in files}

    assert sorted(map(str, there - set(drawn()))) == []


def test_something_is_said_of_every_file() -> None:
    assert [str(path) for path, said in drawn().items() if not said] == []


@cache
def names_in(path: Path) -> frozenset[str]:
    """What a module defines: functions, classes and their members, constants."""
    return frozenset(_defined(ast.parse(path.read_text("utf-8")).body))


def _defined(body: list[ast.stmt], *, inside: str = "") -> list[str]:
    found: list[str] = []
    for node in body:
        match node:
            case ast.ClassDef(name=name):
                found += [inside + name, *_defined(node.body, inside=f"{inside}{name}.")]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.append(inside + name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.append(inside + name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found.append(inside + name)
    return found


def places() -> list[tuple[str, str]]:
    """(file, name) of every `engine/act.py:claim` in the text."""
    return [(found[1], found[2]) for word in code_words(TEXT) if (found := _PLACE.fullmatch(word))]


def test_the_walk_names_what_is_there() -> None:
    missing = [f"{file}:{name}" for file, name in places() if name not in names_in(PACKAGE / file)]

    assert len(places()) > 50
    assert missing == []


@pytest.mark.parametrize("name", ["fulfil", "Engine.fulfill", "engine"])
def test_a_wrong_name_is_noticed(name: str) -> None:
    assert name not in names_in(PACKAGE / "engine" / "engine.py")


def test_the_files_beside_the_package_that_it_names_exist() -> None:
    named = [word for word in code_words(TEXT) if re.match(r"(tests|docs|benchmarks)/", word)]

    assert named
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_every_effect_is_listed() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    effects = set(_EFFECT.findall(sources))

    assert len(effects) > 15
    assert sorted(effects - set(code_words(TEXT))) == []


def test_every_table_is_listed() -> None:
    steps = (PACKAGE / "store" / "migrations").glob("*.sql")
    tables = re.findall(r"create table (\w+)", "\n".join(step.read_text("utf-8") for step in steps))

    assert tables
    assert sorted(set(tables) - set(code_words(TEXT))) == []
