"""Prompts that could begin alike and do not: told where, and what to do."""

from pathlib import Path

import pytest

from anybatch.engine.apart import remark

from .caching import GUIDE, tickets_spec
from .test_heads import HAIKU, caching, write

ROWS = [{"stamp": f"2026-11-20T10:{n:02}", "text": f"ticket {n}"} for n in range(50)]


@pytest.mark.parametrize(
    ("system", "prompt", "named"),
    [
        ("As of {{ stamp }}. " + GUIDE, "{{ text }}", "{{ stamp }}"),
        (None, "{{ text }}\n" + GUIDE, "{{ text }}"),
    ],
)
def test_what_comes_too_early_is_named(
    system: str | None, prompt: str, named: str, tmp_path: Path
) -> None:
    spec = tickets_spec(system=system, prompt=prompt)
    with write(tmp_path, ROWS, prompt=prompt, system=system) as requests:
        said = remark(requests, spec, caching("anthropic", HAIKU))
        bodies = [request.body for request in requests.read(range(50))]

    assert said is not None
    assert named in said
    at = int(said.partition("at byte ")[2].partition(" ")[0])
    assert len({body[:at] for body in bodies}) == 1
    assert len({body[: at + 1] for body in bodies}) > 1


@pytest.mark.parametrize(
    ("system", "prompt"),
    [(GUIDE, "As of {{ stamp }}: {{ text }}"), (None, "{{ stamp }} {{ text }}")],
    ids=["it comes last", "there is nothing to share"],
)
def test_where_nothing_could_be_mended_nothing_is_said(
    system: str | None, prompt: str, tmp_path: Path
) -> None:
    spec = tickets_spec(system=system, prompt=prompt)
    with write(tmp_path, ROWS, prompt=prompt, system=system) as requests:
        assert remark(requests, spec, caching("anthropic", HAIKU)) is None


def test_lines_that_all_have_are_seen_without_a_template(tmp_path: Path) -> None:
    lines = "\n".join(f"Rule {n}: sort with care, always." for n in range(200))
    spec = tickets_spec(system=None, prompt=None)
    with write(tmp_path, ROWS, prompt="{{ stamp }}\n" + lines, system=None) as requests:
        said = remark(requests, spec, caching("anthropic", HAIKU))

    assert said is not None
    assert "2026-11-20T10:" not in said  # that far they are alike
