"""The fake as a process: the base URL on its first line, the ledger's sums on its last."""

import argparse
import json
import signal
from collections.abc import Sequence

from ..batches.life import Phases
from .fake import FakeOpenAI

PHASES = ("validating", "in_progress", "finalizing", "cancelling")


def main(arguments: Sequence[str] | None = None) -> None:
    given = vars(_parser().parse_args(arguments))
    phases = Phases(**{name: given.pop(name) for name in PHASES})
    stops = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the service's thread is born, which inherits it: only we take the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    fake = FakeOpenAI(phases=phases, **given)
    with fake:
        print(fake.base_url, flush=True)
        signal.sigwait(stops)
    print(json.dumps(fake.ledger.sums), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m anybatch.testing.openai",
        description="OpenAI's files and batches, and its calls. Stop it with Ctrl-C.",
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    for name in PHASES:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=0.0, help="seconds of this phase")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--key", help="the API key that calls must carry")
    parser.add_argument("--enqueued-tokens", type=int, help="of all batches under way")
    parser.add_argument("--max-batches", type=int, help="batches at once")
    parser.add_argument("--creations-per-hour", type=int, help="batches created an hour")
    parser.add_argument("--seed", type=int, default=0, help="of ids and of the order of results")
    return parser


if __name__ == "__main__":
    main()
