"""Prints `docs/faults.md` from the fault matrix in `tests/engine/faults.py` and the tests it names.

python docs/print_faults.py > docs/faults.md
python docs/print_faults.py --cells    # each cell, what comes of it and the test that holds it

It fails where a cell has no test, and where a test holds a cell that there is not.
"""

import contextlib
import io
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.engine.faults import (  # noqa: E402
    ELSEWHERE,
    FATES,
    FILED,
    KINDS,
    MEANING,
    ROLES,
    Cell,
    Comes,
    Missing,
    cells,
    unasked,
)

MATRIX = "tests/engine/test_faults.py"

PAGE = """\
# Faults

<!-- Printed by docs/print_faults.py from tests/engine. Change it there. -->

What can befall a step of a batch at a provider, and what comes of it. Each cell is a test: a run
of three batches goes through a [fake](testing.md) of the provider, the fault befalls that
operation, and at the end no row may be lost and none paid twice. Seven batches are looked at by a
list, which then tells nothing, however often it is asked. There are {count:,} cells.

| | |
|---|---|
{meanings}

{providers}
{strange}
## Elsewhere

| What happens | Test |
|---|---|
{elsewhere}

## The tests

`python docs/print_faults.py --cells` names the test of each cell. They are cases of these, in
`{matrix}`:

| Test | Cells |
|---|---|
{tests}
"""


class Collector:
    """A plugin of pytest that keeps what was collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = list(items)


def collected() -> list[pytest.Item]:
    """All tests that hold cells, and those that are named beside them."""
    files = sorted({MATRIX, *(test.partition("::")[0] for test in ELSEWHERE.values())})
    collector = Collector()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(
            ["--collect-only", "-q", "-m", "", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
            + [str(ROOT / file) for file in files],
            plugins=[collector],
        )
    if code != 0:
        sys.exit(said.getvalue())
    return collector.items


def held_in(items: Iterable[pytest.Item]) -> dict[Cell, list[str]]:
    """The tests of each cell, as they are marked."""
    held: dict[Cell, list[str]] = {}
    for item in items:
        for mark in item.iter_markers("cell"):
            held.setdefault(Cell(*mark.args[:3]), []).append(item.nodeid)
    return held


def amiss(wanted: Mapping[Cell, Comes | Missing], held: Mapping[Cell, list[str]]) -> list[str]:
    """One line for each cell without a test, and for each test without a cell."""
    there = {cell for cell, comes in wanted.items() if not isinstance(comes, Missing)}
    return [
        *(f"no test holds the cell {' × '.join(cell)}" for cell in sorted(there - set(held))),
        *(f"{held[cell][0]} holds no cell" for cell in sorted(set(held) - there)),
    ]


def table(provider: str, wanted: Mapping[Cell, Comes | Missing]) -> str:
    """The matrix of a provider, and under it why some cells are empty."""
    operations = list(ROLES[provider])
    reasons: list[str] = []
    lines = [f"| | {' | '.join(f'`{name}`' for name in operations)} |", "|---" * len(operations)]
    lines[1] += "|---|"
    for kind in KINDS.values():
        there = [Cell(provider, name, kind.name) for name in operations]
        said = [_said(wanted[cell], reasons) for cell in there]
        lines.append(f"| {kind.name} | {' | '.join(said)} |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    others = [f"`{name}`: {why}" for name, why in unasked(provider).items()]
    left_out = "Not in the table: " + "; ".join(others) + ".\n" if others else ""
    return "\n".join([f"## {provider}", "", *lines, "", *notes, "", left_out])


def _said(comes: Comes | Missing, reasons: list[str]) -> str:
    if not isinstance(comes, Missing):
        return comes
    if comes.reason not in reasons:
        reasons.append(comes.reason)
    return f"({reasons.index(comes.reason) + 1})"


def strange(title: str, names: Iterable[str], operation: str) -> str:
    lines = [f"- {name}" for name in names]
    return "\n".join(
        [f"## {title}", "", f"By `{operation}`, of every provider: *right*.", "", *lines, ""]
    )


def page(wanted: Mapping[Cell, Comes | Missing], held: Mapping[Cell, list[str]]) -> str:
    functions = Counter(
        test.partition("::")[2].partition("[")[0] for tests in held.values() for test in tests
    )
    return PAGE.format(
        count=len(held),
        meanings="\n".join(f"| *{word}* | {meaning} |" for word, meaning in MEANING.items()),
        providers="\n".join(table(provider, wanted) for provider in ROLES),
        strange="\n".join(
            [
                strange("What lies in the results", FILED, "download"),
                strange("What is said of a batch", FATES, "poll"),
            ]
        ),
        elsewhere="\n".join(f"| {what} | `{test}` |" for what, test in ELSEWHERE.items()),
        matrix=MATRIX,
        tests="\n".join(f"| `{name}` | {count:,} |" for name, count in functions.items()),
    )


def main() -> None:
    items = collected()
    wanted, held = dict(cells()), held_in(items)
    tests = {item.nodeid.partition("[")[0] for item in items}
    wrong = amiss(wanted, held)
    wrong += [f"there is no test {test}" for test in ELSEWHERE.values() if test not in tests]
    if wrong:
        sys.exit("\n".join(wrong))
    if "--cells" in sys.argv:
        for cell, comes in wanted.items():
            tests_of = [comes.reason] if isinstance(comes, Missing) else [comes, *held[cell]]
            print(" × ".join(cell), *tests_of, sep="\t")
    else:
        print(page(wanted, held), end="")


if __name__ == "__main__":
    main()
