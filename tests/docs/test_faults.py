"""The page of faults is printed from the matrix, and each cell of the matrix has a test."""

import importlib.util
from types import ModuleType

import pytest

from ..engine.faults import Cell, Comes, Missing, cells
from .documents import ROOT
from .test_words import printed

CELL = Cell("openai", "poll", "500")


@pytest.fixture(scope="module")
def printer() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("faults", ROOT / "docs" / "print_faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_faults_page_is_printed_from_the_tests() -> None:
    assert (ROOT / "docs" / "faults.md").read_text("utf-8") == printed("print_faults.py")


@pytest.mark.parametrize(
    ("comes", "held", "said"),
    [
        ("again", {CELL: ["a_test"]}, []),
        ("again", {}, ["no test holds the cell openai × poll × 500"]),
        (Missing("it cannot be"), {}, []),
        (Missing("it cannot be"), {CELL: ["a_test"]}, ["a_test holds no cell"]),
    ],
)
def test_a_cell_without_a_test_is_noticed_and_a_test_without_a_cell(
    comes: Comes | Missing, held: dict[Cell, list[str]], said: list[str], printer: ModuleType
) -> None:
    assert printer.amiss({CELL: comes}, held) == said


def test_every_missing_cell_says_why() -> None:
    missing = [comes for _, comes in cells() if isinstance(comes, Missing)]

    assert missing
    assert all(comes.reason for comes in missing)
