"""Traces and numbers for OpenTelemetry: what is told, what is not, and when nothing is."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from anybatch.errors import BadSettings
from anybatch.server.telemetry import Silent, telemetry_of
from anybatch.server.telemetry_spans import Spans
from anybatch.testing import FakeEndpoint, Status

from ..cli.process import command, environment
from .test_keys import add
from .world import chat, client_of, create, served, until, until_over

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
PRIVATE = ("secret", "alice", "sk-", "in.jsonl", "row-name", "fake-model")


@dataclass
class Listening:
    """All that was told."""

    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    numbers: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def telemetry(self) -> Spans:
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self.spans))
        return Spans(traces, MeterProvider([self.numbers], shutdown_on_exit=False))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def is_within(span: ReadableSpan, outer: ReadableSpan) -> bool:
    assert outer.context is not None
    return span.parent is not None and span.parent.span_id == outer.context.span_id


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def test_a_call_is_a_span_in_the_trace_of_its_caller(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    told = Listening()
    with served(tmp_path, endpoint, telemetry=told.telemetry()) as url:
        answer = httpx2.get(f"{url}/batches/batch_of_nobody", headers=CALLER)
        httpx2.get(f"{url}/nowhere/batch_of_nobody")

    span = told.one("GET /v1/batches/{id}")
    assert trace_of(span) == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.kind is SpanKind.SERVER
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/v1/batches/{id}",
        "http.response.status_code": 404,
        "anybatch.face": "openai",
        "anybatch.request_id": answer.headers["x-request-id"],
    }
    assert trace_of(told.one("GET none")) != TRACE


def test_a_batch_is_in_the_trace_of_the_call_that_created_it(tmp_path: Path) -> None:
    told = Listening()
    with (
        FakeEndpoint(latency=lambda call: 0.01) as endpoint,
        served(tmp_path, endpoint, telemetry=told.telemetry()) as url,
        client_of(url) as client,
    ):
        created = create(client, [chat("a"), chat("b")], extra_headers=CALLER)
        _, batch = until_over(client, created)
        until(lambda: bool(told.named("batch")), "the span of the batch")

    call, whole = told.one("POST /v1/batches"), told.one("batch")
    parts = [told.one(f"batch.{name}") for name in ("check", "run", "deliver")]
    assert trace_of(call) == trace_of(whole) == TRACE
    assert is_within(whole, call)
    assert all(is_within(part, whole) for part in parts)
    for part in parts:
        assert whole.start_time <= part.start_time <= part.end_time <= whole.end_time  # type: ignore[operator]
    assert parts[0].end_time <= parts[2].start_time  # type: ignore[operator]
    said, of_run = attributes(whole), attributes(parts[1])
    assert (said["anybatch.batch.id"], said["anybatch.batch.status"]) == (batch.id, "completed")
    assert (said["anybatch.batch.requests"], said["anybatch.batch.completed"]) == (2, 2)
    assert said["gen_ai.usage.input_tokens"] == batch.usage.input_tokens
    assert (of_run["anybatch.run.status"], of_run["anybatch.run.succeeded"]) == ("ok", 2)


def test_a_batch_stays_in_its_trace_when_the_server_comes_back(tmp_path: Path) -> None:
    first, second = Listening(), Listening()
    with FakeEndpoint(latency=lambda call: 0.5) as endpoint:
        with served(tmp_path, endpoint, telemetry=first.telemetry()) as url, client_of(url) as one:
            batch = create(one, [chat("a")], extra_headers=CALLER)
        with served(tmp_path, endpoint, telemetry=second.telemetry()) as url, client_of(url) as one:
            until_over(one, one.batches.retrieve(batch.id))
            until(lambda: bool(second.named("batch")), "the span of the batch")

    assert first.named("batch") == []
    assert trace_of(second.one("batch")) == TRACE


def test_what_fails_is_told_without_its_words(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    told = Listening()
    with served(tmp_path, endpoint, telemetry=told.telemetry()) as url, client_of(url) as client:
        _, batch = until_over(client, create(client, [chat("secret"), chat("secret")]))
        until(lambda: bool(told.named("batch")), "the span of the batch")

    span = told.one("batch")
    assert batch.status == "failed"
    assert span.status.status_code is StatusCode.ERROR
    assert "secret" not in span.to_json()
    assert told.named("batch.run") == []


def test_nothing_private_is_told(tmp_path: Path) -> None:
    told = Listening()
    text, _ = add(tmp_path, "alice")
    refused = Status(400, code="no_way", message="secret words of the service")
    with (
        FakeEndpoint(script=lambda call: refused) as endpoint,
        served(tmp_path, endpoint, telemetry=told.telemetry()) as url,
        client_of(url, text) as client,
    ):
        row = chat("row-name", "secret prompt")
        row["body"]["model"] = "fake-model"
        batch = create(client, [row], metadata={"secret": "secret"})
        until_over(client, batch)
        client.files.content(batch.input_file_id)
        until(lambda: bool(told.named("batch")), "the span of the batch")
        data = told.numbers.get_metrics_data()

    said = [span.to_json() for span in told.spans.get_finished_spans()]
    assert data is not None
    for text in (*said, data.to_json()):
        assert [word for word in PRIVATE if word in text] == []
    names = {span.name for span in told.spans.get_finished_spans()}
    assert not [name for name in names if batch.id in name or batch.input_file_id in name]
    assert "GET /v1/files/{id}/content" in names


def test_numbers_are_those_of_prometheus(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    told = Listening()
    with served(tmp_path, endpoint, telemetry=told.telemetry()) as url, client_of(url) as client:
        until_over(client, create(client, [chat("a")]))
        data = json.loads(told.numbers.get_metrics_data().to_json())  # type: ignore[union-attr]
        shown = httpx2.get(url.removesuffix("/v1") + "/metrics").text

    (scope,) = data["resource_metrics"][0]["scope_metrics"]
    found = {metric["name"]: metric["data"] for metric in scope["metrics"]}
    names = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")}
    points = found["anybatch_batches_ended"]["data_points"]
    assert [(each["attributes"], each["value"]) for each in points] == [
        ({"status": "completed"}, 1)
    ]
    assert found["anybatch_batches_ended"]["is_monotonic"]
    # Of what there is none, nothing is told.
    assert {name.removesuffix("_total") for name in names} >= found.keys()


# --- where to ---


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "mine"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_nobody_is_told_who_did_not_ask(environment: Mapping[str, str]) -> None:
    assert isinstance(telemetry_of(environment), Silent)


def test_an_exporter_that_is_not_there_is_named() -> None:
    with pytest.raises(BadSettings, match="'zipkin', which is not installed"):
        telemetry_of({"OTEL_TRACES_EXPORTER": "zipkin"})


def test_nothing_of_it_is_imported_unless_it_is_wanted() -> None:
    program = (
        "import sys; from anybatch.server.serving import serve; "
        "from anybatch.server.telemetry import telemetry_of; telemetry_of({}); "
        "print([name for name in sys.modules if 'opentelemetry' in name or name == 'requests'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


def test_where_it_is_wanted_and_not_installed_the_server_serves_and_says_so(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "opentelemetry.py").write_text("raise ModuleNotFoundError(name='opentelemetry')")
    with process(tmp_path, endpoint, PYTHONPATH=str(hidden), OTEL_TRACES_EXPORTER="otlp") as (
        url,
        server,
    ):
        status = httpx2.get(f"{url}/batches").status_code
        server.terminate()
        _, text = server.communicate(timeout=30)

    said = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (absent,) = (line for line in said if line["event"] == "telemetry.absent")
    assert status == 200
    assert absent["why"] == "opentelemetry is not installed: pip install 'anybatch[otel]'"


def test_the_variables_of_opentelemetry_say_where_to(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    """What is told at the end still goes out when the server is stopped."""
    with collector() as (address, posted):
        there = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_RESOURCE_ATTRIBUTES": "a=b"}
        with process(tmp_path, endpoint, **there) as (url, server):
            httpx2.get(f"{url}/batches", headers=CALLER)
            server.terminate()
            server.communicate(timeout=30)

    traces = [
        ExportTraceServiceRequest.FromString(body) for path, body in posted if path == "/v1/traces"
    ]
    spans = [
        (
            span.name,
            span.trace_id.hex(),
            {a.key: a.value.string_value for a in each.resource.attributes},
        )
        for request in traces
        for each in request.resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]
    numbers = [
        metric.name
        for path, body in posted
        if path == "/v1/metrics"
        for each in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    ]
    ((name, trace, resource),) = spans
    assert (name, trace) == ("GET /v1/batches", TRACE)
    assert (resource["service.name"], resource["a"]) == ("anybatch", "b")
    assert "anybatch_calls" in numbers
    assert server.returncode == 0


@contextmanager
def process(
    home: Path, endpoint: FakeEndpoint, **extra: str
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`anybatch serve` as a process; its base URL."""
    file = home / "anybatch.toml"
    file.write_text(f'[[routes]]\nmodel = "*"\nbase_url = "{endpoint.base_url}"\n')
    server = subprocess.Popen(
        command("serve", "--port", "0", "--config", str(file)),
        env=environment(home, **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), server
    finally:
        server.kill()
        server.communicate()


@contextmanager
def collector() -> Iterator[tuple[str, Sequence[tuple[str, bytes]]]]:
    """Takes whatever is posted to it."""
    posted: list[tuple[str, bytes]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            posted.append((self.path, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is said."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", posted
        finally:
            server.shutdown()
            thread.join()
