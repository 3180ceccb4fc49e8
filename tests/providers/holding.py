"""Holding requests against the rules of a provider."""

from collections.abc import Iterable
from typing import Any

import msgspec

from anybatch.core.plan import Limits
from anybatch.providers import registry
from anybatch.providers.rules import Problem, Tally

Given = bytes | dict[str, Any]
"""A line as it stands in a file, or what is to stand there."""


def line_of(given: Given) -> bytes:
    return given if isinstance(given, bytes) else msgspec.json.encode(given)


def tally_for(provider: str, *, version: str | None = None, limits: Limits | None = None) -> Tally:
    batch = registry.find(provider, configured={}, offline=True).batch
    assert batch is not None
    assert batch.rules is not None
    return Tally(batch.rules, limits=limits or batch.limits, apis=batch.apis, version=version)


def problems(
    provider: str, *given: Given, version: str | None = None, limits: Limits | None = None
) -> list[Problem]:
    """What is wrong with a file of these requests, by the rules of `provider`."""
    tally = tally_for(provider, version=version, limits=limits)
    found: list[Problem] = []
    for number, line in enumerate(map(line_of, given), start=1):
        found += tally.add(number, line, size=len(line) + 1)
    return [*found, *tally.end()]


def told(found: Iterable[Problem]) -> list[tuple[int | None, str, str | None]]:
    """All but the words for people."""
    return [(problem.line, problem.code, problem.param) for problem in found]
