"""Numbers of the server as Prometheus reads them. No id, name, key or body is among them."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import log

if TYPE_CHECKING:
    from .orders import Orders

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Labels = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """One number, or one for each combination of labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    values: Mapping[Labels, float]


class Calls:
    """What was called, counted. Belongs to the event loop."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._done: Counter[tuple[str, str, str, int]] = Counter()
        self.began_at = time.time()

    def note(self, *, face: str, method: str, route: str, status: int) -> None:
        """A call is over. `route` is a pattern and no path, lest each id become a series."""
        self._done[face, method if method in METHODS else "other", route, status] += 1

    @property
    def done(self) -> Mapping[Labels, float]:
        """How many of each kind are over."""
        names = ("face", "method", "route", "status")
        return {
            tuple(zip(names, map(str, kind), strict=True)): count
            for kind, count in self._done.items()
        }


def metrics_of(calls: Calls, orders: "Orders") -> Iterator[Metric]:
    """All there are, as they stand now."""
    statuses = Counter[str](order.status for order in orders.open.values())
    sums = [orders.sums(order) for order in orders.open.values()]
    rows = sum(order.total or 0 for order in orders.open.values())
    answered = sum(each.completed + each.failed for each in sums)
    yield _plain("anybatch_started_seconds", "gauge", "When it began, since 1970.", calls.began_at)
    yield Metric("anybatch_calls_total", "counter", "Calls that are over.", calls.done)
    yield _plain("anybatch_calls_in_flight", "gauge", "Calls under way.", calls.in_flight)
    yield _by("status", "anybatch_batches", "gauge", "Batches that are open.", statuses)
    held = orders.tokens.held()
    waits = {
        "tokens_a_day": sum(order.owner in held for order in orders.open.values()),
        "endpoint": len(orders.resting),
    }
    yield _by("why", "anybatch_batches_waiting", "gauge", "Batches kept back, and why.", waits)
    ended = orders.ended
    yield _by("status", "anybatch_batches_ended_total", "counter", "Batches that are over.", ended)
    yield _plain("anybatch_rows_open", "gauge", "Rows to be answered.", max(rows - answered, 0))
    outcomes = orders.outcomes
    yield _by("outcome", "anybatch_rows_total", "counter", "Rows of batches that ended.", outcomes)
    yield _plain("anybatch_log_dropped_total", "counter", "Log lines nobody read.", log.dropped())


def _plain(name: str, kind: Literal["counter", "gauge"], help: str, value: float) -> Metric:
    return Metric(name, kind, help, {(): value})


def _by(
    label: str,
    name: str,
    kind: Literal["counter", "gauge"],
    help: str,
    values: Mapping[str, float],
) -> Metric:
    return Metric(name, kind, help, {((label, value),): n for value, n in values.items()})


def write_metrics(metrics: Iterable[Metric]) -> bytes:
    """Prometheus's text format."""
    return "".join(line for metric in metrics for line in _lines(metric)).encode()


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}\n"
    yield f"# TYPE {metric.name} {metric.kind}\n"
    for labels, value in metric.values.items():
        said = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
        yield f"{metric.name}{f'{{{said}}}' if said else ''} {value:.15g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
