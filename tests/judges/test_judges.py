"""Who judges our fakes: two majors of each official SDK, the newest and one that came before."""

import json
import re

import pytest

from .judging import JAVASCRIPT, ROOT, judges_of

PACKAGES = [("openai", 3), ("anthropic", 2), ("google-genai", 3)]


@pytest.mark.parametrize(("package", "newest"), PACKAGES)
def test_each_fake_is_judged_by_the_newest_major_and_an_older_one(
    package: str, newest: int
) -> None:
    majors = sorted(int(judge.rpartition("-")[2]) for judge in judges_of(package))

    assert majors[-1] == newest
    assert len(majors) > 1


JUDGES = [name for package in (*dict(PACKAGES), "schemathesis") for name in judges_of(package)]


@pytest.mark.parametrize("judge", JUDGES)
def test_all_that_a_judge_consists_of_is_locked(judge: str) -> None:
    text = (ROOT / "requirements" / "judges" / f"{judge}.txt").read_text("utf-8")
    listed = re.split(r"\n(?=[a-z0-9])", text)[1:]

    package, _, major = judge.rpartition("-")
    assert any(each.startswith(f"{package}=={major}.") for each in listed)
    assert [each for each in listed if "--hash=sha256:" not in each] == []


def test_all_that_a_judge_in_javascript_consists_of_is_locked_and_no_registry_is_named() -> None:
    listed = json.loads((JAVASCRIPT / "package.json").read_text())["dependencies"]
    lock = json.loads((JAVASCRIPT / "package-lock.json").read_text())["packages"]
    packages = {path: each for path, each in lock.items() if path}

    assert {name: lock[f"node_modules/{name}"]["version"] for name in listed} == listed
    assert [path for path, each in packages.items() if "integrity" not in each] == []
    assert [path for path, each in packages.items() if "resolved" in each] == []
