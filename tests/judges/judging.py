"""The official SDKs as judges: each in an environment of its own, which `make judges` sets up."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from anybatch.testing import BatchLedger, Cut, Fault, Operation, Phases, Stall, Status, matching
from anybatch.testing.endpoint.call import Call
from anybatch.testing.service.faults import Unrun

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
KEY: Final = "sk-judge"
LIMIT_S: Final = 60.0
JAVASCRIPT: Final = ROOT / "requirements" / "judges" / "js"
PACKAGES: Final = {
    "openai": "openai",
    "anthropic": "@anthropic-ai/sdk",
    "google-genai": "@google/genai",
}
"""What the SDKs in JavaScript are called, by the names of those in Python."""
SEEN: Final = Phases(seen=True)
"""No phase of a batch goes by unseen."""

SAID: Final = "/say-"
"""A look at a batch of which the id begins so is answered as the rest of its name says."""
BREAKS: Final[Mapping[str, Fault]] = {
    "cut": Cut("executed"),
    "half": Cut("midway"),
    "late": Stall(3),
}


@dataclass(frozen=True, slots=True)
class Visit:
    """What a judge has to say of a fake, and the books of that fake."""

    judge: str
    told: Mapping[str, Any]
    ledger: BatchLedger

    def __getitem__(self, step: str) -> Any:
        """What it saw in this step. Fails the test if the step failed."""
        seen = self.told[step]
        if isinstance(seen, dict) and "failed" in seen:
            pytest.fail(f"{self.judge}: {seen['failed']}")
        return seen


def judges_of(package: str) -> list[str]:
    """The names of all in Python, as `openai-3`."""
    folder = ROOT / "requirements" / "judges"
    return sorted(path.stem for path in folder.glob(f"{package}-*.in"))


def all_judges_of(package: str) -> list[str]:
    """With the one in JavaScript, as `openai-js-7`."""
    listed = json.loads((JAVASCRIPT / "package.json").read_text())["dependencies"]
    major = listed[PACKAGES[package]].partition(".")[0]
    return [*judges_of(package), f"{package}-js-{major}"]


def python_of(judge: str) -> Path:
    """The interpreter that has the judge's SDK. Skips the test where it is not installed."""
    return _there(ROOT / ".venv" / "judges" / judge / "bin" / "python")


def _there(program: Path) -> Path:
    if not program.exists():
        pytest.skip("an official SDK is not installed beside ours: `make judges` does it")
    return program


def visited(judge: str, script: str, new_fake: Callable[..., Any]) -> Visit:
    """Let a judge go through its script. Skips the test where it is not installed."""
    faults = {"poll": as_asked, "create": matching("tried.again", LOST, times=1)}
    with new_fake(key=KEY, phases=SEEN, rows=fails_as_asked, faults=faults) as fake:
        told = told_by(judge, script, fake.address)
    return Visit(judge, told, fake.ledger)


LOST: Final = Status(500, executed=True)


def as_asked(operation: Operation) -> Fault | None:
    _, asked, word = operation.path.rpartition(SAID)
    if not asked:
        return None
    return BREAKS.get(word) or Status(int(word))


def waits_as_asked(call: Call) -> float:
    """For so many seconds: longer than any batch is looked at that is to be cancelled."""
    return 60.0 if call.prompt == "wait" else 0.0


def fails_as_asked(call: Call) -> Fault | None:
    return {"fail": Status(400), "expire": Unrun("expired")}.get(call.prompt)


def told_by(judge: str, script: str, address: str) -> Mapping[str, Any]:
    """What a judge saw on its way through a script. Skips the test where it is not installed."""
    modules = ROOT / ".venv" / "judges" / "js" / "node_modules"
    finished = subprocess.run(
        [*command_of(judge, script), address],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert finished.returncode == 0, finished.stderr
    told: Mapping[str, Any] = json.loads(finished.stdout)
    return told


def command_of(judge: str, script: str) -> list[Path]:
    """What runs a script for a judge, in its language."""
    if "-js-" not in judge:
        return [python_of(judge), HERE / f"{script}.py"]
    _there(ROOT / ".venv" / "judges" / "js" / "stamp")
    node = ROOT / ".venv" / "judges" / "node-22" / "bin" / "node"
    return [_there(node), HERE / f"{script}.cjs"]


def kinds(errors: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The class of each error."""
    return {word: error["class"][0] for word, error in errors.items()}
