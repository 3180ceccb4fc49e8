"""`anybatch gc`: uploads of ours at a provider that nobody waits for any more."""

import sys
from pathlib import Path
from typing import NamedTuple

from ..core.marks import PREFIX, batch_in
from ..core.model import Spec
from ..engine.workspace import Workspace
from ..errors import TransportError
from ..executors.auth import key_for
from ..executors.batch import BatchExecutor
from ..loops import run
from ..providers.flow import Refused
from ..providers.provider import Uploaded
from .progress import counted
from .remote import api_of, open_desk, provider_here, told
from .report import print_json
from .work import open_here

FAILED = 4
_LOOK_ALIKE = (
    "nothing is deleted. What other stores have uploaded under the same account looks alike: make "
    "sure that no run of theirs is under way, then say --yes"
)


class Orphan(NamedTuple):
    """An upload that no batch in this store waits for."""

    upload: Uploaded
    deleted: bool = False
    why: str | None = None
    """Why it could not be deleted."""


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
        orphans, wanted = run(_collect(desk, workspace, yes=yes))
    if as_json:
        print_json({"provider": name, "orphans": list(map(_json, orphans)), "in_use": wanted})
    else:
        _print(name, orphans, wanted, deleting=yes, uploads=api.upload is not None)
    return FAILED if any(orphan.why for orphan in orphans) else 0


async def _collect(
    desk: BatchExecutor, workspace: Workspace, *, yes: bool
) -> tuple[list[Orphan], int]:
    """What nobody waits for, deleted if `yes`, and how many uploads are still in use."""
    try:
        listed = [file for file in await desk.uploads_like(PREFIX) if batch_in(file.name)]
        # Asked after the listing: what is listed was planned before, what came since is not listed.
        orphans = [file for file in listed if not workspace.is_wanted(batch_in(file.name) or "")]
        found = [await _deleted(desk, file) if yes else Orphan(file) for file in orphans]
        return found, len(listed) - len(orphans)
    finally:
        await desk.close()


async def _deleted(desk: BatchExecutor, file: Uploaded) -> Orphan:
    try:
        await desk.delete(file.id)
    except (Refused, TransportError) as e:
        return Orphan(file, why=str(e))
    return Orphan(file, deleted=True)


def _json(orphan: Orphan) -> dict[str, object]:
    file, deleted, why = orphan
    return {"id": file.id, "name": file.name, "deleted": deleted, "why": why}


def _print(
    provider: str, orphans: list[Orphan], wanted: int, *, deleting: bool, uploads: bool
) -> None:
    """The files on stdout, what is to be said of them on stderr."""
    for file, deleted, why in orphans:
        end = "deleted" if deleted else f"not deleted: {why}" if why else ""
        print(f"{file.id}  {file.name}  {end}".rstrip())
    if not uploads:
        said = f"{provider} keeps no uploads: its batches carry their requests"
    elif not orphans:
        said = f"nothing of ours is left over at {provider}"
    else:
        said = f"{counted(len(orphans), 'upload')} at {provider} that no run here waits for"
    print(said, file=sys.stderr)
    if wanted:
        print(f"{counted(wanted, 'upload')} of runs under way left alone", file=sys.stderr)
    if orphans and not deleting:
        print(_LOOK_ALIKE, file=sys.stderr)
