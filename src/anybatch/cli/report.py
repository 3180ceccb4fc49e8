"""What is said at the end of a run, for people and for machines."""

from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from ..core.budget import is_over
from ..core.ledger import Cost
from ..core.model import Run
from ..core.offers import money
from ..core.retry import invalid_in_canary
from ..core.states import OUTCOMES, TRIPPING
from ..engine.events import Progress, Report, spared
from .progress import counted, ranked

_STYLES = {"ok": "green", "partial": "yellow", "cancelled": "yellow", "running": "yellow"}


def print_json(value: object) -> None:
    """One JSON value on stdout, on a line of its own."""
    print(msgspec.json.encode(value).decode(), flush=True)


def progress_json(progress: Progress, *, status: str | None = None) -> dict[str, Any]:
    """A run, as machines read it. `status`: what is known better than its record says."""
    run = progress.run
    return {
        "id": run.id,
        "status": status or progress.status,
        "why": run.why,
        "source": run.source,
        "model": _model(progress),
        "api": run.spec.api,
        "created_at": run.created_at.isoformat(),
        "ended_at": None if run.ended_at is None else run.ended_at.isoformat(),
        "total": run.total,
        "skipped": run.skipped,
        "copies": run.copies,
        "reused": run.reused,
        "spared_share": round(spared(run).share, 4),
        "pending": run.total - progress.done,
        "counts": progress.counts,
        "wave": run.wave,
        "tokens_in": progress.usage.tokens_in,
        "tokens_out": progress.usage.tokens_out,
        "tokens_cached": progress.usage.cached,
        "late": progress.late,
    }


def report_json(report: Report, *, out: str | None, status: str | None = None) -> dict[str, Any]:
    """A report, as machines read it."""
    return {
        **progress_json(report.progress, status=status),
        "repeated_at_most": report.repeated,
        "set_aside": report.set_aside,
        "were_late": report.were_late,
        "cost": cost_json(report),
        "packs": _packs_json(report.progress),
        "errors": [{"message": message, "count": count} for message, count in report.errors],
        "out": out,
    }


def _packs_json(progress: Progress) -> dict[str, Any] | None:
    """What a trial of packs has shown; None: there was none."""
    if progress.compared is None:
        return None
    said: dict[str, Any] = msgspec.to_builtins(progress.compared)
    for field, told in zip(progress.compared.fields, said["fields"], strict=True):
        told["low"], told["high"] = field.interval
    return said


def _model(progress: Progress) -> str:
    spec = progress.run.spec
    return spec.provider if spec.model is None else f"{spec.provider}/{spec.model}"


def print_report(
    report: Report,
    *,
    on: Console | None = None,
    table: str | None = None,
    interrupted: bool = False,
    detached: bool = False,
    at_work: bool = False,
) -> None:
    """The end of a run, or its middle, in a few lines; on stderr unless said otherwise.

    `table`: what became of the table. `at_work`: whether another process is at it.
    """
    progress, run = report.progress, report.progress.run
    console = on or Console(stderr=True)
    word = "detached" if detached else "interrupted" if interrupted else progress.status
    style = _STYLES.get(progress.status, "red")
    head = Text.assemble((word, f"bold {style}"), f"  run {run.id}: {_sums(progress)}")
    console.print(head, soft_wrap=True)
    ways_on = [] if detached else _ways_on(progress, at_work)
    for line in [*_lines(report), *([table] if table else []), *ways_on]:
        console.print(Text("  " + line), soft_wrap=True)


def _sums(progress: Progress) -> str:
    said = ranked(progress)
    if pending := progress.run.total - progress.done:
        said.append(f"{pending:,} not answered yet")
    return f"{counted(progress.run.total, 'row')} = {' + '.join(said)}"


def _lines(report: Report) -> list[str]:
    run, usage = report.progress.run, report.progress.usage
    cached = f" ({usage.cached:,} of them cached)" if usage.cached else ""
    said = [f"{usage.tokens_in:,} tokens in{cached}, {usage.tokens_out:,} out"]
    said += _spared(run)
    if run.skipped:
        said.append(f"left out: {counted(run.skipped, 'bad row')}")
    if report.progress.waiting is not None:
        said.append(f"waits: {report.progress.waiting}")
    if report.progress.compared is not None:
        said.append(report.progress.compared.words)
    if report.repeated:
        said.append(
            f"after a crash at most {counted(report.repeated, 'call')} were made a second time"
        )
    if report.set_aside:
        said.append(
            f"{counted(report.set_aside, 'result')} of the provider's set aside: of no row of "
            "ours, or at odds with another one. Where these are mixed up, more may be"
        )
    if report.were_late:
        late = ", ".join(
            f"{counted(n, 'batch', 'batches')} {w}" for w, n in report.were_late.items()
        )
        said.append(f"for a while at their provider: {late}")
    said += [f"{count:,} × {message}" for message, count in report.errors]
    said += cost_lines(report)
    return [*said, sure_line(report)] if report.progress.status != "running" else said


def cost_lines(report: Report) -> list[str]:
    """What a run did cost, in dollars; nothing where nobody has said a price."""
    cost, is_over = report.cost, report.progress.status != "running"
    if cost.tariff is None:
        return []
    source = cost.tariff.source
    said = [
        f"{tier} has no price: {source} has none of {cost.tariff.model}" for tier in cost.unpriced
    ]
    if cost.total is None:
        return said
    said.append(_total_line(cost, cost.total, is_over=is_over))
    ways = {"in real time": cost.real_time, "by batch without a cache": cost.flat}
    others = [
        f"{way} {money(dollars)} ({_saved(cost.total, dollars)})"
        for way, dollars in ways.items()
        if dollars
    ]
    if others:
        said.append(f"the same tokens cost {', '.join(others)}")
    if cost.usage.cached or cost.premium:
        premium = f"; writing it cost {money(cost.premium)} more" if cost.premium else ""
        said.append(f"cache: {cost.hits:.1%} of what went in was read from it{premium}")
    if cost.again:
        said.append(f"what was asked again cost {money(cost.again)} before ({cost.retries:.1%})")
    return said


def _total_line(cost: Cost, total: float, *, is_over: bool) -> str:
    each = "" if cost.per_valid_row is None else f", {money(cost.per_valid_row)} a valid row"
    if cost.quote is None:
        assert cost.tariff is not None
        before = f"by the prices of {cost.tariff.as_of}, as none were kept with the run"
    else:
        off = "" if cost.off is None or not is_over else f" ({cost.off:+.1%})"
        before = f"the estimate was {money(cost.quote.dollars)}{off}"
    return f"{'cost' if is_over else 'cost so far'} {money(total)}{each}; {before}"


def _saved(paid: float, otherwise: float) -> str:
    if paid <= otherwise:
        return f"{1 - paid / otherwise:.0%} saved"
    return f"{1 - otherwise / paid:.0%} less than was paid"


def sure_line(report: Report) -> str:
    """What must never happen, counted."""
    twice = f"at most {report.repeated:,}" if report.repeated else "0"
    return f"lost {report.lost:,} · paid twice {twice} · unmatched {report.set_aside:,}"


def cost_json(report: Report) -> dict[str, Any]:
    """What a run did cost, as machines read it. Dollars are null where nobody has said a price."""
    cost = report.cost
    tariff = cost.tariff
    prices = tariff and {"source": tariff.source, "as_of": tariff.as_of.isoformat()}
    return {
        "dollars": cost.total,
        "dollars_estimated": None if cost.quote is None or tariff is None else cost.quote.dollars,
        "dollars_per_valid_row": cost.per_valid_row,
        "dollars_in_real_time": cost.real_time,
        "dollars_by_flat_batch": cost.flat,
        "dollars_of_premium": cost.premium if tariff else None,
        "dollars_asked_again": cost.again if tariff else None,
        "cache_hits": cost.hits,
        "duplicates": cost.duplicates,
        "without_price": cost.unpriced,
        "prices": prices,
        "lost": report.lost,
        "paid_twice_at_most": report.repeated,
        "unmatched": report.set_aside,
    }


def _spared(run: Run) -> list[str]:
    """A line on what was not sent, where there is something."""
    found = spared(run)
    whys = []
    if found.copies:
        whys.append(f"{found.copies:,} asked by another row as well")
    if found.reused:
        whys.append(f"{found.reused:,} answered by earlier runs")
    if not whys:
        return []
    saved = found.copies + found.reused
    return [f"not sent: {saved:,} of {run.total:,} ({found.share:.0%}): {', '.join(whys)}"]


def way_on(run: Run) -> str:
    """How a run that is not over comes to its end."""
    if run.state == "cancelling":
        return f"anybatch cancel {run.id} sees the cancelling to its end"
    return "run the same command again and it goes on"


def way_back(run: Run) -> str:
    """The same for a run of which a provider may have a part, which goes on without us."""
    if run.state == "cancelling" or run.spec.executor != "batch":
        return way_on(run)
    return (
        f"the provider goes on; type the same command to come back, or `anybatch cancel {run.id}`"
    )


def _is_held_by_canary(progress: Progress) -> bool:
    """Whether it stopped for its first rows: what they were answered stays as it is."""
    run, counts = progress.run, progress.sent
    first_only = sum(counts.values()) <= run.canary
    said_nothing_else = TRIPPING.isdisjoint(counts)
    disagrees = progress.compared is not None and not progress.compared.shows(run.terms.agreement)
    is_bad = disagrees or invalid_in_canary(counts) is not None
    return first_only and said_nothing_else and is_bad


def _ways_on(progress: Progress, at_work: bool) -> list[str]:
    """What the user can do next, where there is something."""
    run = progress.run
    if progress.status == "stopped" and is_over(run.why):
        return [f"stopped: {run.why}"]
    if progress.status == "stopped":
        again = "Mend that and run the same command again; it goes on"
        if _is_held_by_canary(progress):
            again = (
                f"The same command alone stops here again; with --no-canary run {run.id} goes on"
            )
        return [f"stopped: {run.why}. {again}"]
    if progress.status == "running" and at_work:
        return [f"a process works on it; follow it with: anybatch watch {run.id}"]
    if progress.status == "running":
        return [f"nothing is lost: {way_on(run)}"]
    ways = []
    if "ambiguous" in progress.counts:
        ways.append(
            "see on the provider's own pages whether what is ambiguous is there; if it is not: "
            f"anybatch retry {run.id} --only ambiguous"
        )
    failed = [o for o in progress.counts if o != "succeeded" and OUTCOMES[o].again != "never"]
    if failed:
        ways.append(f"ask again with: anybatch retry {run.id} --only {','.join(failed)}")
    return ways
