"""The server as schemathesis judges it, by its own OpenAPI document, over a real socket."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.server.openapi import PATHS, WHERE
from anybatch.server.owners import hash_of
from anybatch.testing import FakeEndpoint

from ..judges.judging import python_of
from .world import served

HERE = Path(__file__).parent
SETTINGS = ("openapi.toml", "openapi_peers.yaml")
KEYS = {"judge": hash_of("sk-judge"), "other": hash_of("sk-other")}
CALLS = {f"{method.upper()} {path}" for path in PATHS for method in PATHS[path]}
RARE = {"POST /v1/uploads/{id}/complete", "POST /v1/batches/{id}/cancel"}
"""These want what happens to fit: parts as long as was said, a batch that is not over yet."""


def judged(folder: Path, endpoint: FakeEndpoint, *said: str, limit_s: float) -> dict[str, Any]:
    """What it reports, every check on. Skips the test where it is not installed."""
    judge = python_of("schemathesis-4").with_name("schemathesis")
    routes = [{"model": name, "base_url": endpoint.base_url} for name in ("m", "*")]
    for name in SETTINGS:
        shutil.copy(HERE / name, folder)
    document, report = folder / "openapi.json", folder / "report.json"
    here = {"webhook_hosts": ["127.0.0.1"]}
    with served(folder / "home", routes=routes, keys=KEYS, more=here) as url:
        root = url.removesuffix("/v1")
        read = httpx2.get(root + WHERE).json()
        document.write_text(json.dumps(with_address(read, endpoint.base_url)), "utf-8")
        command = [judge, "--config-file", SETTINGS[0], "run", document, "--url", root, *said]
        command += ["--checks", "all", "--continue-on-failure", "--no-color"]
        command += ["--generation-database", "none"]
        command += ["--report", "json", "--report-json-path", report]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, timeout=limit_s, check=False
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    reported: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return reported


def with_address(document: dict[str, Any], address: str) -> dict[str, Any]:
    """The document with an example of an address where webhooks can be sent from here."""
    for name in ("NewWebhookEndpoint", "WebhookEndpointChange"):
        document["components"]["schemas"][name]["properties"]["url"]["examples"] = [address]
    return document


def check(reported: dict[str, Any]) -> None:
    """Hold that it looked at everything, and found nothing wrong."""
    assert (reported["failures"], reported["errors"], reported["filtered"]) == ([], [], 0)
    assert reported["complete"]
    assert reported["operations"]["tested"] == len(CALLS)
    for phase in ("examples", "coverage", "fuzzing", "stateful"):
        assert reported["phases"][phase]["status"] == "success"
    taken = {
        operation
        for operation, rates in reported["valid_rates"].items()
        if any(rate["accepted"] for rate in rates.values())
    }
    assert taken >= CALLS - RARE


def test_the_server_keeps_to_its_document(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    reported = judged(tmp_path, endpoint, "--max-examples", "15", "--seed", "3", limit_s=120)

    check(reported)
    assert reported["test_cases"]["generated"] > 500


@pytest.mark.gauntlet
def test_the_server_keeps_to_its_document_for_a_long_time(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    reported = judged(tmp_path, endpoint, "--max-examples", "400", limit_s=1_800)

    check(reported)
    assert reported["test_cases"]["generated"] > 5_000
