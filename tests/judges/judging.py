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
    """The names of all, as `openai-3`."""
    folder = ROOT / "requirements" / "judges"
    return sorted(path.stem for path in folder.glob(f"{package}-*.in"))


def python_of(judge: str) -> Path:
    """The interpreter that has the judge's SDK. Skips the test where it is not installed."""
    python = ROOT / ".venv" / "judges" / judge / "bin" / "python"
    if not python.exists():
        pytest.skip("an official SDK is not installed beside ours: `make judges` does it")
    return python


def visited(judge: str, script: str, new_fake: Callable[..., Any]) -> Visit:
    """Let a judge go through its script. Skips the test where it is not installed."""
    python = python_of(judge)
    faults = {"poll": as_asked, "create": matching("tried.again", LOST, times=1)}
    with new_fake(key=KEY, phases=SEEN, rows=fails_as_asked, faults=faults) as fake:
        told = run(python, HERE / script, fake.address)
    return Visit(judge, told, fake.ledger)


LOST: Final = Status(500, executed=True)


def as_asked(operation: Operation) -> Fault | None:
    _, asked, word = operation.path.rpartition(SAID)
    if not asked:
        return None
    return BREAKS.get(word) or Status(int(word))


def fails_as_asked(call: Call) -> Fault | None:
    return {"fail": Status(400), "expire": Unrun("expired")}.get(call.prompt)


def run(python: Path, script: Path, address: str) -> Mapping[str, Any]:
    finished = subprocess.run(
        [python, script, address],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert finished.returncode == 0, finished.stderr
    told: Mapping[str, Any] = json.loads(finished.stdout)
    return told


def kinds(errors: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The class of each error."""
    return {word: error["class"][0] for word, error in errors.items()}
