"""What runs of one place share, and what is seen of requests that are not sent."""

import json
from pathlib import Path
from typing import Any

import httpx2

from anybatch.testing import FakeEndpoint

from ..cli.process import anybatch
from .world import chat, client_of, create, served, until_over

EMBEDDINGS = "/v1/embeddings"
CALLS = 3


def vector(name: str) -> dict[str, Any]:
    body = {"model": "m", "input": name}
    return {"custom_id": name, "method": "POST", "url": EMBEDDINGS, "body": body}


def test_requests_of_two_apis_at_one_place_share_its_limits(tmp_path: Path) -> None:
    with FakeEndpoint(latency=lambda call: 0.02) as endpoint:
        route = {"model": "*", "base_url": endpoint.base_url, "concurrency": CALLS}
        with served(tmp_path, routes=[route]) as url, client_of(url) as client:
            chats = create(client, [chat(f"c{n}") for n in range(20)])
            vectors = create(client, [vector(f"v{n}") for n in range(20)], endpoint=EMBEDDINGS)
            statuses = [until_over(client, batch)[1].status for batch in (chats, vectors)]

    paths = {each.path for each in endpoint.ledger.executions}
    assert statuses == ["completed", "completed"]
    assert len(paths) == 2
    assert endpoint.ledger.peak == CALLS


def test_lines_that_were_declined_are_over_when_somebody_looks(tmp_path: Path) -> None:
    """A bad request in Anthropic's protocol is the result of that request alone."""
    message = {"role": "user", "content": "hi"}
    good = {"model": "m", "max_tokens": 5, "messages": [message]}
    requests = [
        {"custom_id": "good", "params": good},
        {"custom_id": "bad", "params": {**good, "max_tokens": "many"}},
    ]
    with FakeEndpoint() as endpoint, served(tmp_path, endpoint) as url:
        batches = f"{url}/messages/batches"
        made = httpx2.post(batches, json={"requests": requests}).json()
        while (seen := httpx2.get(f"{batches}/{made['id']}").json())["ended_at"] is None:
            pass
        numbers = httpx2.get(url.removesuffix("/v1") + "/metrics").text
    shown = json.loads(anybatch("runs", "--json", "--store", tmp_path, home=tmp_path).stdout)
    (declined,) = (run for run in shown if run["counts"].get("bad_request"))
    table = anybatch("results", declined["id"], "--json", "--store", tmp_path, home=tmp_path)

    assert seen["request_counts"]["errored"] == 1
    assert (declined["total"], declined["pending"], declined["status"]) == (1, 0, "failed")
    assert [run["pending"] for run in shown] == [0, 0]
    assert 'anybatch_rows_total{outcome="bad_request"} 1' in numbers
    assert 'anybatch_rows_total{outcome="unanswered"}' not in numbers
    (row,) = map(json.loads, table.stdout.splitlines())
    assert (row["custom_id"], row["_outcome"]) == ("bad", "bad_request")
    assert "max_tokens" in row["_error"]
