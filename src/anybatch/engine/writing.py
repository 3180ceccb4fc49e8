"""The requests of a batch, written as its provider takes them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.heads import Marked
from ..core.model import Api, Batch
from ..core.packing import named
from ..effects import effect
from ..store.files import unwritable
from ..store.requests import RequestFile
from . import act
from .steps import RemoteWork

WriteRequest = Callable[[Api, str, bytes], bytes]


def write_input(on: RemoteWork, batch: Batch, path: Path, which: Marked) -> bool:
    """Write the requests as the provider takes them; True if they go within the submission.

    A canary goes the way that all others will, however small it is.
    """
    api = on.executor.api
    _write(on, batch, path, api.framing, api.write_request, which)
    is_canary = on.work.run.canary > 0 and batch.wave == 1
    if api.within is None or is_canary or path.stat().st_size > api.within.max_bytes:
        return False
    _write(on, batch, path, api.within.framing(batch.id), api.within.write_request, which)
    return True


def _write(
    on: RemoteWork,
    batch: Batch,
    path: Path,
    framing: Sequence[bytes],
    write: WriteRequest,
    which: Marked,
) -> None:
    head, between, tail = framing
    spec, run_id = on.work.run.spec, batch.run_id
    with (
        RequestFile(on.work.store.folder(run_id)) as requests,
        effect("upload.write", on.work.probe),
        unwritable(path),
        open(path, "wb") as file,
    ):
        file.write(head)
        say = act.said_by(on.work, batch, requests, which)
        for place, request in enumerate(act.outgoing(on.work, batch, requests)):
            # The name is that of what is stored: what is said to a cache is no part of it.
            line = write(spec.api, named(run_id, request), say(request).body)
            file.write(between + line if place else line)
        file.write(tail)
