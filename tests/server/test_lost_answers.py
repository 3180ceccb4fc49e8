"""Whatever becomes of an answer on its way: what an SDK asked for once is there once.

`docs/serving.md` has the table, and these tests hold it to what is seen.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from anybatch.server.owners import hash_of
from anybatch.testing import FakeEndpoint

from ..judges.judging import ROOT, all_judges_of, told_by
from .losing import FAULTS, Calls, Leaving, losing
from .world import served


def creates(path: str) -> bool:
    return path.endswith("/batches") or ":batchGenerateContent" in path


CALLS: Final[Calls] = {
    "batch": creates,
    "again": creates,
    "named": creates,
    "early": creates,
    "file": lambda path: path.endswith("/files"),
    "part": lambda path: path.endswith("/parts"),
    "start": lambda path: "/upload/" in path and "upload_id" not in path,
    "data": lambda path: "upload_id" in path,
}
OWNERS: Final = [f"{kind}-{fault}" for kind in CALLS for fault in FAULTS]
"""Who calls: each loses one answer, and owns nothing but what that call was about."""
TOLD: Final = "`google-genai`, told to try again: a batch"
ROWS: Final[Mapping[str, Mapping[str, str]]] = {
    "openai": {
        "batch": "`openai`: a batch",
        "file": "`openai`: a file",
        "part": "`openai`: a part of an upload",
    },
    "anthropic": {"batch": "`anthropic`: a batch"},
    "google-genai": {
        "batch": "`google-genai`: a batch",
        "early": f"{TOLD}; who waits goes before the answer is there",
        "named": f"{TOLD} with an `Idempotency-Key`",
        "again": f"{TOLD}; the answer left whole and was lost on its way",
        "start": "`google-genai`: a file, where it begins",
        "data": "`google-genai`: a file, in LANGUAGE, where its bytes are sent",
    },
}
"""What the table calls each kind of call."""
SCRIPTS: Final = {"openai": "openai", "anthropic": "anthropic", "google-genai": "gemini"}
NEWEST: Final = ("openai-3", "anthropic-2", "google-genai-3")


def rows_of(package: str, judge: str) -> dict[str, str]:
    language = "JavaScript" if "-js-" in judge else "Python"
    return {kind: row.replace("LANGUAGE", language) for kind, row in ROWS[package].items()}


def documented() -> dict[str, tuple[str, ...]]:
    """The table, row by row."""
    section = (ROOT / "docs" / "serving.md").read_text().split("## An answer that gets lost")[1]
    lines = re.findall(r"^\| (`.*) \|$", section.split("\n## ")[0], re.MULTILINE)
    return {name: tuple(cells) for name, *cells in (line.split(" | ") for line in lines)}


def cell(seen: Mapping[str, Any]) -> str:
    assert "failed" not in seen, seen["failed"]
    return f"{seen['there']}{', raised' if seen['raised'] else ''}"


def judges() -> list[Any]:
    """The newest in Python, and all others where there is time."""
    return [
        pytest.param(package, judge, marks=() if judge in NEWEST else pytest.mark.gauntlet)
        for package in ROWS
        for judge in all_judges_of(package)
    ]


@pytest.mark.parametrize(("package", "judge"), judges(), ids=lambda name: name)
def test_what_is_there_when_an_answer_was_lost(tmp_path: Path, package: str, judge: str) -> None:
    rows = rows_of(package, judge)
    owners = {owner: hash_of(owner) for owner in OWNERS}
    leaving = Leaving(tmp_path)
    with (
        FakeEndpoint() as endpoint,
        served(tmp_path, endpoint, keys=owners, probe=leaving) as url,
        losing(url.removesuffix("/v1"), OWNERS, CALLS, leaving) as proxy,
    ):
        address = f"http://127.0.0.1:{proxy.server_port}"
        told = told_by(judge, f"{SCRIPTS[package]}_lost", address)

    seen = {
        row: tuple(cell(told[f"{kind}-{fault}"]) for fault in FAULTS) for kind, row in rows.items()
    }
    assert seen == {row: documented()[row] for row in rows.values()}
    assert {owner: cells for owner, cells in told.items() if owner not in proxy.lost} == {}


def test_the_table_has_no_row_that_nobody_judges() -> None:
    judged = {
        row
        for package in ROWS
        for judge in all_judges_of(package)
        for row in rows_of(package, judge).values()
    }

    assert judged == documented().keys()
