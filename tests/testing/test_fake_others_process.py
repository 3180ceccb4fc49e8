"""The fakes of Anthropic and Gemini run as processes of their own, too."""

import json
import subprocess
import sys

import pytest

from anybatch.testing import FakeAnthropic, FakeGemini

from . import generations, messages


@pytest.mark.parametrize(
    ("package", "root", "sums"),
    [("anthropic", "/v1", (2, 1, 0)), ("gemini", "/v1beta", (4, 1, 1))],
)
def test_it_prints_its_address_first_and_its_sums_last(
    package: str, root: str, sums: tuple[int, int, int]
) -> None:
    command = [sys.executable, "-W", "error", "-m", f"anybatch.testing.{package}"]
    options = ["--in-progress", "1000", "--seed", "7"]
    with subprocess.Popen(command + options, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        port = int(base_url.removeprefix("http://127.0.0.1:").removesuffix(root))
        over = visited(package, port)
        process.terminate()
        said = json.loads(process.stdout.read())

    assert (process.returncode, over) == (0, False)
    assert (said["exchanges"], said["batches"], said["leftover_files"]) == sums


def visited(package: str, port: int) -> bool:
    """Whether a batch that is created there is over at the first look."""
    if package == "anthropic":
        there = FakeAnthropic(port=port)
        found = messages.poll(there, messages.create(there, messages.rows(2)))
        return bool(found["processing_status"] == "ended")
    other = FakeGemini(port=port)
    return "done" in generations.poll(other, generations.create(other, generations.rows(2)))
