"""What a run waits for at its provider, in words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from ..core.model import Batch
from ..core.quota import Quota, reason
from ..core.timing import span

NO_LOOKS: Mapping[str, datetime] = {}


def waiting_for(
    batches: Iterable[Batch],
    held: Mapping[str, Quota],
    now: datetime,
    *,
    looks: Mapping[str, datetime] = NO_LOOKS,
    looking: bool = False,
) -> str | None:
    """What batches wait for at their provider, in a few words; None: for nothing there.

    `held` are those that may not be submitted yet, by their ids, each with the limit it waits for.
    `looks` say when this process looks again at batches in which it saw nothing new, and `looking`
    that it does so now.
    """
    there = [batch for batch in batches if _is_waited_for(batch, held)]
    if not there:
        return None
    words = Counter(map(_word, there))
    said = ", ".join(f"{count} {word}" for word, count in words.most_common())
    due = [_due(batch, looks, now) for batch in there if batch.id not in held]
    when = "" if not due else f"; next look {'now' if looking else _in(min(due) - now)}"
    return f"the provider ({said}{when}){_why(there, held)}"


def _due(batch: Batch, looks: Mapping[str, datetime], now: datetime) -> datetime:
    """When something is done about it next."""
    again = looks.get(batch.id, now) if batch.status == "running" else now
    return max(batch.due or now, again)


def _in(wait: timedelta) -> str:
    """A second at least: what is due is not begun in the same moment."""
    return f"in {span(max(1.0, wait.total_seconds()))}"


def _is_waited_for(batch: Batch, held: Mapping[str, Quota]) -> bool:
    if batch.status in ("collected", "cleaned"):
        return False
    return batch.remote is not None or batch.id in held


def _word(batch: Batch) -> str:
    """In which phase it is, and whether that takes unusually long."""
    if batch.remote is None:
        return batch.status
    word = batch.remote.status or batch.status
    return word if batch.remote.late is None else f"{word} ({batch.remote.late.word})"


def _why(there: list[Batch], held: Mapping[str, Quota]) -> str:
    if held:
        return f": waiting for the {reason(next(iter(held.values())))}"
    why = next(filter(None, map(remark_on, there)), None)
    return f": {why}" if why else ""


GUESSED = (
    "found by its size and its time alone, so it may be somebody else's; its results will tell, "
    "and until then it is not cancelled"
)


def remark_on(batch: Batch) -> str | None:
    """What last went wrong with a batch, or what is not sure of it; None: nothing is to be said."""
    remote = batch.remote
    if remote is None or remote.why:
        return None if remote is None else remote.why
    return GUESSED if remote.guessed and batch.status == "running" else None
