"""The fakes of providers by name, as `anybatch fake` offers them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from .anthropic import FakeAnthropic
from .batches.hosted import Hosted
from .batches.life import End
from .gemini import FakeGemini
from .openai import FakeOpenAI
from .vertex import FakeVertex


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One of them."""

    fake: type[Hosted]
    serves: str
    client: str
    """How its official client is made, with `{fake.address}` and `{key}` for what they are."""
    model: str
    """A model by which anybatch finds the provider."""
    limits: tuple[str, ...]
    """Numbers that it can be told not to exceed."""
    ends: tuple[End, ...] = get_args(End)
    """How its batches may end."""

    def new(self, **told: Any) -> Hosted:
        make: Callable[..., Hosted] = self.fake
        return make(**told)


FAKES: Final[Mapping[str, Kind]] = {
    "openai": Kind(
        fake=FakeOpenAI,
        serves="OpenAI's files and batches, and its calls",
        client='openai.OpenAI(base_url="{fake.base_url}", api_key="{key}")',
        model="openai/any",
        limits=("max_rows", "max_bytes", "max_batches", "enqueued_tokens", "creations_per_hour"),
    ),
    "anthropic": Kind(
        fake=FakeAnthropic,
        serves="Anthropic's message batches, and its messages",
        client='anthropic.Anthropic(base_url="{fake.address}", api_key="{key}")',
        model="anthropic/any",
        limits=("max_rows", "max_bytes", "max_queued"),
        ends=("completed", "expired", "cancelled"),
    ),
    "gemini": Kind(
        fake=FakeGemini,
        serves="Gemini's files and batches, and its calls",
        client='genai.Client(api_key="{key}", http_options={{"base_url": "{fake.address}"}})',
        model="gemini/any",
        limits=("max_bytes", "max_inline_bytes", "max_batches", "enqueued_tokens"),
    ),
    "vertex": Kind(
        fake=FakeVertex,
        serves="Vertex AI's jobs, its calls, and a bucket",
        client=(
            'genai.Client(vertexai=True, project="fake-project", location="us-central1", '
            'credentials=Credentials(token="{key}"), http_options={{"base_url": "{fake.address}"}})'
        ),
        model="vertex/any",
        limits=("max_rows", "max_batches", "shards"),
    ),
}
