"""The fake as a process: the base URL on its first line, the ledger's sums on its last."""

from collections.abc import Sequence

from ..batches.process import parser_of, serve
from .fake import FakeVertex


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("vertex", "Vertex AI's batch prediction, its calls, and a bucket.")
    parser.add_argument("--bucket", default="bucket", help="the name of the one bucket")
    parser.add_argument("--shards", type=int, default=1, help="files that results are parted into")
    parser.add_argument("--max-batches", type=int, help="jobs at once")
    serve(FakeVertex, parser, arguments)


if __name__ == "__main__":
    main()
