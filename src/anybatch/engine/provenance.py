"""Where a run comes from: all that was asked, of what, by what, at which prices; and how two runs
differ."""

from typing import Any, NamedTuple

import msgspec

from ..core.model import Json, Run
from .ledger import models_of
from .sameness import TOOL
from .workspace import Workspace


def manifest(workspace: Workspace, run: Run) -> Json:
    """What made `run` what it is, as data. Reads its journals, for the models that answered."""
    look, spec = workspace.progress(run), run.spec
    quote = workspace.store.quote(run.id)
    return {
        "run": run.id,
        "anybatch": run.parts.get(TOOL),
        "created_at": run.created_at.isoformat(),
        "ended_at": None if run.ended_at is None else run.ended_at.isoformat(),
        "status": look.status,
        "provider": spec.provider,
        "base_url": spec.base_url,
        "api": spec.api,
        "model": spec.model,
        "models_returned": models_of(workspace.store, run),
        "executor": spec.executor,
        "tail": spec.tail,
        "prompt": spec.prompt,
        "system": spec.system,
        "schema": spec.output_schema,
        "parameters": spec.parameters,
        "data": {
            "source": run.source,
            "digest": run.parts.get("data"),
            "rows": run.total,
            "skipped": run.skipped,
            "columns": run.columns,
        },
        "fingerprint": run.fingerprint,
        "parts": digests(run),
        "terms": msgspec.to_builtins(run.terms),
        "quote": None if quote is None else msgspec.to_builtins(quote),
        "counts": look.counts,
        "usage": msgspec.to_builtins(look.usage),
    }


def digests(run: Run) -> dict[str, str]:
    """A digest of each thing that makes `run` what it is."""
    return {name: digest for name, digest in run.parts.items() if name != TOOL}


class Part(NamedTuple):
    """A thing in which two runs differ."""

    name: str
    before: Any
    after: Any


def differing(one: Run, other: Run) -> list[Part]:
    """The parts in which `other` is not as `one`. Of data its digest stands for it."""
    values, others = _values(one), _values(other)
    names = dict.fromkeys((*values, *others))
    return [
        Part(name, values.get(name), others.get(name))
        for name in names
        if values.get(name) != others.get(name)
    ]


def _values(run: Run) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(run.spec)
    return {**said, "data": run.parts.get("data"), TOOL: run.parts.get(TOOL)}
