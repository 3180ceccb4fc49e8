"""The fake endpoint as a process: the base URL on its first line, the ledger's sums on its last."""

import argparse
import json
import signal
from collections.abc import Sequence

from .fake import FakeEndpoint
from .ledger import Ledger


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    stops = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the endpoint's thread is born, which inherits it: only we take the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    endpoint = FakeEndpoint(**vars(given))
    with endpoint:
        print(endpoint.base_url, flush=True)
        signal.sigwait(stops)
    print(json.dumps(_sums(endpoint.ledger)), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m anybatch.testing.endpoint",
        description="An OpenAI-compatible endpoint that says the prompt back. Stop it with Ctrl-C.",
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--key", help="the API key that calls must carry")
    parser.add_argument("--rpm", type=int, help="requests a minute")
    parser.add_argument("--tpm", type=int, help="tokens a minute")
    parser.add_argument("--max-in-flight", type=int, help="calls at once")
    return parser


def _sums(ledger: Ledger) -> dict[str, int]:
    return {
        "received": ledger.received,
        "executions": len(ledger.executions),
        "repeated": ledger.repeated,
        "lost": ledger.lost,
        "tokens": ledger.tokens,
        "peak": ledger.peak,
    }


if __name__ == "__main__":
    main()
