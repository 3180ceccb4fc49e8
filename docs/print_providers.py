"""Prints `docs/providers.md` from the facts in `anybatch.providers`.

python docs/print_providers.py > docs/providers.md
python docs/print_providers.py --table    # the table that stands in README.md
"""

import sys
from datetime import timedelta

from anybatch.providers.provider import BatchApi, Provider
from anybatch.providers.registry import BUILT_IN

PAGE = """\
# Providers

<!-- Printed by docs/print_providers.py from src/anybatch/providers/. Change it there. -->

`--model PROVIDER/MODEL` names who answers. Where the provider has a batch API, a run goes through
it, at the provider's lower price; `--executor online` asks in real time instead. Limits change:
each source says where they are from and when that was looked at.

{table}

Any other OpenAI-compatible endpoint goes by `--base-url`, call by call.

{sections}"""

SECTION = """\
## {name}

| | |
|---|---|
| Key | {key} |
| Address | `{address}` |
| Apis | {apis} |
{batch}"""

BATCH = """\
| Rows a batch | {rows} |
| Bytes a batch | {size} |
| Given up after | {window} |
| Results kept for | {retention} |
| A lost submission is found by | {found} |
| Source | {source} |
"""

HEAD = "| Provider | Key | Batch API | Rows a batch | Bytes a batch | Given up after |\n"
RULE = "|---|---|---|---|---|---|"


def table() -> str:
    return "\n".join([HEAD.rstrip(), RULE, *map(row, BUILT_IN.values())])


def row(provider: Provider) -> str:
    batch = provider.batch
    cells = (
        ("yes", number(batch.limits.max_requests), size(batch), length(batch.window))
        if batch is not None
        else ("no", "", "", "")
    )
    return f"| `{provider.name}` | {key(provider)} | {' | '.join(cells)} |"


def key(provider: Provider) -> str:
    return "none" if provider.key_env is None else f"`{provider.key_env}`"


def number(count: int) -> str:
    return f"{count:,}"


def size(batch: BatchApi) -> str:
    most = batch.limits.max_bytes
    return "" if most is None else f"{most // 1_000_000:,} MB"


def length(time: timedelta) -> str:
    hours = time.total_seconds() / 3600
    return f"{hours:g} h" if hours <= 72 else f"{hours / 24:g} days"


def section(provider: Provider) -> str:
    return SECTION.format(
        name=provider.name,
        key=key(provider),
        address=provider.base_url or "a model in this process",
        apis=", ".join(f"`{api}`" for api in provider.apis),
        batch=batch_lines(provider.batch) if provider.batch is not None else "",
    )


def batch_lines(batch: BatchApi) -> str:
    found = "our mark on it" if batch.marks else "its size and its time, confirmed by its results"
    return BATCH.format(
        rows=number(batch.limits.max_requests),
        size=size(batch),
        window=length(batch.window),
        retention=length(batch.retention),
        found=found,
        source=batch.source,
    )


def page() -> str:
    return PAGE.format(table=table(), sections="\n".join(map(section, BUILT_IN.values())))


if __name__ == "__main__":
    print(table() if "--table" in sys.argv else page().rstrip())
