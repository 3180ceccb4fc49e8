"""The command line: how long `anybatch --help` takes, interpreter included."""

import subprocess
import sys
import time

from .measure import Line, show

_TIMES = 15
_GOAL_S = 0.25


def compare() -> bool:
    command = [sys.executable, "-m", "anybatch", "--help"]
    taken = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - start)
    median = sorted(taken)[_TIMES // 2]
    figure = f"{median:.2f} s (least {min(taken):.2f})"
    return show("Command line", [Line("--help, median", figure, "≤ 0.25 s", median <= _GOAL_S)])
