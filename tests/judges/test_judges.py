"""Who judges our fakes: two majors of each official SDK, the newest and one that came before."""

import pytest

from .judging import judges_of


@pytest.mark.parametrize(
    ("package", "newest"), [("openai", 3), ("anthropic", 2), ("google-genai", 3)]
)
def test_each_fake_is_judged_by_the_newest_major_and_an_older_one(
    package: str, newest: int
) -> None:
    majors = sorted(int(judge.rpartition("-")[2]) for judge in judges_of(package))

    assert majors[-1] == newest
    assert len(majors) > 1
