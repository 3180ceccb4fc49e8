"""The fake runs as a process of its own."""

import json
import subprocess
import sys

from anybatch.testing import FakeOpenAI

from .plain import create, poll, rows


def test_it_prints_its_address_first_and_its_sums_last() -> None:
    command = [sys.executable, "-W", "error", "-m", "anybatch.testing.openai"]
    options = ["--in-progress", "1000", "--seed", "7"]
    with subprocess.Popen(command + options, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        port = int(base_url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
        batch = poll(there := FakeOpenAI(port=port), create(there, rows(2)))
        process.terminate()
        sums = json.loads(process.stdout.read())

    assert batch["status"] == "in_progress"
    assert process.returncode == 0
    assert (sums["exchanges"], sums["batches"], sums["leftover_files"]) == (3, 1, 1)
