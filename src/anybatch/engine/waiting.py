"""What a run waits for at its provider, in words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from ..core.model import Batch
from ..core.quota import Quota, reason


def waiting_for(batches: Iterable[Batch], held: Mapping[str, Quota], now: datetime) -> str | None:
    """What batches wait for at their provider, in a few words; None: for nothing there.

    `held` are those that may not be submitted yet, by their ids, each with the limit it waits for.
    """
    there = [batch for batch in batches if _is_waited_for(batch, held)]
    if not there:
        return None
    words = Counter(map(_word, there))
    said = ", ".join(f"{count} {word}" for word, count in words.most_common())
    due = [batch.due for batch in there if batch.due is not None and batch.id not in held]
    seconds = max(0, round((min(due, default=now) - now).total_seconds()))
    return f"the provider ({said}; next look in {seconds} s){_why(there, held)}"


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
    why = next((b.remote.why for b in there if b.remote is not None and b.remote.why), None)
    return f": {why}" if why else ""
