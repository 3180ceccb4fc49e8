"""A fake as a process: the base URL on its first line, the ledger's sums on its last."""

import argparse
import json
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from .ledger import BatchLedger
from .life import Phases

PHASES: Final = ("validating", "in_progress", "finalizing", "cancelling")


class Fake(Protocol):
    @property
    def base_url(self) -> str: ...

    @property
    def ledger(self) -> BatchLedger: ...

    def start(self) -> None: ...

    def close(self) -> None: ...


def parser_of(package: str, description: str) -> argparse.ArgumentParser:
    """What all of these processes take."""
    parser = argparse.ArgumentParser(
        prog=f"python -m anybatch.testing.{package}",
        description=f"{description} Stop it with Ctrl-C.",
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    for name in PHASES:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=0.0, help="seconds of this phase")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--key", help="the API key that calls must carry")
    parser.add_argument("--seed", type=int, default=0, help="of ids and of the order of results")
    return parser


def serve(
    new_fake: Callable[..., Fake],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
) -> None:
    """Run until a signal says to stop."""
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    phases = Phases(**{name: given.pop(name) for name in PHASES})
    stops = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the service's thread is born, which inherits it: only we take the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    fake = new_fake(phases=phases, **given)
    fake.start()
    print(fake.base_url, flush=True)
    signal.sigwait(stops)
    sums = fake.ledger.sums
    fake.close()
    print(json.dumps(sums), flush=True)
