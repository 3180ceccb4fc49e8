"""The fake as a process: the base URL on its first line, the ledger's sums on its last."""

from collections.abc import Sequence

from ..batches.process import parser_of, serve
from .fake import FakeGemini


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("gemini", "Gemini's files and batches, and its calls.")
    parser.add_argument("--enqueued-tokens", type=int, help="of all batches under way")
    parser.add_argument("--max-batches", type=int, help="batches at once")
    serve(FakeGemini, parser, arguments)


if __name__ == "__main__":
    main()
