"""The table of prices: models × tiers × what is cached, against dollars worked out by hand."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

import msgspec
import pytest

from anybatch.core.model import Tier, Usage
from anybatch.core.price import MILLION, cost
from anybatch.errors import BadSettings
from anybatch.providers.prices import (
    Table,
    UnknownPrice,
    bundled,
    differences,
    own_tariff,
    read_table,
)

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TABLE = bundled(DAY)

PLAIN = Usage(tokens_in=2_000, tokens_out=100)
READ = Usage(tokens_in=2_000, cached=1_500, tokens_out=100)
WRITTEN = Usage(tokens_in=2_000, written=1_500, tokens_out=100)
KEPT = Usage(tokens_in=2_000, kept=1_500, tokens_out=100)
LONG = Usage(tokens_in=300_000, cached=100_000, tokens_out=1_000)

# Of a model and a tier, the dollars of a million requests of each kind. 2,000 tokens go in, of
# which 1,500 are read from a cache, written into one or kept for an hour; 100 come out.
# At 0.10 in, 0.50 out, 0.01 read, 0.125 written, 0.20 kept: 2,000 × 0.1 + 100 × 0.5 = 250;
# 500 × 0.1 + 1,500 × 0.01 + 50 = 115; 50 + 1,500 × 0.125 + 50 = 287.5; 50 + 300 + 50 = 400.
BY_HAND: Mapping[tuple[str, str, Tier], tuple[float, float, float, float]] = {
    ("anthropic", "claude-haiku-5-5", "standard"): (250, 115, 287.5, 400),
    ("anthropic", "claude-haiku-5-5", "batch"): (125, 57.5, 143.75, 200),
    ("anthropic", "claude-sonnet-5-5", "standard"): (5_000, 2_150, 5_750, 8_000),
    ("anthropic", "claude-sonnet-5-5", "batch"): (2_500, 1_075, 2_875, 4_000),
    ("anthropic", "claude-opus-5-5", "standard"): (10_000, 4_300, 11_500, 16_000),
    ("anthropic", "claude-opus-5-5", "batch"): (5_000, 2_150, 5_750, 8_000),
    # An hour has no price of its own there: what is kept costs what is read anew.
    ("openai", "gpt-6-luna", "standard"): (250, 115, 287.5, 250),
    ("openai", "gpt-6-luna", "flex"): (125, 57.5, 143.75, 125),
    ("openai", "gpt-6-luna", "priority"): (500, 230, 575, 500),
    ("openai", "gpt-6-luna", "batch"): (125, 57.5, 143.75, 125),
    ("openai", "gpt-6.1-terra", "standard"): (2_500, 1_075, 2_875, 2_500),
    ("openai", "gpt-6.1-terra", "batch"): (1_250, 537.5, 1_437.5, 1_250),
    ("openai", "gpt-6.1-sol", "standard"): (5_000, 2_150, 5_750, 5_000),
    ("openai", "gpt-6.1-sol", "flex"): (2_500, 1_075, 2_875, 2_500),
    # Nothing is paid there for writing.
    ("gemini", "gemini-3.8-flash", "standard"): (1_875, 862.5, 1_875, 1_875),
    ("gemini", "gemini-3.8-flash", "batch"): (937.5, 431.25, 937.5, 937.5),
    ("vertex", "gemini-3.8-flash", "batch"): (937.5, 431.25, 937.5, 937.5),
    ("mistral", "mistral-small-latest", "batch"): (180, 78.75, 180, 180),
    # Half of what is read costs in batches what it does in real time: no further discount.
    ("groq", "openai/gpt-oss-20b", "standard"): (180, 123.75, 180, 180),
    ("groq", "openai/gpt-oss-20b", "batch"): (90, 90, 90, 90),
    ("openai", "text-embedding-3-small", "standard"): (40, 40, 40, 40),
}


@pytest.mark.parametrize(("model", "dollars"), BY_HAND.items(), ids=[" ".join(k) for k in BY_HAND])
def test_a_model_costs_what_was_worked_out_by_hand(
    model: tuple[str, str, Tier], dollars: tuple[float, float, float, float]
) -> None:
    provider, name, tier = model
    rates = TABLE.tariff(provider, name, on=NOW).tiers[tier]

    found = [cost(usage, rates) * MILLION for usage in (PLAIN, READ, WRITTEN, KEPT)]

    assert found == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("provider", "model", "dollars"),
    [
        # beyond 272,000: 200,000 × 0.2 + 100,000 × 0.02 + 1,000 × 0.75
        ("openai", "gpt-6-luna", 42_750),
        # beyond 100,000: 200,000 × 0.5 + 100,000 × 0.05 + 1,000 × 2.5
        ("anthropic", "claude-haiku-5-5", 107_500),
        # nowhere: 200,000 × 2 + 100,000 × 0.1 + 1,000 × 10
        ("anthropic", "claude-sonnet-5-5", 420_000),
    ],
)
def test_a_long_prompt_costs_what_was_worked_out_by_hand(
    provider: str, model: str, dollars: float
) -> None:
    rates = TABLE.tariff(provider, model, on=NOW).tiers["standard"]

    assert cost(LONG, rates) * MILLION == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("provider", "model", "absent"),
    [
        ("anthropic", "claude-haiku-5-5", {"flex", "priority"}),
        ("gemini", "gemini-3.8-flash", {"flex", "priority"}),
        ("mistral", "mistral-small-latest", {"flex", "priority"}),
        ("openai", "text-embedding-3-small", {"flex", "priority", "batch"}),
        ("openai", "gpt-6-luna", set()),
    ],
)
def test_a_tier_that_is_not_offered_has_no_price_and_never_that_of_the_list(
    provider: str, model: str, absent: set[str]
) -> None:
    found = TABLE.tariff(provider, model, on=NOW).tiers

    assert {"standard", "flex", "priority", "batch"} - found.keys() == absent


def test_an_unknown_model_is_told_with_its_neighbours_and_how_to_price_it() -> None:
    with pytest.raises(UnknownPrice, match=r"gpt-6-luna.*\[prices\.\"openai/gpt-6-lunar\"\]"):
        TABLE.tariff("openai", "gpt-6-lunar", on=NOW)


def test_what_the_user_says_is_all_there_is() -> None:
    said = {"input": 1, "output": 2.5, "kept": 2, "batch": {"input": 0.5, "output": 1.25}}

    tariff = own_tariff("lab/m", said, on=DAY)

    assert tariff.tiers.keys() == {"standard", "batch"}
    assert cost(KEPT, tariff.tiers["standard"]) * MILLION == 500 * 1 + 1_500 * 2 + 100 * 2.5
    assert cost(KEPT, tariff.tiers["batch"]) * MILLION == 2_000 * 0.5 + 100 * 1.25


# --- a table as it is published ---


def published(**prices: float) -> bytes:
    models = [
        {"id": name, "match": {"equals": name}, "prices": {"input_mtok": each, "output_mtok": 1}}
        for name, each in prices.items()
    ]
    at = {"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": models}
    return msgspec.json.encode([at])


def table(**prices: float) -> Table:
    return read_table(published(**prices), fetched=DAY, to_the_end=True)


def test_a_table_says_what_another_one_does_not() -> None:
    found = differences(table(a=1, b=2, c=3), table(a=1, b=2.5, d=4), on=NOW)

    assert [(each.model, each.before is None, each.after is None) for each in found] == [
        ("b", False, False),
        ("c", False, True),
        ("d", True, False),
    ]
    assert differences(TABLE, TABLE, on=NOW) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>captive portal</html>",
        b"null",
        b"{}",
        b"[]",
        b"[1]",
        b'[{"id":1}]',
        b'{"providers":[]}',
        b"[" * 100_000,
        b"\xff\xfe",
        published(a=1)[:-1],
        published(a=1).replace(b"input_mtok", b"input_stok"),
        b'[{"id":"x","name":"X","api_pattern":"x","models":[{"id":"m","match":{"equals":"m"},"prices":"much"}]}]',
        b'[{"id":"x","name":"X","api_pattern":"x","models":[]}]',
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_is_no_table_is_none(content: bytes) -> None:
    with pytest.raises(BadSettings, match="price"):
        read_table(content, fetched=DAY, to_the_end=True)
