"""What all parts of one fake service work with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .ledger import BatchLedger
from .life import Fates, Phases
from .rows import Runner
from .vault import Vault

Q = TypeVar("Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk(Generic[Q]):
    vault: Vault = field(default_factory=Vault)
    ledger: BatchLedger = field(default_factory=BatchLedger)
    runner: Runner
    now: Callable[[], float]
    """Seconds since 1970."""
    quotas: Q
    """What the service takes."""
    phases: Phases
    fates: Fates
    ranges: bool
    """Whether a download may be of a part of a file."""
    shuffle: bool
    """Whether rows are run in an order of their own."""
    seed: int
    """Of ids and orders."""
