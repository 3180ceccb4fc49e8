"""What is told of calls and orders to who traces them, where somebody does.

Nothing of their content is told: no prompt, body, key, nor the name of a file or an owner.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Scope

from ..core.served import Order
from ..engine.events import Progress
from .log import log
from .metrics import Metric

_WHERE = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
"""OpenTelemetry's own variables that say where to tell it."""


@dataclass(slots=True)
class Told:
    """A call, and how it went as far as that is known."""

    name: str
    """Its request id."""
    method: str
    face: str
    route: str = ""
    """The pattern that answered it, and not its path, which has ids in it."""
    status: int = 0
    failure: str | None = None
    """Which kind of mistake of ours it met."""


Metrics = Callable[[], Awaitable[Iterable[Metric]]]


class Telemetry(Protocol):
    """Who is told. Belongs to the event loop."""

    def call(self, told: Told, scope: Scope) -> AbstractContextManager[object]:
        """While it is answered. What is to be told of it is read at the end."""
        ...

    def trace(self) -> str | None:
        """The `traceparent` of the call that is being answered; None: it is not traced."""
        ...

    def ended(self, order: Order, looks: Iterable[Progress]) -> None:
        """An order is over; `looks` are the last ones at its runs."""
        ...

    async def observe(self, metrics: Metrics) -> None:
        """Tell these numbers now and then."""
        ...

    async def close(self) -> None:
        """Tell what is not told yet, if that takes no time to speak of."""
        ...


class Silent:
    """Nobody is told. See `Telemetry`."""

    _BLOCK = nullcontext()

    def call(self, told: Told, scope: Scope) -> AbstractContextManager[object]:
        return self._BLOCK

    def trace(self) -> str | None:
        return None

    def ended(self, order: Order, looks: Iterable[Progress]) -> None:
        """To nobody."""

    async def observe(self, metrics: Metrics) -> None:
        """Nobody wants them."""

    async def close(self) -> None:
        """Nothing is left."""


def telemetry_of(environment: Mapping[str, str]) -> Telemetry:
    """Who is told, by OpenTelemetry's variables. Raises BadSettings.

    Nothing of it is imported unless one of them is set.
    """
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if is_off or not any(environment.get(name) for name in _WHERE):
        return Silent()
    try:
        from .telemetry_spans import open_spans
    except ModuleNotFoundError as e:
        log("telemetry.absent", why=f"{e.name} is not installed: pip install 'anybatch[otel]'")
        return Silent()
    return open_spans(environment)
