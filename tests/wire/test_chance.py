"""Whether a body leaves its answer to chance."""

import msgspec
import pytest

from anybatch.core.model import Api
from anybatch.wire.chance import is_settled

CASES: list[tuple[Api, dict[str, object], bool]] = [
    ("openai.chat", {"temperature": 0}, True),
    ("openai.chat", {"temperature": 0.0}, True),
    ("openai.chat", {"temperature": 1, "seed": 5}, True),
    ("openai.chat", {"temperature": 0.1}, False),
    ("openai.chat", {}, False),
    ("openai.chat", {"seed": None}, False),
    ("openai.chat", {"temperature": "0"}, False),
    ("openai.responses", {"temperature": 0}, True),
    ("openai.completions", {"seed": 0}, True),
    ("anthropic.messages", {"temperature": 0}, True),
    ("anthropic.messages", {}, False),
    ("gemini.generate", {"generationConfig": {"temperature": 0}}, True),
    ("gemini.generate", {"generationConfig": {"seed": 3}}, True),
    ("gemini.generate", {"temperature": 0}, False),
    ("gemini.generate", {"generationConfig": {}}, False),
    ("gemini.generate", {"generationConfig": None}, False),
    ("openai.embeddings", {}, True),
    ("gemini.embed", {}, True),
    ("openai.moderations", {}, True),
    ("openai.images", {"seed": 1}, False),
]


@pytest.mark.parametrize(("api", "body", "settled"), CASES)
def test_only_temperature_0_a_seed_and_numbers_are_settled(
    api: Api, body: dict[str, object], settled: bool
) -> None:
    assert is_settled(api, msgspec.json.encode({"model": "m", **body})) == settled


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"temperature": 0, "x": "\xff"'])
def test_what_cannot_be_read_is_left_to_chance(body: bytes) -> None:
    assert not is_settled("openai.chat", body)
