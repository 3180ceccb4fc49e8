"""What is known of providers' prompt caches, as dated facts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ..core.model import WORDLESS, Spec

InBatch = Literal["primed", "doubtful", "alone"]
"""What a cache does for requests of a batch. `primed`: they read what a batch before them wrote.
`doubtful`: prices are published, but nobody has shown that anything is read. `alone`: what is read
costs the same as in real time, so the two savings do not add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The shortest head that models cache; shorter ones are not, and nothing says so."""

    models: str
    """A pattern that their names begin with, without their provider's."""
    tokens: int
    is_known: bool = True
    """False: nobody has published it, and the highest that is known of the provider's holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A provider's prompt cache."""

    floors: tuple[Floor, ...]
    """The first that fits holds."""
    in_batch: InBatch
    source: str
    breakpoints: bool = False
    """Whether it has to be told up to where a prompt is to be kept."""
    life: timedelta = timedelta(minutes=5)
    """How long what is not read stays, at least; where there is a choice, the shorter time."""
    longer: timedelta | None = None
    """The longer one, at a price of its own; None: there is no choice."""

    def floor(self, model: str) -> Floor:
        """What holds for a model."""
        name = model.rpartition("/")[2]
        return next(floor for floor in self.floors if re.match(floor.models, name))


_GEMINI_FLOORS = (Floor(models="gemini-2", tokens=2_048), Floor(models="", tokens=4_096))

CACHES: Mapping[str, Cache] = {
    "anthropic": Cache(
        floors=(
            Floor(models=r"claude-(opus-5$|opus-5-2|fable-5$|fable-5-2)", tokens=512),
            Floor(models=r"claude-(sonnet-4|sonnet-5$|sonnet-5-2)", tokens=1_024),
            Floor(models=r"claude-opus-4-7", tokens=2_048),
            Floor(models=r"claude-haiku-4-5", tokens=4_096),
            Floor(models=r"", tokens=4_096, is_known=False),
        ),
        in_batch="primed",
        breakpoints=True,
        life=timedelta(minutes=5),
        longer=timedelta(hours=1),
        source="LiteLLM's documents of 2026-10-07 for the floors; those of the 5.5 models are not "
        "published. Bike4Mind issue 2741 for batches: nothing is read by 138 requests in five cold "
        "batches, all by those after a batch of one; skills issue 1475: what is written in real "
        "time is not read in a batch",
    ),
    "openai": Cache(
        floors=(Floor(models=r"", tokens=1_024),),
        in_batch="doubtful",
        life=timedelta(minutes=30),
        source="developers.openai.com, prompt caching, and the official SDK 3.51, "
        "`prompt_cache_options`: from gpt-5.6 on what is written costs more, and nothing is with "
        "mode `explicit` and no breakpoint; checked 2026-11-20. LiteLLM issue 39861 for the prices "
        "in batches; no measurement of hits there is published",
    ),
    "gemini": Cache(
        floors=_GEMINI_FLOORS,
        in_batch="alone",
        source="ai.google.dev, context caching; checked 2026-11-20",
    ),
    "vertex": Cache(
        floors=_GEMINI_FLOORS,
        in_batch="alone",
        source="docs.cloud.google.com, batch prediction for Gemini: the discount of 90 % on what "
        "is cached replaces that of 50 % on batches; checked 2026-11-20",
    ),
}


def cache_of(spec: Spec) -> Cache | None:
    """None: nobody has said that there is one."""
    if spec.base_url is not None or spec.api in WORDLESS:
        return None
    return CACHES.get(spec.provider)
