"""Requests that need not be sent: equal ones of a run, and those that earlier runs had answered."""

from array import array
from dataclasses import dataclass
from typing import NamedTuple

from ..core.model import Spec
from ..effects import Probe
from ..store.copies import alike, merge
from ..store.store import Store
from .reuse import Reuse, Taken, check_settled, take_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Which rows of a run need no request of their own."""

    dedupe: bool = True
    """Those that ask what another row asks."""
    reuse: Reuse | None = None
    """Those that earlier runs had answered; None: none."""


EQUAL_ONCE = Sharing()
"""As runs are planned where nobody says otherwise."""


class Shared(NamedTuple):
    """What of a new run's rows need no request of their own."""

    copies: int = 0
    """So many ask what another one before them asks."""
    taken: Taken | None = None
    """What earlier runs had answered; None: nothing."""


def share(
    store: Store,
    run_id: str,
    spec: Spec,
    wanted: Sharing,
    first_of: "array[int] | None",
    *,
    total: int,
    probe: Probe,
) -> Shared:
    """Leave in the requests file what is to be sent, each body once, and what was answered behind.

    `first_of`: for each row the first one that seems to ask the same; None: all differ, or each is
    to have an answer of its own. Without anything shared the files stay as they are.
    """
    folder = store.folder(run_id)
    copies = 0 if first_of is None else alike(folder, first_of)
    first_of = first_of if copies else None
    taken = None
    if wanted.reuse is not None:
        check_settled(spec, folder, wanted.reuse)
        first_of = first_of or array("I", range(total))
        taken = take_over(store, run_id, spec, first_of, wanted.reuse, probe=probe)
    if first_of is not None and (copies or (taken is not None and taken.rows)):
        merge(folder, first_of, answered=() if taken is None else taken.rows, probe=probe)
    return Shared(copies, taken if taken is not None and taken.rows else None)
