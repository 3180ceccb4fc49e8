"""The directions of imports, as pyproject.toml states them, and that a wrong one is noticed."""

import subprocess
import sys
from pathlib import Path

import pytest

from .source import ROOT

LAYERS = [
    *("cli", "testing", "server", "transport", "api", "engine", "executors", "store", "datasets"),
    *("providers", "wire", "core", "settings", "effects", "clock", "processes", "errors"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package `anybatch` that lies in `folder` against the project's contracts."""
    command = [
        sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()",
        "--config", str(ROOT / "pyproject.toml"), "--no-cache",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A package with every layer and nothing in it."""
    for name in [".", *LAYERS]:
        package = tmp_path / "anybatch" / name
        package.mkdir()
        (package / "__init__.py").touch()
    (tmp_path / "anybatch" / "engine" / "decide.py").touch()
    return tmp_path


def test_the_package_keeps_its_contracts():
    outcome = lint(ROOT / "src")

    assert outcome.returncode == 0, outcome.stdout


def test_an_empty_skeleton_keeps_the_contracts(skeleton: Path):
    outcome = lint(skeleton)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        pytest.param("core/plan.py", "import anybatch.engine", id="up"),
        pytest.param("core/plan.py", "from ..errors import x\nfrom ..store import y", id="far up"),
        pytest.param("executors/http.py", "import anybatch.store", id="sideways"),
        pytest.param("server/app.py", "import anybatch.api", id="face to face"),
        pytest.param("api.py", "import anybatch.testing", id="product to fakes"),
        pytest.param("core/plan.py", "import anybatch", id="round by the public names"),
        pytest.param("providers/openai.py", "import pyreqwest", id="HTTP in providers"),
        pytest.param("wire/jsonl.py", "import sqlite3", id="SQL in wire"),
        pytest.param("core/retry.py", "import asyncio", id="event loop in core"),
        pytest.param("core/retry.py", "from random import random", id="chance in core"),
        pytest.param("engine/decide.py", "import time", id="clock in decide"),
        pytest.param("helpers.py", "", id="a module outside the layers"),
    ],
)
def test_an_import_against_the_contracts_is_noticed(skeleton: Path, module: str, statement: str):
    (skeleton / "anybatch" / "__init__.py").write_text("from . import api\n")
    (skeleton / "anybatch" / module).write_text(statement)

    outcome = lint(skeleton)

    assert outcome.returncode == 1
    assert "BROKEN" in outcome.stdout or "missing" in outcome.stdout.lower(), outcome.stdout
