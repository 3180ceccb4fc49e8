"""What a run would cost: one million rows of a CSV, by a sample of them and all counted.

The other side only reads the rows. Timed is the whole command, as it is typed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anybatch.datasets.source import open_source

from .measure import Line, in_a_process, report, show
from .rows import write_csv

ROWS = 1_000_000
ASKED = ("--prompt", "Which team should answer? {{ text }}", "--model", "openai/gpt-6-luna")


def read(folder: Path) -> Mapping[str, Any]:
    return {"rows": sum(map(len, open_source(folder / "in.csv").read(lambda *_: None)))}


def planned(folder: Path, *more: str) -> tuple[float, Mapping[str, Any]]:
    """How long the command takes, and what it says."""
    command = [sys.executable, "-m", "anybatch", "plan", "in.csv", *ASKED, "--json", *more]
    environment = {**os.environ, "ANYBATCH_HOME": str(folder / "store")}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start, json.loads(done.stdout)


def compare(rows: int = ROWS) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_csv(folder / "in.csv", rows)
        least = in_a_process("benchmarks.plan_cost", folder)
        seconds, sample = planned(folder)
        all_seconds, exact = planned(folder, "--every-row")
    off = abs(sample["tokens_in"] / exact["tokens_in"] - 1)
    ratio = seconds / least.seconds
    lines = [
        Line("by a sample of 10,000: seconds", f"{seconds:.1f}", "≤ 3", seconds <= 3),
        Line("the same against only reading the rows", f"{ratio:.1f}", "≤ 5", ratio <= 5),
        Line(
            "its tokens against all counted",
            f"off by {off:.3%}, band {sample['band']:.2%}",
            "within the band",
            off <= sample["band"],
        ),
        Line("all rows counted: seconds", f"{all_seconds:.1f}", "≤ 60", all_seconds <= 60),
    ]
    return show(f"Say what {rows:,} rows would cost", lines)


if __name__ == "__main__":
    report(lambda: read(Path(sys.argv[1])))
