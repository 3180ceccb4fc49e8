"""Planning: one million rows from CSV to the requests file and its index.

The other side is the least one could do: read the CSV, encode a body a row, write it.
"""

import csv
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from anybatch.api import Ask
from anybatch.datasets.source import open_source
from anybatch.engine.workspace import open_workspace
from anybatch.settings import Settings

from .measure import Line, in_a_process, report, show
from .rows import write_csv

ROWS = 1_000_000
PROMPT = "Which team should answer? {{ text }}"


def ours(folder: Path) -> Mapping[str, Any]:
    workspace = open_workspace(Settings(home=folder / "store"))
    ask = Ask(model="bench/m", prompt=PROMPT, base_url="http://127.0.0.1:9/v1")
    planned = workspace.plan(open_source(folder / "in.csv"), ask.spec())
    return {"rows": planned.run.total}


def bare(folder: Path) -> Mapping[str, Any]:
    encode = msgspec.json.Encoder().encode
    count = 0
    with open(folder / "in.csv", newline="") as source, open(folder / "bare.jsonl", "wb") as out:
        reader = csv.reader(source)
        columns = next(reader)
        for cells in reader:
            row = dict(zip(columns, cells, strict=True))
            text = f"Which team should answer? {row['text']}"
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            out.write(encode(body) + b"\n")
            count += 1
    return {"rows": count}


def compare(rows: int = ROWS) -> bool:
    folder = Path(tempfile.mkdtemp())
    try:
        write_csv(folder / "in.csv", rows)
        least = in_a_process("benchmarks.plan", "bare", folder)
        mine = in_a_process("benchmarks.plan", "ours", folder)
    finally:
        shutil.rmtree(folder)
    rate, ratio = rows / mine.seconds, mine.seconds / least.seconds
    lines = [
        Line("rows/s", f"{rate:,.0f}", "≥ 150,000", rate >= 150_000),
        Line("peak memory", f"{mine.peak_mb:,.0f} MB", "≤ 150 MB", mine.peak_mb <= 150),
        Line("time against a bare msgspec loop", f"{ratio:.2f}", "≤ 2.5", ratio <= 2.5),
    ]
    return show(f"Plan {rows:,} rows", lines)


if __name__ == "__main__":
    side = {"ours": ours, "bare": bare}[sys.argv[1]]
    report(lambda: side(Path(sys.argv[2])))
