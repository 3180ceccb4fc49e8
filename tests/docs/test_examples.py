"""The examples in the documents run, in order, and print what the documents say they print.

Blocks marked `sh` and `python` are run, `console` and others are not. A block marked `output` is
what the block before it prints. A `python` block that defines tests is run by pytest.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anybatch.testing import FakeEndpoint

from .documents import EXAMPLES, Block, blocks, name_of

LIMIT_S = 60.0
KEPT = ("LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


def environment(home: Path, endpoint: FakeEndpoint) -> dict[str, str]:
    """Nothing of ours but the programs: no keys, no store, no settings."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ours = {"HOME": str(home), "ANYBATCH_HOME": str(home / ".anybatch"), "PATH": programs}
    return {**kept, **ours, "COLUMNS": "100", "ENDPOINT": endpoint.base_url}


def command(block: Block, folder: Path) -> list[str]:
    if block.language == "sh":
        return ["bash", "-euo", "pipefail", "-c", block.text]
    if "def test_" not in block.text:
        return [sys.executable, "-c", block.text]
    module = folder / f"test_line_{block.line}.py"
    module.write_text(block.text, encoding="utf-8")
    return [sys.executable, *PYTEST, str(module)]


def run_block(block: Block, folder: Path, variables: dict[str, str]) -> str:
    """Run `block`; what it printed."""
    finished = subprocess.run(
        command(block, folder),
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    said = f"line {block.line}:\n{block.text}\n{finished.stdout}{finished.stderr}"
    assert finished.returncode == 0, said
    return finished.stdout


def run_document(text: str, folder: Path, variables: dict[str, str]) -> int:
    """Run the examples of a document; how many there were."""
    printed, count = None, 0
    for block in blocks(text):
        if block.language in ("sh", "python"):
            printed, count = run_block(block, folder, variables), count + 1
        elif block.language == "output":
            # What goes out as it is has no line end of its own.
            assert printed is not None, f"line {block.line}: nothing was run before"
            assert printed.rstrip("\n") == block.text.rstrip("\n"), f"line {block.line}"
    return count


def examples() -> list[object]:
    """Each document; the mark on those that run the packaged model."""
    return [
        pytest.param(
            document,
            id=name_of(document),
            marks=[pytest.mark.real_model] if uses_the_model(document) else [],
        )
        for document in EXAMPLES
    ]


def uses_the_model(document: Path) -> bool:
    text = document.read_text("utf-8")
    run = (block.text for block in blocks(text) if block.language in ("sh", "python"))
    return any("local/smollm2" in example for example in run)


@pytest.mark.parametrize("document", examples())
def test_the_examples_of_a_document_run(
    document: Path, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    text = document.read_text("utf-8")

    count = run_document(text, tmp_path, environment(tmp_path, endpoint))

    assert count == len(re.findall(r"^```(?:sh|python)$", text, re.MULTILINE))


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nfalse\n```\n",
        "```sh\nfalse | cat\n```\n",
        "```sh\necho $UNKNOWN\n```\n",
        "```python\nassert False\n```\n",
        "```python\ndef test_it():\n    assert False\n```\n",
        "```sh\necho yes\n```\n```output\nno\n```\n",
    ],
)
def test_a_broken_example_is_noticed(text: str, tmp_path: Path, endpoint: FakeEndpoint) -> None:
    with pytest.raises(AssertionError):
        run_document(text, tmp_path, environment(tmp_path, endpoint))


def test_later_examples_find_the_files_of_earlier_ones(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    text = "```sh\necho yes > said\n```\n```python\nprint(open('said').read(), end='')\n```\n"

    count = run_document(text + "```output\nyes\n```\n", tmp_path, environment(tmp_path, endpoint))

    assert count == 2


def test_what_is_meant_for_the_eye_is_not_run(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    count = run_document("```console\n$ false\n```\n", tmp_path, environment(tmp_path, endpoint))

    assert count == 0
