"""Talking to a provider's batch API without a run: what `gc` and `doctor` have in common."""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..clock import SystemClock
from ..core.model import Api, Spec
from ..core.states import Outcome
from ..errors import Ambiguous, AnybatchError, TransportError, UsageError
from ..executors.auth import Key
from ..executors.batch import BatchExecutor
from ..providers import registry
from ..providers.asked import check_said
from ..providers.flow import Refused
from ..providers.provider import BatchApi, Provider
from ..settings import Settings, load

ADVICE: Mapping[Outcome, str] = {
    "auth": "check the key, and that it may use files and batches",
    "billing": "add credit, or raise the account's limit",
    "rate_limited": "too much is asked or waiting; try again in some minutes",
    "server_error": "the service has trouble; try again in some minutes",
    "not_found_model": "check --model and --base-url",
    "bad_request": "the service does not take it so; check --model",
    "expired": "the service gave it up; try again later",
    "missing_result": "the service lost it; try again later",
}
"""What to do about it."""


def settings_here() -> Settings:
    """What this folder and this environment say."""
    return load(folder=Path.cwd(), environment=os.environ)


def provider_here(name: str, base_url: str | None, settings: Settings) -> tuple[Provider, BatchApi]:
    """A provider and its batch API. Raises UsageError where we know of none."""
    found = registry.find(
        name,
        configured=settings.providers,
        base_url=base_url,
        environment=settings.environment,
    )
    if found.batch is None:
        known = (p.name for p in registry.BUILT_IN.values() if p.batch is not None)
        raise UsageError(
            f"provider {name!r} has no batch API that we know of; {', '.join(known)} have"
        )
    check_said(name, found.batch.lacks)
    return found, found.batch


def api_of(provider: Provider, batch: BatchApi) -> Api:
    """The api that is meant where none is named."""
    return next(api for api in provider.apis if api in batch.apis)


def open_desk(
    provider: Provider, spec: Spec, *, key: Key | None, settings: Settings
) -> BatchExecutor:
    """Connections to a provider, under the settings of every run."""
    return BatchExecutor(
        provider,
        key=key,
        spec=spec,
        deadline=settings.deadline,
        clock=SystemClock(),
        jitter=random.random,
    )


@contextmanager
def told(provider: str) -> Iterator[None]:
    """Turn a refusal into one line: what the service said, and what to do."""
    try:
        yield
    except (Refused, TransportError) as e:
        raise AnybatchError(f"{provider}: {e}; {advice(e)}") from e


def advice(e: Exception) -> str:
    """What to do about what went wrong at a provider."""
    match e:
        case Refused():
            return ADVICE.get(e.outcome, "see what the service says")
        case TransportError():
            return "check the address, and that this machine gets there"
        case Ambiguous():
            return "look for a batch of one request on the provider's own pages"
        case _:
            return "mend that and try again"
