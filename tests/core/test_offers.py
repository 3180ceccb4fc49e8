"""At which price something is answered if nothing else was chosen."""

from typing import Any

import pytest

from anybatch.core.offers import usual_tier


@pytest.mark.parametrize(
    ("executor", "parameters", "tier"),
    [
        ("online", {}, "standard"),
        ("online", {"service_tier": "flex"}, "flex"),
        ("online", {"serviceTier": "priority"}, "priority"),
        ("online", {"service_tier": "auto"}, "standard"),
        ("batch", {"service_tier": "flex"}, "batch"),
        ("embedded", {"service_tier": "flex"}, "standard"),
    ],
)
def test_the_price_is_that_of_the_tier_which_bodies_ask_for(
    executor: Any, parameters: dict[str, str], tier: str
) -> None:
    assert usual_tier(executor, parameters) == tier
