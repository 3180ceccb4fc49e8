"""What lies in deploy/ starts what is there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from anybatch.cli.app import app

from .documents import ROOT

UNIT = (ROOT / "deploy" / "anybatch.service").read_text("utf-8")
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text("utf-8")


def said(name: str) -> str:
    """The one value of a setting of the unit."""
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def parses(words: list[str]) -> bool:
    """Whether the command line takes these words; `--help` behind them keeps them from acting."""
    return app(args=[*words, "--help"], standalone_mode=False) in (0, None)


def test_the_unit_starts_a_command_that_is_there() -> None:
    program, *words = shlex.split(said("ExecStart"))

    assert Path(program).name == "anybatch"
    assert parses(words)
    assert said("ExecReload") == "/bin/kill -HUP $MAINPID"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd's own judge is not here"
)
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "anybatch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "anybatch.service"
    unit.write_text(UNIT.replace(shlex.split(said("ExecStart"))[0], str(program)))

    judged = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)

    assert (judged.returncode, judged.stderr) == (0, "")


def test_the_container_copies_what_is_there_and_starts_a_command() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", CONTAINERFILE, re.MULTILINE)
    (command,) = re.findall(r"^CMD \[(.*)\]$", CONTAINERFILE, re.MULTILINE)

    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []
    assert parses([word.strip(' "') for word in command.split(",")])
