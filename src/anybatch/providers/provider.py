"""What we know of a service, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.model import Api
from ..core.plan import Limits

ALL_APIS: frozenset[Api] = frozenset(
    ("openai.chat", "openai.responses", "openai.embeddings", "openai.completions")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One service."""

    name: str
    base_url: str | None = None
    """Up to and including `/v1`; None: a model in this process."""
    key_env: str | None = None
    """The environment variable that holds the key; None: it takes none."""
    apis: frozenset[Api] = ALL_APIS
    limits: Limits = Limits(max_requests=10_000)
    """Of a batch that is answered call by call: small enough to share, large enough to be rare."""
    concurrency: int = 64
    """Calls in flight at most."""
    rpm: int | None = None
    """Requests a minute; None: learned from the service's own headers."""
    tpm: int | None = None
    """Tokens a minute, likewise."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every body gets unless the caller sets them."""
    groups_prefixes: bool = False
    """Whether requests that share a prefix should go out next to each other."""
