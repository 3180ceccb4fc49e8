"""Services that speak OpenAI's wire: each is OpenAI with another address.

Base URLs are those of the vendors' own SDKs (mistralai 3.7, groq 1.7, together 3.1), checked
2026-11-20.
"""

from dataclasses import replace

from .openai import BATCHES, OPENAI
from .provider import BatchApi, Provider

GROQ = replace(
    OPENAI,
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    key_env="GROQ_API_KEY",
    batch=replace(
        BATCHES,
        apis=frozenset(("openai.chat",)),
        limits=replace(BATCHES.limits, max_bytes=100_000_000),
        source="the vendor's SDK 1.7.0, checked 2026-11-20",
    ),
)
TOGETHER = replace(
    OPENAI,
    name="together",
    base_url="https://api.together.ai/v1",
    key_env="TOGETHER_API_KEY",
    batch=None,
)
MISTRAL = replace(
    OPENAI,
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    key_env="MISTRAL_API_KEY",
    batch=None,
)
DOUBLEWORD = replace(
    OPENAI,
    name="doubleword",
    base_url="https://api.doubleword.ai/v1",
    key_env="DOUBLEWORD_API_KEY",
    batch=replace(
        BATCHES,
        limits=replace(BATCHES.limits, max_bytes=100_000_000),
        source="the defaults of the vendor's open source, checked 2026-11-20",
    ),
)


def at(
    base_url: str, *, name: str, key_env: str | None = None, batch: BatchApi | None = None
) -> Provider:
    """A service we know nothing of but its address. Its own prompt cache likes shared prefixes."""
    return replace(
        OPENAI,
        name=name,
        base_url=base_url.rstrip("/"),
        key_env=key_env,
        groups_prefixes=True,
        batch=batch,
    )
