"""The fake as a process: the base URL on its first line, the ledger's sums on its last."""

from collections.abc import Sequence

from ..batches.process import parser_of, serve
from .fake import FakeAnthropic


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("anthropic", "Anthropic's message batches, and its messages.")
    parser.add_argument("--max-queued", type=int, help="rows of all batches under way")
    serve(FakeAnthropic, parser, arguments)


if __name__ == "__main__":
    main()
