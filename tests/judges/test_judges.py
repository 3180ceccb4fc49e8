"""Who judges our fakes: two majors of each official SDK, the newest and one that came before."""

import re

import pytest

from .judging import ROOT, judges_of

PACKAGES = [("openai", 3), ("anthropic", 2), ("google-genai", 3)]


@pytest.mark.parametrize(("package", "newest"), PACKAGES)
def test_each_fake_is_judged_by_the_newest_major_and_an_older_one(
    package: str, newest: int
) -> None:
    majors = sorted(int(judge.rpartition("-")[2]) for judge in judges_of(package))

    assert majors[-1] == newest
    assert len(majors) > 1


@pytest.mark.parametrize("judge", [name for package, _ in PACKAGES for name in judges_of(package)])
def test_all_that_a_judge_consists_of_is_locked(judge: str) -> None:
    text = (ROOT / "requirements" / "judges" / f"{judge}.txt").read_text("utf-8")
    listed = re.split(r"\n(?=[a-z0-9])", text)[1:]

    package, _, major = judge.rpartition("-")
    assert any(each.startswith(f"{package}=={major}.") for each in listed)
    assert [each for each in listed if "--hash=sha256:" not in each] == []
