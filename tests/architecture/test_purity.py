"""What the sources may not do: the middle touches no world, and nothing runs text as code."""

import re

import pytest

from .source import modules, names, relative

PURE = ("core", "wire", "providers", "engine/decide.py")

WORLD = re.compile(
    r"(time|random|uuid|secrets|logging|subprocess|socket|tempfile|shutil|glob)(\..*)?"
    r"|open|print|input|io\.open|os\..*"
    r"|(.*\.)?(datetime|date)\.(now|utcnow|today)"
    r"|.*\.(open|read_text|read_bytes|write_text|write_bytes|mkdir|unlink|iterdir)"
)
"""Names that reach a clock, chance, a file or the environment."""

DANGEROUS = re.compile(
    r"(pickle|cPickle|dill|cloudpickle|joblib|marshal|shelve)(\..*)?"
    r"|eval|exec|builtins\.(eval|exec)|yaml\.(load|load_all|unsafe_load|full_load)"
    r"|os\.(system|popen)"
)
"""Names that turn bytes from elsewhere into code."""


def uses(source: str, banned: re.Pattern[str]) -> list[str]:
    return [f"line {line}: {name}" for line, name in names(source) if banned.fullmatch(name)]


@pytest.mark.parametrize("path", modules(*PURE), ids=relative)
def test_the_middle_touches_no_world(path):
    assert uses(path.read_text("utf-8"), WORLD) == []


@pytest.mark.parametrize("path", modules("."), ids=relative)
def test_no_source_runs_text_as_code(path):
    assert uses(path.read_text("utf-8"), DANGEROUS) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import monotonic as m",
        "import random as r; r.random()",
        "from uuid import uuid4",
        "import os; os.environ['HOME']",
        "from os import getenv",
        "open('x')",
        "import datetime; datetime.datetime.now()",
        "from datetime import datetime as dt; dt.now()",
        "from datetime import date; date.today()",
        "from pathlib import Path; Path('x').read_text()",
    ],
)
def test_a_touch_of_the_world_is_noticed(source: str):
    assert uses(source, WORLD)


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime, timedelta; datetime(2026, 1, 2) + timedelta(days=1)",
        "def f(now): return now.isoformat()",
        "from ..core import random",
        "state = 'open'",
        "from pathlib import Path; Path('x').name",
    ],
)
def test_values_from_elsewhere_are_no_touch(source: str):
    assert uses(source, WORLD) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "import builtins; builtins.exec('1')",
        "import yaml; yaml.load('1')",
        "import marshal as m; m.loads(b'')",
        "import os; os.system('ls')",
    ],
)
def test_text_run_as_code_is_noticed(source: str):
    assert uses(source, DANGEROUS)


@pytest.mark.parametrize(
    "source", ["import re; re.compile('x')", "import yaml; yaml.safe_load('')"]
)
def test_harmless_neighbours_pass(source: str):
    assert uses(source, DANGEROUS) == []
