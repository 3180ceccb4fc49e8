"""Nothing grows past what can be read at one sitting."""

import ast
from pathlib import Path

import pytest

from .source import modules, relative

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 600


@pytest.mark.parametrize("path", modules("."), ids=relative)
def test_a_function_has_at_most_60_lines_and_a_file_600(path: Path):
    source = path.read_text("utf-8")

    assert long_functions(source) == []
    assert source.count("\n") <= MAX_FILE_LINES


def test_a_long_function_is_noticed():
    body = "    pass\n" * MAX_FUNCTION_LINES

    assert long_functions("class A:\n  async def f():\n" + body) == [("f", 61)]


def long_functions(source: str) -> list[tuple[str, int]]:
    functions = [
        (node.name, node.end_lineno - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]
    return [(name, lines) for name, lines in functions if lines > MAX_FUNCTION_LINES]
