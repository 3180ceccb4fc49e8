"""The OpenAPI document says what is answered to, and with what: all of it, and nothing else."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import httpx2
import jsonschema_rs
import pytest
from starlette.routing import Route

from anybatch.clock import SystemClock
from anybatch.core.model import Usage
from anybatch.core.served import Order, OrderStatus, Problem, StoredFile, Sums, Upload, UploadPart
from anybatch.core.webhooks import (
    EVENT_TYPES,
    SECRET_BYTES,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    new_secret,
)
from anybatch.server import openapi
from anybatch.server.desk import Desk
from anybatch.server.health import Health
from anybatch.server.metrics import Calls
from anybatch.server.openai import OpenAIFace
from anybatch.server.orders import Orders
from anybatch.server.owners import Owners, hash_of
from anybatch.server.routes import RouteTable
from anybatch.server.shared import ServingWorkspace
from anybatch.server.webhook_calls import WebhookCalls
from anybatch.server.webhooks import Webhooks
from anybatch.settings import Settings
from anybatch.store.blobs import Blobs
from anybatch.store.served import ServedStore
from anybatch.testing import FakeEndpoint
from anybatch.wire import openai_asked as asking
from anybatch.wire import openai_served as wire
from anybatch.wire import openai_webhooks as hooks

from .world import served

DOCUMENT = openapi.document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
AT = datetime(2026, 11, 20, tzinfo=UTC)
METHODS = ("get", "post", "put", "patch", "delete")


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield method.upper(), path, operation


# --- the calls ---


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = ServedStore(tmp_path)
    yield Desk(store=store, blobs=Blobs(tmp_path), clock=SystemClock())
    store.close()


@pytest.fixture
def orders(desk: Desk) -> Orders:
    settings = Settings(home=desk.store.root)
    workspace = ServingWorkspace(settings=settings, store=desk.store)
    return Orders(desk, workspace, Owners({}))


def test_every_call_that_is_answered_is_described_and_no_other(desk: Desk, orders: Orders) -> None:
    of_webhooks = WebhookCalls(desk, cast(Webhooks, None)).routes()
    table = RouteTable(Settings(home=desk.store.root))
    face = OpenAIFace(desk, orders, table, more=of_webhooks)

    answered = {
        (method, route.path.replace(":path", ""))
        for route in face.routes()
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }

    described = {(method, path) for method, path, _ in operations() if path.startswith("/v1/")}
    assert described == answered


async def test_what_is_for_whoever_looks_after_the_server_is_described(
    desk: Desk, orders: Orders
) -> None:
    health = Health(desk.store, orders, works=lambda: True, calls=Calls())

    for method, path, operation in operations():
        if not path.startswith("/v1/"):
            answer = await health.answer(path)
            assert method == "GET"
            assert answer is not None
            assert answer.media_type is None or answer.media_type in media_types(operation, 200)


def media_types(operation: Any, status: int) -> list[str]:
    return list(operation["responses"][str(status)]["content"])


def test_calls_have_names_of_their_own_and_links_lead_to_them() -> None:
    named = [operation["operationId"] for _, _, operation in operations()]
    parameters = {
        operation["operationId"]: {each["name"] for each in operation.get("parameters", ())}
        for _, _, operation in operations()
    }

    assert len(named) == len(set(named))
    for _, _, operation in operations():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                assert set(link.get("parameters", ())) <= parameters[link["operationId"]]


def test_every_parameter_of_a_path_is_described() -> None:
    for _, path, operation in operations():
        named = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert named == ({"id"} if "{id}" in path else set())


def test_every_tag_is_listed() -> None:
    used = {tag for _, _, operation in operations() for tag in operation["tags"]}

    assert used == {tag["name"] for tag in DOCUMENT["tags"]}


# --- the schemas ---


def validator(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    )


def refs(within: Any) -> Iterator[str]:
    if isinstance(within, dict):
        if isinstance(named := within.get("$ref"), str):
            yield named
        for each in within.values():
            yield from refs(each)
    elif isinstance(within, list | tuple):
        for each in within:
            yield from refs(each)


def test_every_schema_is_one_and_is_used() -> None:
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate({"$schema": SPOKEN, **schema})

    assert set(refs(DOCUMENT)) == {f"#/components/schemas/{name}" for name in SCHEMAS}


SPOKEN = "https://json-schema.org/draft/2020-12/schema"

FILE = StoredFile(
    id="file-a",
    owner="me",
    name="in.jsonl",
    purpose="batch",
    size=5,
    crc=1,
    created_at=AT,
    expires_at=None,
)
UPLOAD = Upload(
    id="upload_a",
    owner="me",
    name="in.jsonl",
    purpose="batch",
    mime_type="text/plain",
    size=5,
    kept_seconds=None,
    created_at=AT,
    expires_at=AT,
)
PART = UploadPart(id="part_a", upload_id="upload_a", size=5, created_at=AT)
SUMS = Sums(completed=1, failed=0, usage=Usage(tokens_in=5, tokens_out=6))


def order(status: OrderStatus = "completed", **more: Any) -> Order:
    asked = {"endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": {"a": "b"}}
    return Order(
        id="batch_a",
        owner="me",
        face="openai",
        api="openai.chat",
        asked=asked,
        input_file="file-a",
        input_size=5,
        created_at=AT,
        expires_at=AT,
        kept_seconds=1,
        status=status,
        **more,
    )


BATCH = wire.write_batch(order(problems=(Problem(code="c", message="m", line=1),)), SUMS)
FILED = wire.write_file(FILE)

EVENT = WebhookEvent(id="evt_a", owner="me", type="batch.completed", subject="batch_a", at=AT)
HOOK = WebhookEndpoint(
    id="we_a",
    owner="me",
    name="",
    url="https://example.com/",
    event_types=EVENT_TYPES,
    created_at=AT,
    updated_at=AT,
    secret=new_secret(b"x" * SECRET_BYTES),
)
DELIVERY = WebhookDelivery(
    event=EVENT, endpoint_id="we_a", status="waiting", tries=1, due_at=AT, why="no answer"
)

WRITTEN: dict[str, Any] = {
    "Error": json.loads(asking.missing("endpoint").body),
    "File": FILED,
    "Files": wire.write_list([FILED], has_more=True),
    "Deleted": wire.write_deleted("file-a"),
    "Upload": wire.write_upload(UPLOAD),
    "CompletedUpload": wire.write_upload(UPLOAD, FILE) | {"status": "completed"},
    "UploadPart": wire.write_part(PART),
    "Batch": BATCH,
    "BatchErrors": BATCH["errors"],
    "BatchError": BATCH["errors"]["data"][0],
    "Batches": wire.write_list([], has_more=False),
    "Model": wire.write_models(["m"], at=AT)["data"][0],
    "Models": wire.write_models(["m"], at=AT),
    "WebhookEndpoint": hooks.write_endpoint(HOOK),
    "WebhookEndpointWithSecret": hooks.write_endpoint(HOOK, with_secret=True),
    "WebhookEndpoints": wire.write_list([hooks.write_endpoint(HOOK)], has_more=True),
    "DeletedWebhookEndpoint": hooks.write_deleted_endpoint("we_a"),
    "WebhookEventTypes": hooks.write_event_types(),
    "WebhookTest": hooks.write_test("we_a", event_type="batch.failed", status=204),
    "WebhookDelivery": hooks.write_delivery(DELIVERY),
    "WebhookDeliveries": wire.write_list([hooks.write_delivery(DELIVERY)], has_more=False),
    "WebhookReplay": hooks.write_replayed(["evt_a"], endpoint_id="we_a"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_is_what_is_described(name: str) -> None:
    said = json.loads(json.dumps(WRITTEN[name]))

    validator(name).validate(said)
    assert strays(SCHEMAS[name], said) == []


def strays(schema: Any, said: Any, at: str = "$") -> list[str]:
    """Where an answer has fields that are not described, or need not be there."""
    if "$ref" in schema:
        return strays(SCHEMAS[schema["$ref"].rpartition("/")[2]], said, at)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for each in schema["allOf"]:
            merged |= (
                SCHEMAS[each["$ref"].rpartition("/")[2]]["properties"] if "$ref" in each else {}
            )
            merged |= each.get("properties", {})
        return strays({"properties": merged, "required": list(merged)}, said, at)
    if "anyOf" in schema:
        return [] if said is None else strays(schema["anyOf"][0], said, at)
    if isinstance(said, list):
        return [each for one in said for each in strays(schema["items"], one, f"{at}[]")]
    if not isinstance(said, dict) or "additionalProperties" in schema:
        return []
    found = [f"{at}.{name}" for name in set(said) ^ set(schema["properties"])]
    found += [f"{at}.{name}?" for name in set(said) ^ set(schema["required"])]
    inner = (strays(schema["properties"][name], said[name], f"{at}.{name}") for name in said)
    return found if found else [each for several in inner for each in several]


def test_a_field_that_is_not_described_is_noticed() -> None:
    usage = BATCH["usage"] | {"more": 1}

    assert strays(SCHEMAS["Batch"], BATCH | {"usage": usage}) == ["$.usage.more", "$.usage.more?"]
    assert strays(SCHEMAS["Upload"], FILED) != []


def test_every_status_of_a_batch_is_named() -> None:
    said = {wire.write_batch(order(status), SUMS)["status"] for status in get_args(OrderStatus)}

    assert said == set(SCHEMAS["Batch"]["properties"]["status"]["enum"])


@pytest.mark.parametrize(
    ("schema", "changes"),
    [
        *[("NewBatch", {"completion_window": f"{n}h"}) for n in (0, 1, 9, 10, 99, 100, 159)],
        *[("NewBatch", {"completion_window": f"{n}h"}) for n in (160, 168, 169, 200, 1000)],
        *[("NewBatch", {"completion_window": each}) for each in ("24h\n", "1d", "", None, 24)],
        *[("NewBatch", {"endpoint": each}) for each in ("/v1/fun", "/v1/responses", None)],
        *[("NewBatch", {"metadata": each}) for each in (None, {}, [], {"a": 1}, {"a": "x" * 513})],
        ("NewBatch", {"metadata": {"x" * 65: ""}}),
        ("NewBatch", {"metadata": {str(n): "" for n in range(17)}}),
        *[("NewBatch", {"output_expires_after": each}) for each in (None, {}, "a")],
        *[
            ("NewBatch", {"output_expires_after": {"anchor": "created_at", "seconds": each}})
            for each in (3599, 3600, 3600.0, 3600.5, "3600", True, 2_592_000, 2_592_001)
        ],
        *[("NewUpload", {"bytes": each}) for each in (0, 1, 1.0, 1.5, "1", True, 8 * 2**30)],
        ("NewUpload", {"bytes": 8 * 2**30 + 1}),
        *[
            ("NewUpload", {"filename": each})
            for each in ("a", "", "a/b", "a\\b", "a/", "/", ".", "..", "a/..", "...", "a\nb", "a\n")
        ],
        ("NewUpload", {"filename": "x" * 1024}),
        ("NewUpload", {"filename": "x" * 1025}),
        *[("NewUpload", {"purpose": each}) for each in ("batch", "../batch", "batch_output")],
        *[("CompleteUpload", {"part_ids": each}) for each in ([], ["a"], [1], "a", None)],
        *[("CompleteUpload", {"md5": each}) for each in (None, "a", 1)],
        *[("NewWebhookEndpoint", {"url": each}) for each in ("a", None, 1)],
        *[("NewWebhookEndpoint", {"name": each}) for each in (None, "", "x" * 256, "x" * 257, 1)],
        *[
            ("NewWebhookEndpoint", {"event_types": each})
            for each in (None, [], ["batch.failed"], ["batch.failed", "x"], "batch.failed", [1])
        ],
        *[("WebhookEndpointChange", {"status": each}) for each in (None, "disabled", "x", 1)],
        *[("WebhookEndpointChange", {"url": each}) for each in (None, "a", 1)],
        *[
            ("WebhookRotation", {"keep_old_secret_active_for_24_hours": each})
            for each in (None, True, False, 1, "true")
        ],
        *[("WebhookTrial", {"event_type": each}) for each in ("batch.failed", "x", None, 1)],
        *[("WebhookReplayed", {"event_ids": each}) for each in (None, [], ["a"], [1], "a")],
        ("WebhookReplayed", {"event_ids": ["a"] * 1_000}),
        ("WebhookReplayed", {"event_ids": ["a"] * 1_001}),
        *[
            ("WebhookReplayed", {"since": each})
            for each in (None, 0, 1.5, -1, 2**36, 2**36 - 1, "1", True)
        ],
    ],
)
def test_what_is_taken_is_what_is_described(schema: str, changes: dict[str, Any]) -> None:
    body = ASKED[schema] | changes

    assert validator(schema).is_valid(body) is is_taken(schema, body)


def is_taken(schema: str, body: Any) -> bool:
    try:
        READERS[schema](json.dumps(body).encode())
    except asking.Refused as e:
        return e.status != 400
    return True


ASKED: dict[str, dict[str, Any]] = {
    "NewBatch": {
        "input_file_id": "file-a",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    },
    "NewUpload": {"bytes": 5, "filename": "a", "mime_type": "text/plain", "purpose": "batch"},
    "CompleteUpload": {"part_ids": []},
    "NewWebhookEndpoint": {"url": "a"},
    "WebhookEndpointChange": {},
    "WebhookRotation": {},
    "WebhookTrial": {"event_type": "batch.failed"},
    "WebhookReplayed": {},
}
READERS: dict[str, Callable[[bytes], object]] = {
    "NewBatch": asking.read_create,
    "NewUpload": asking.read_upload,
    "CompleteUpload": asking.read_complete,
    "NewWebhookEndpoint": partial(hooks.read_endpoint, is_new=True),
    "WebhookEndpointChange": partial(hooks.read_endpoint, is_new=False),
    "WebhookRotation": hooks.read_rotation,
    "WebhookTrial": hooks.read_test,
    "WebhookReplayed": hooks.read_replay,
}


# --- over a socket ---


def root_of(url: str) -> str:
    return url.removesuffix("/v1")


def test_anybody_may_read_it(tmp_path: Path, endpoint: FakeEndpoint) -> None:
    with served(tmp_path, endpoint, keys={"alice": hash_of("key")}) as url:
        reply = httpx2.get(f"{root_of(url)}/openapi.json")

    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == json.loads(json.dumps(DOCUMENT))
    for secret in ("alice", str(tmp_path), endpoint.base_url):
        assert secret not in reply.text


def test_what_a_path_takes_is_said_of_a_method_that_it_does_not(url: str) -> None:
    for path, allowed in (
        ("/v1/webhook_endpoints/x", "DELETE, GET, HEAD, POST"),
        ("/v1/files", "GET, HEAD, POST"),
        ("/v1/files/x", "DELETE, GET, HEAD"),
        ("/v1/uploads", "POST"),
        ("/health", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ):
        reply = httpx2.put(root_of(url) + path)
        assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
