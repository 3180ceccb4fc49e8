"""The model in this process."""

from ..core.plan import Limits
from .provider import Provider

LOCAL = Provider(
    name="local",
    apis=("openai.chat", "openai.embeddings", "openai.completions"),
    limits=Limits(max_requests=1_000),
    concurrency=8,
    # A small model left alone may ramble to the end of its context.
    parameters={"max_tokens": 256},
    groups_prefixes=True,
)
