"""Whose account a call is for is said as the official SDKs say it, from the same variables."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from anybatch.executors.auth import headers_for, key_for
from anybatch.providers.registry import find

from .judging import LIMIT_S, python_of

ANTHROPIC = """
import anthropic, json
client = anthropic.Anthropic()
print(json.dumps([client.api_key, client.auth_token]))
"""
OPENAI = """
import json, openai
headers = openai.OpenAI().default_headers
print(json.dumps({name.lower(): text for name, text in headers.items() if isinstance(text, str)}))
"""
KEY, TOKEN = {"ANTHROPIC_API_KEY": "k"}, {"ANTHROPIC_AUTH_TOKEN": "t"}


def said(judge: str, script: str, environment: Mapping[str, str]) -> Any:
    finished = subprocess.run(
        [python_of(judge), "-c", script],
        env={"HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_S,
    )
    return json.loads(finished.stdout)


@pytest.mark.parametrize(
    "environment", [KEY, TOKEN, {**KEY, **TOKEN}], ids=["key", "token", "both"]
)
def test_of_a_key_and_a_token_the_same_one_is_taken(environment: dict[str, str]) -> None:
    key, token = said("anthropic-2", ANTHROPIC, environment)

    found = find("anthropic", configured={}, environment=environment)
    ours = headers_for(found, key_for(found, environment))

    assert ours.get("x-api-key") == key
    assert ours.get("authorization") == (None if token is None else f"Bearer {token}")


def test_the_organization_and_the_project_go_in_the_same_headers() -> None:
    environment = {
        "OPENAI_API_KEY": "k",
        "OPENAI_ORG_ID": "org-1",
        "OPENAI_PROJECT_ID": "proj_1",
    }
    theirs = said("openai-3", OPENAI, environment)

    found = find("openai", configured={}, environment=environment)
    ours = {name: text for name, text in headers_for(found, "k").items() if text != "Bearer k"}

    assert len(ours) == 2
    assert ours == {name: theirs[name] for name in ours}
