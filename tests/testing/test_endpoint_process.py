"""The fake endpoint runs as a process of its own."""

import json
import subprocess
import sys

from anybatch.testing import FakeEndpoint

from .caller import call, said


def test_it_prints_its_address_first_and_its_sums_last() -> None:
    command = [sys.executable, "-W", "error", "-m", "anybatch.testing.endpoint", "--latency", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        port = int(base_url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
        answer = call(FakeEndpoint(port=port), "hi")
        process.terminate()
        sums = json.loads(process.stdout.read())

    assert said(answer) == "echo: hi"
    assert process.returncode == 0
    assert (sums["received"], sums["executions"], sums["lost"]) == (1, 1, 0)
