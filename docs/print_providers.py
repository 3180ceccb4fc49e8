"""Writes what stands between the marks of the pages in `docs/providers`, from `anybatch.providers`.

python docs/print_providers.py            # says which pages are not as the facts are
python docs/print_providers.py --write    # makes them so
"""

import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

from anybatch.providers.provider import BatchApi, Provider, Tier
from anybatch.providers.registry import BUILT_IN

DOCS = Path(__file__).parent

FACTS = """\
| | |
|---|---|
| Key | {key} |
| Address | {address} |
{asks}| Apis | {apis} |
{schemas}{tiers}{batch}"""

BATCH = """\
| Rows a batch | {rows} |
| Bytes a batch | {size} |
{within}| Given up after | {window} |
| Results kept for | {retention} |
| A lost submission is found by | {found} |
| Source | {source} |
"""

MARKED = re.compile(r"(?<=<!-- (?:facts|table) -->\n).*?(?=<!-- end -->)", re.DOTALL)

HEAD = "| Provider | Key | Batch API | Rows a batch | Bytes a batch | Given up after |\n"
RULE = "|---|---|---|---|---|---|"


def table(folder: str) -> str:
    """The table of all, with links to their pages in `folder`."""
    rows = (row(provider, folder) for provider in BUILT_IN.values())
    return "\n".join([HEAD.rstrip(), RULE, *rows, ""])


def row(provider: Provider, folder: str) -> str:
    batch = provider.batch
    cells = (
        ("yes", number(batch.limits.max_requests), size(batch), length(batch.window, "never"))
        if batch is not None
        else ("no", "", "", "")
    )
    name = f"[`{provider.name}`]({folder}{provider.name}.md)"
    return f"| {name} | {key(provider)} | {' | '.join(cells)} |"


def key(provider: Provider) -> str:
    if provider.key_env is None:
        return "none"
    token = f" or `{provider.token_env}`" if provider.token_env is not None else ""
    return f"`{provider.key_env}`{token}"


def number(count: int) -> str:
    return f"{count:,}"


def size(batch: BatchApi) -> str:
    most = batch.limits.max_bytes
    return "" if most is None else f"{most // 1_000_000:,} MB"


def length(time: timedelta | None, endless: str) -> str:
    """A stretch of time in words; `endless`: those for none."""
    if time is None:
        return endless
    hours = time.total_seconds() / 3600
    return f"{hours:g} h" if hours <= 72 else f"{hours / 24:g} days"


def facts(provider: Provider) -> str:
    return FACTS.format(
        key=key(provider),
        address=address(provider),
        asks=asks(provider),
        apis=", ".join(f"`{api}`" for api in provider.apis),
        schemas=schemas(provider),
        tiers=tiers(provider),
        batch=batch_lines(provider.batch) if provider.batch is not None else "",
    )


def address(provider: Provider) -> str:
    if provider.base_url is None:
        return "a model in this process"
    return ", ".join(f"`{url}`" for url in (provider.base_url, *provider.hosts.values()))


def asks(provider: Provider) -> str:
    """The row of what only the caller can say; nothing where nothing is asked."""
    said = [f"`{asked.name}` or `{asked.variable}`" for asked in provider.asks]
    return f"| Of your own | {', '.join(said)} |\n" if said else ""


def batch_lines(batch: BatchApi) -> str:
    return BATCH.format(
        rows=number(batch.limits.max_requests),
        size=size(batch),
        window=length(batch.window, "never"),
        retention=length(batch.retention, "until they are deleted"),
        within=within(batch),
        found=batch.found_by,
        source=batch.source,
    )


def within(batch: BatchApi) -> str:
    """The row of how small batches go; nothing where they go as all others."""
    if batch.within is None:
        return ""
    return f"| Without an upload | up to {batch.within.max_bytes // 1_000_000} MB |\n"


def schemas(provider: Provider) -> str:
    """The row of what is known of its structured output; nothing where that is nothing."""
    known = provider.schemas
    return "" if known is None else f"| Schemas it takes, as of | {known.source} |\n"


def tiers(provider: Provider) -> str:
    """The row of the tiers it has; nothing where we know of none."""
    known = provider.tiers
    if known is None:
        return ""
    names = ", ".join(f"`{tier}`" for tier in get_args(Tier) if tier in known.names)
    return f"| Tiers | {names} ({known.source}) |\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page, and what belongs between its marks."""
    yield DOCS.parent / "README.md", table("docs/providers/")
    yield DOCS / "providers" / "README.md", table("")
    for provider in BUILT_IN.values():
        yield DOCS / "providers" / f"{provider.name}.md", facts(provider)


def renewed(page: Path, content: str) -> str:
    """The page with `content` between its marks. Raises ValueError if it has not one pair."""
    text, found = MARKED.subn(lambda _: content, page.read_text("utf-8"))
    if found != 1:
        raise ValueError(f"{page.name} has {found} pairs of marks instead of one")
    return text


def main() -> int:
    stale = [
        (page, text)
        for page, said in pages()
        if (text := renewed(page, said)) != page.read_text("utf-8")
    ]
    for page, text in stale:
        print(page.relative_to(DOCS.parent))
        if "--write" in sys.argv:
            page.write_text(text, "utf-8")
    return int(bool(stale) and "--write" not in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
