"""`anybatch gc`: uploads and results of ours at a provider that nobody waits for any more."""

import sys
from pathlib import Path

from ..core.model import Spec
from ..engine.workspace import Workspace
from ..executors.auth import key_for
from ..executors.batch import BatchExecutor
from ..loops import run
from .leftovers import Found, Leftovers, deleted, find
from .progress import counted
from .remote import api_of, open_desk, provider_here, told
from .report import print_json
from .work import open_here

FAILED = 4
_LOOK_ALIKE = (
    "nothing is deleted. What other stores have there under the same account looks alike: make "
    "sure that no run of theirs is under way, then say --yes"
)


def gc_command(
    name: str, store: Path | None, *, base_url: str | None, yes: bool, as_json: bool
) -> int:
    """List what is left at a provider, and delete it if that is wanted."""
    workspace = open_here(store)
    provider, api = provider_here(name, base_url, workspace.settings)
    spec = Spec(provider=name, model=None, api=api_of(provider, api), base_url=base_url)
    key = key_for(provider, workspace.settings.environment)
    desk = open_desk(provider, spec, key=key, settings=workspace.settings)
    with told(name):
        found = run(_collect(desk, workspace, name, yes=yes))
    if as_json:
        print_json({"provider": name, **_json(found)})
    else:
        _print(name, found, deleting=yes)
    return FAILED if any(orphan.why for orphan in found.orphans) else 0


async def _collect(
    desk: BatchExecutor, workspace: Workspace, provider: str, *, yes: bool
) -> Leftovers:
    """What is ours there, with what nobody needs deleted if `yes`."""
    try:
        found = await find(desk, workspace, provider)
        if not yes:
            return found
        return found._replace(orphans=[await deleted(desk, orphan) for orphan in found.orphans])
    finally:
        await desk.close()


def _json(found: Leftovers) -> dict[str, object]:
    orphans = [
        {"id": one.id, "name": one.name, "deleted": one.deleted, "why": one.why}
        for one in found.orphans
    ]
    kept = [{"id": one.id, "name": one.name} for one in found.kept]
    return {"orphans": orphans, "kept": kept, "in_use": found.in_use, "running": found.running}


def _print(provider: str, found: Leftovers, *, deleting: bool) -> None:
    """The files on stdout, what is to be said of them on stderr."""
    for one in found.orphans:
        print(f"{one.id}  {one.name}  {_end(one)}".rstrip())
    for one in found.kept:
        print(f"{one.id}  {one.name}  kept: its run has --keep-remote")
    print(_sum(provider, found), file=sys.stderr)
    if found.in_use:
        print(f"{counted(found.in_use, 'file')} of runs under way left alone", file=sys.stderr)
    if found.kept:
        said = f"{counted(len(found.kept), 'file')} kept; `anybatch rm` of its run lets go of it"
        print(said, file=sys.stderr)
    if found.running:
        going = counted(len(found.running), "batch", "batches")
        said = f"{going} of ours still running, for no run here: {', '.join(found.running)}"
        print(said, file=sys.stderr)
    if found.orphans and not deleting:
        print(_LOOK_ALIKE, file=sys.stderr)


def _end(one: Found) -> str:
    return "deleted" if one.deleted else f"not deleted: {one.why}" if one.why else ""


def _sum(provider: str, found: Leftovers) -> str:
    if not found.orphans:
        return f"nothing of ours is left over at {provider}"
    return f"{counted(len(found.orphans), 'file')} at {provider} that no run here waits for"
