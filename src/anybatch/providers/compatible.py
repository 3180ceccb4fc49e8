"""Services that speak OpenAI's wire: each is OpenAI with another address.

Groq's base URL is that of its own SDK 1.7, checked 2026-11-20.
"""

from dataclasses import replace

from .openai import BATCHES, OPENAI, UNSAID
from .provider import OPENAI_APIS, GatePace, Provider, Tiers

GROQ = replace(
    OPENAI,
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    key_env="GROQ_API_KEY",
    apis=OPENAI_APIS,
    schemas=None,
    batch=replace(
        BATCHES,
        apis=frozenset(("openai.chat",)),
        limits=replace(BATCHES.limits, max_bytes=100_000_000),
        source="the vendor's SDK 1.7.0, checked 2026-11-20",
    ),
    tiers=Tiers(
        names=frozenset(("standard", "flex", "batch")),
        field="service_tier",
        source="Groq's pages on batch and flex processing, checked 2026-11-20",
    ),
    **UNSAID,
)
DOUBLEWORD = replace(
    OPENAI,
    name="doubleword",
    base_url="https://api.doubleword.ai/v1",
    key_env="DOUBLEWORD_API_KEY",
    apis=OPENAI_APIS,
    schemas=None,
    batch=replace(
        BATCHES,
        apis=frozenset(OPENAI_APIS),
        limits=replace(BATCHES.limits, max_bytes=100_000_000),
        paces={"upload": GatePace(at_once=10)},
        source="the defaults of the vendor's open source, checked 2026-11-20",
    ),
    tiers=Tiers(
        names=frozenset(("standard", "flex", "batch")),
        source="the vendor's open source, checked 2026-11-20",
    ),
    **UNSAID,
)


def at(base_url: str, *, name: str, key_env: str | None = None) -> Provider:
    """A service we know nothing of but its address. Its own prompt cache likes shared prefixes."""
    return replace(
        OPENAI,
        name=name,
        base_url=base_url.rstrip("/"),
        key_env=key_env,
        groups_prefixes=True,
        schemas=None,
        batch=None,
        tiers=None,
        **UNSAID,
    )
