"""Calls and orders as OpenTelemetry's spans, and the numbers as its metrics.

A call is a span while it is answered. An order becomes one when it is over, from the times that are
written down of it: so it outlives a server that dies, and nobody has to keep it in mind for a day.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import entry_points, version
from typing import Any, Final

from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from ..core.model import Run
from ..core.served import Order
from ..engine.events import Progress
from ..errors import BadSettings
from .metrics import METHODS
from .telemetry import Metrics, Telemetry, Told

_US: Final = "anybatch"
_LEAVE_S = 0.5
"""So long at most the last spans may take to go out when the server stops."""
_ASK_S = 5.0
_W3C = TraceContextTextMapPropagator()
Attributes = Mapping[str, str | int]
Closing = Callable[[], object]


class _Headers(Getter[Scope]):
    """Reads the headers of a call."""

    def get(self, carrier: Scope, key: str) -> list[str] | None:
        wanted = key.lower().encode()
        found = [value.decode("latin-1") for name, value in carrier["headers"] if name == wanted]
        return found or None

    def keys(self, carrier: Scope) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier["headers"]]


_HEADERS = _Headers()


class Spans:
    """See `telemetry.Telemetry`."""

    def __init__(
        self,
        traces: trace.TracerProvider,
        meters: metrics.MeterProvider,
        *,
        closing: Iterable[Closing] = (),
    ) -> None:
        self._tracer = traces.get_tracer(_US, version(_US))
        self._meter = meters.get_meter(_US, version(_US))
        self._closing = tuple(closing)

    @contextmanager
    def call(self, told: Told, scope: Scope) -> Iterator[object]:
        caller = propagate.extract(scope, getter=_HEADERS)
        method = told.method if told.method in METHODS else "_OTHER"
        span = self._tracer.start_span(method, context=caller, kind=SpanKind.SERVER)
        # What an exception says may be somebody's own words.
        quiet = {"record_exception": False, "set_status_on_exception": False}
        with trace.use_span(span, end_on_exit=True, **quiet):
            yield span
            span.update_name(f"{method} {told.route}")
            span.set_attributes(_of_call(told, method))
            if told.failure is not None or told.status >= 500:
                span.set_status(Status(StatusCode.ERROR))

    def trace(self) -> str | None:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def ended(self, order: Order, looks: Iterable[Progress]) -> None:
        caller = None if order.trace is None else _W3C.extract({"traceparent": order.trace})
        end = order.ended_at or order.created_at
        whole = self._span("batch", caller, order.created_at, _of_order(order))
        if order.status == "failed":
            whole.set_status(Status(StatusCode.ERROR))
        within = trace.set_span_in_context(whole)
        answered = order.finishing_at or end
        self._part("batch.check", within, order.created_at, order.started_at or end)
        for look in looks:
            run = look.run
            self._part("batch.run", within, run.created_at, run.ended_at or answered, _of_run(look))
        if order.finishing_at is not None:
            self._part("batch.deliver", within, order.finishing_at, end)
        whole.end(_ns(end))

    def _part(
        self,
        name: str,
        within: Context,
        start: datetime,
        end: datetime,
        said: Attributes | None = None,
    ) -> None:
        self._span(name, within, start, said or {}).end(_ns(max(start, end)))

    def _span(self, name: str, within: Context | None, start: datetime, said: Attributes) -> Span:
        # Without a context of its own it would belong to whatever call is being answered.
        context = Context() if within is None else within
        return self._tracer.start_span(
            name, context=context, start_time=_ns(start), attributes=dict(said)
        )

    async def observe(self, metrics: Metrics) -> None:
        asking = _Asking(metrics, asyncio.get_running_loop())
        for metric in await metrics():
            name = metric.name.removesuffix("_total")
            create: Callable[..., Any] = self._meter.create_observable_gauge
            if metric.kind == "counter":
                create = self._meter.create_observable_counter
            create(name, callbacks=[asking.callback(metric.name)], description=metric.help)

    async def close(self) -> None:
        """On a thread that nobody waits for: a collector may hang."""
        told, loop = asyncio.Event(), asyncio.get_running_loop()

        def close() -> None:
            for closing in self._closing:
                closing()
            loop.call_soon_threadsafe(told.set)

        threading.Thread(target=close, name="anybatch-telemetry", daemon=True).start()
        try:
            async with asyncio.timeout(_LEAVE_S):
                await told.wait()
        except TimeoutError:
            return


class _Asking:
    """Has the numbers read on the event loop, which they belong to, for threads that want them."""

    def __init__(self, metrics: Metrics, loop: asyncio.AbstractEventLoop) -> None:
        self._metrics = metrics
        self._loop = loop

    def callback(
        self, name: str
    ) -> "Callable[[metrics.CallbackOptions], list[metrics.Observation]]":
        def observe(options: metrics.CallbackOptions) -> list[metrics.Observation]:
            reading = asyncio.run_coroutine_threadsafe(self._read(name), self._loop)
            return reading.result(_ASK_S)

        return observe

    async def _read(self, name: str) -> list[metrics.Observation]:
        return [
            metrics.Observation(value, dict(labels))
            for metric in await self._metrics()
            if metric.name == name
            for labels, value in metric.values.items()
        ]


def _of_call(told: Told, method: str) -> Attributes:
    said: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": told.route,
        "http.response.status_code": told.status,
        "anybatch.face": told.face,
        "anybatch.request_id": told.name,
    }
    return said if told.failure is None else {**said, "error.type": told.failure}


def _of_order(order: Order) -> Attributes:
    return {
        "anybatch.batch.id": order.id,
        "anybatch.batch.status": order.status,
        "anybatch.batch.requests": order.total or 0,
        "anybatch.batch.completed": order.completed,
        "anybatch.batch.failed": order.failed,
        "anybatch.face": order.face,
        "anybatch.api": order.api,
        "gen_ai.usage.input_tokens": order.usage.tokens_in,
        "gen_ai.usage.output_tokens": order.usage.tokens_out,
    }


def _of_run(look: Progress) -> Attributes:
    run: Run = look.run
    counts = {f"anybatch.run.{outcome}": count for outcome, count in look.counts.items()}
    return {
        "anybatch.run.id": run.id,
        "anybatch.run.status": look.status,
        "anybatch.run.requests": run.total,
        "anybatch.run.waves": run.wave,
        "anybatch.api": run.spec.api,
        "gen_ai.provider.name": run.spec.provider,
        "gen_ai.usage.input_tokens": look.usage.tokens_in,
        "gen_ai.usage.output_tokens": look.usage.tokens_out,
        **counts,
    }


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000


# --- where to -----------------------------------------------------------------------------------


def open_spans(environment: Mapping[str, str]) -> Telemetry:
    """What the process was set up with, if somebody has set it up; else what the variables say.

    Raises BadSettings for an exporter that is not there.
    """
    resource = _resource(environment)
    closing: list[Closing] = []
    traces = trace.get_tracer_provider()
    if isinstance(traces, trace.ProxyTracerProvider):
        ours = TracerProvider(resource=resource, shutdown_on_exit=False)
        for exporter in _exporters("traces", environment):
            ours.add_span_processor(BatchSpanProcessor(exporter()))
        closing.append(ours.shutdown)
        traces = ours
    meters = metrics.get_meter_provider()
    if not isinstance(meters, MeterProvider):
        readers = [_reader(exporter) for exporter in _exporters("metrics", environment)]
        measured = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        closing.append(measured.shutdown)
        meters = measured
    return Spans(traces, meters, closing=closing)


def _resource(environment: Mapping[str, str]) -> Resource:
    named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return Resource.create({} if named else {"service.name": _US})


def _exporters(signal: str, environment: Mapping[str, str]) -> Iterator[type[Any]]:
    """Those that the variables name, as OpenTelemetry's packages announce theirs."""
    asked = environment.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
    for name in filter(None, map(str.strip, asked.split(","))):
        if name == "none":
            continue
        if name == "otlp":
            name = f"otlp_proto_{_protocol(signal, environment)}"
        found = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=name)), None)
        if found is None:
            raise BadSettings(
                f"OTEL_{signal.upper()}_EXPORTER asks for {name!r}, which is not installed; "
                "pip install 'anybatch[otel]' brings 'otlp' over HTTP"
            )
        yield found.load()


def _protocol(signal: str, environment: Mapping[str, str]) -> str:
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    said = next((environment[name] for name in names if environment.get(name)), "")
    return "grpc" if said.strip() == "grpc" else "http"


def _reader(exporter: type[Any]) -> MetricReader:
    """Some read by themselves; the others are told now and then."""
    made: Any = exporter()
    return made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made)
