"""`anybatch fake`: a provider on this machine that answers, fails and counts as it is told."""

import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import UsageError
from ..testing import words
from ..testing.batches.hosted import Hosted
from ..testing.batches.life import Phases
from ..testing.fakes import FAKES, Kind
from .leave import heeded
from .report import print_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What a fake is told."""

    port: int
    key: str | None
    phases: Phases
    latency: float
    limits: Iterable[str]
    faults: Iterable[str]
    share: float
    row_share: float
    ends: Iterable[str]
    seed: int


def fake_command(name: str, manner: Manner, *, as_json: bool) -> int:
    """Serve until a signal says to stop; then say what it has in its books."""
    kind = FAKES.get(name)
    if kind is None:
        raise UsageError(f"there is no fake {name!r}; there are {', '.join(FAKES)}")
    stops = heeded()
    # Blocked before the service's thread is born, which inherits it: only we take the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    fake = _new(name, kind, manner)
    _start(fake, manner.port)
    key = manner.key or "any"
    if as_json:
        where = {"base_url": fake.base_url, "address": fake.address}
        print_json({"name": name, **where, "environment": dict(fake.environment)})
    else:
        print(fake.base_url, flush=True)
        _point(kind, fake, key)
    signal.sigwait(stops)
    sums = fake.ledger.sums
    fake.close()
    print_json(sums)
    return 0


def _new(name: str, kind: Kind, manner: Manner) -> Hosted:
    seed = manner.seed
    try:
        return kind.new(
            faults=words.faults_of(
                manner.faults, kind.fake.operations, share=manner.share, seed=seed
            ),
            rows=words.row_faults_of(manner.row_share, seed=seed),
            batches=[words.fate_of(end, kind.ends) for end in manner.ends],
            phases=manner.phases,
            latency=manner.latency,
            key=manner.key,
            seed=seed,
            port=manner.port,
            **_limits(name, kind, manner.limits),
        )
    except ValueError as e:
        raise UsageError(f"{e}") from e


def _limits(name: str, kind: Kind, told: Iterable[str]) -> Mapping[str, int]:
    """`max-batches=2` as numbers by their names."""
    limits = {}
    for each in told:
        limit, _, number = each.partition("=")
        limit = limit.replace("-", "_")
        if limit not in kind.limits or not number.isdigit():
            known = ", ".join(f"{one.replace('_', '-')}=NUMBER" for one in kind.limits)
            raise UsageError(f"--limit {each!r} is none of {name}'s; it has {known}")
        limits[limit] = int(number)
    return limits


def _start(fake: Hosted, port: int) -> None:
    try:
        fake.start()
    except OSError as e:
        fake.close()
        raise UsageError(f"port {port} is not to be had: {e.strerror}. Leave --port out") from e


def _point(kind: Kind, fake: Hosted, key: str) -> None:
    """Say how clients find it."""
    client = kind.client.format(fake=fake, key=key)
    before = "".join(f"{name}={value} " for name, value in fake.environment.items())
    run = f"anybatch run DATA --prompt … --model {kind.model} --base-url {fake.base_url}"
    said = [
        f"{kind.serves}, on this machine. Nothing is charged. Ctrl-C stops it.",
        f"  its client: {client}",
        f"  anybatch:   {before}{run} --executor batch",
    ]
    print("\n".join(said), file=sys.stderr, flush=True)
