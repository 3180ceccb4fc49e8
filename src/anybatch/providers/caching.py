"""What is known of providers' prompt caches, as dated facts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..core.model import Spec

InBatch = Literal["primed", "doubtful", "alone"]
"""What a cache does for requests of a batch. `primed`: they read what a batch before them wrote.
`doubtful`: prices are published, but nobody has shown that anything is read. `alone`: what is read
costs the same as in real time, so the two savings do not add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A provider's prompt cache."""

    floors: tuple[tuple[str, int], ...]
    """(the beginning of a model's name, as a pattern; the shortest head in tokens that it caches).
    The first that fits holds."""
    in_batch: InBatch
    source: str

    def floor(self, model: str) -> int:
        """Shorter heads are not cached, and nothing says so."""
        name = model.rpartition("/")[2]
        return next(tokens for pattern, tokens in self.floors if re.match(pattern, name))


CACHES: Mapping[str, Cache] = {
    "anthropic": Cache(
        floors=(
            (r"claude-(opus-5$|opus-5-2|fable-5)", 512),
            (r"claude-(sonnet-4|sonnet-5$|sonnet-5-2)", 1_024),
            (r"claude-opus-4-7", 2_048),
            # Nobody has published those of the 5.5 models: the highest that is known holds.
            (r"", 4_096),
        ),
        in_batch="primed",
        source="LiteLLM's documents of 2026-10-07; Bike4Mind issue 2741 for batches: nothing is "
        "read by 138 requests in five cold batches, all by those after a batch of one",
    ),
    "openai": Cache(
        floors=((r"", 1_024),),
        in_batch="doubtful",
        source="developers.openai.com, prompt caching, checked 2026-11-20; LiteLLM issue 39861",
    ),
    "gemini": Cache(
        floors=((r"gemini-2", 2_048), (r"", 4_096)),
        in_batch="alone",
        source="ai.google.dev, context caching; checked 2026-11-20",
    ),
    "vertex": Cache(
        floors=((r"gemini-2", 2_048), (r"", 4_096)),
        in_batch="alone",
        source="docs.cloud.google.com, batch prediction for Gemini: the discount of 90 % on what "
        "is cached replaces that of 50 % on batches; checked 2026-11-20",
    ),
}


def cache_of(spec: Spec) -> Cache | None:
    """None: nobody has said that there is one."""
    return CACHES.get(spec.provider) if spec.base_url is None else None
