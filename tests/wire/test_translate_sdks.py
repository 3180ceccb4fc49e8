"""What is written has the official SDKs' own types, to the last field.

OpenAI's SDK is among the tests' requirements; the others are judges, which `make judges` installs.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anybatch.core.model import Api
from anybatch.wire.conversation import Frame

from ..judges.judging import python_of
from .translations import (
    ANSWERS,
    APIS,
    CASES,
    HI,
    REFUSED_BEFORE,
    WRITE,
    WRITE_ANSWER,
)

SCRIPT = Path(__file__).with_name("sdk_types.py")
JUDGES = {"anthropic": "anthropic-2", "gemini": "google-genai-3"}
FRAME = Frame(id="7", created=1_800_000_000, model="asked-for")


def judge_of(api: Api) -> Path:
    judge = JUDGES.get(api.partition(".")[0])
    return Path(sys.executable) if judge is None else python_of(judge)


def problems(api: Api, values: dict[str, Any]) -> dict[str, str]:
    """What the SDK has against each of these bodies and answers."""
    named = api.replace(".", "_")
    finished = subprocess.run(
        [judge_of(api), SCRIPT],
        input=json.dumps([[f"{named}_{kind}", value] for kind, value in values.values()]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = zip(values, json.loads(finished.stdout), strict=True)
    return {name: problem for name, problem in found if problem is not None}


@pytest.mark.parametrize("api", APIS)
def test_all_that_is_written_is_of_the_sdks_types(api: Api) -> None:
    cases = {**CASES, "a refusal before": REFUSED_BEFORE}
    bodies = {
        f"{name}, asked": ["body", WRITE[api](case.said)]
        for name, case in cases.items()
        if case.forms[api] is not None
    }
    answers = {
        f"{name}, answered": ["answer", WRITE_ANSWER[api](case.said, FRAME)]
        for name, case in ANSWERS.items()
    }
    wrong = {
        "an unknown field": ["body", {**HI[api], "tools": [{"unheard": {"of": 1}}]}],
        "another kind": ["answer", dict.fromkeys(("choices", "output", "content"), 5)],
    }

    found = problems(api, {**bodies, **answers, **wrong})

    assert {name: why for name, why in found.items() if name not in wrong} == {}
    assert wrong.keys() <= found.keys()
