"""The calls about webhook endpoints, as an OpenAPI document describes them.

`webhook_calls.py` answers them.
"""

from collections.abc import Mapping

from ..core.model import Json
from ..core.webhooks import EVENT_TYPES
from ..wire.openai_webhooks import LATEST, MAX_NAME, MAX_REPLAYED
from .openapi_calls import AGAIN, asked_in, call, link, page, path_id, said
from .openapi_schemas import (
    COUNT,
    ID_OR_NULL,
    SECONDS,
    SECONDS_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    asked,
    one_of,
    or_null,
    page_of,
    ref,
    whole,
)

_TYPE = one_of(*EVENT_TYPES)
_STATUS = one_of("enabled", "disabled")

_SAID: Mapping[str, Json] = {
    "WebhookEndpoint": whole(
        id=TEXT,
        object=one_of("webhook_endpoint"),
        created_at=SECONDS,
        updated_at=SECONDS,
        event_types={"type": "array", "items": _TYPE, "minItems": 1},
        name=TEXT,
        url=TEXT,
        signing_secret_hint=TEXT_OR_NULL,
        status=_STATUS,
        disabled_reason={**TEXT_OR_NULL, "description": "Null: nobody but a client disabled it."},
    ),
    "WebhookEndpointWithSecret": {
        "allOf": [
            ref("WebhookEndpoint"),
            whole(signing_secret={**TEXT, "description": "It is not told again."}),
        ]
    },
    "WebhookEndpoints": page_of("WebhookEndpoint"),
    "DeletedWebhookEndpoint": whole(
        id=TEXT, object=one_of("webhook_endpoint.deleted"), deleted={"const": True}
    ),
    "WebhookEventTypes": whole(object=one_of("list"), data={"type": "array", "items": _TYPE}),
    "WebhookTest": whole(
        object=one_of("webhook_endpoint.test"),
        webhook_endpoint_id=TEXT,
        event_type=_TYPE,
        status_code={"type": "integer", "minimum": 100, "maximum": 999},
        success={"const": True, "description": "It answered; with what is for you to judge."},
    ),
    "WebhookDelivery": whole(
        id=TEXT,
        object=one_of("webhook_endpoint.delivery"),
        event_type=_TYPE,
        event_data=whole(id=TEXT),
        webhook_endpoint_id=TEXT,
        created_at=SECONDS,
        status=one_of("waiting", "delivered", "failed"),
        attempts=COUNT,
        last_attempt_at=SECONDS_OR_NULL,
        next_attempt_at=SECONDS_OR_NULL,
        status_code={**ID_OR_NULL, "type": ["integer", "null"]},
        error=TEXT_OR_NULL,
    ),
    "WebhookDeliveries": page_of("WebhookDelivery"),
    "WebhookReplay": whole(
        object=one_of("webhook_endpoint.replay"),
        webhook_endpoint_id=TEXT,
        event_ids={"type": "array", "items": TEXT},
    ),
}

_OF_AN_ENDPOINT: Mapping[str, Json] = {
    "name": {"type": ["string", "null"], "maxLength": MAX_NAME},
    "event_types": or_null({"type": "array", "items": _TYPE, "minItems": 1}),
    "status": or_null(_STATUS),
}
_URL = {"description": "Of a public host by https, unless the settings allow another."}

_ASKED: Mapping[str, Json] = {
    "NewWebhookEndpoint": asked({"url": {**TEXT, **_URL}}, _OF_AN_ENDPOINT),
    "WebhookEndpointChange": asked({}, {"url": {**TEXT_OR_NULL, **_URL}, **_OF_AN_ENDPOINT}),
    "WebhookRotation": asked(
        {}, {"keep_old_secret_active_for_24_hours": {"type": ["boolean", "null"]}}
    ),
    "WebhookTrial": asked({"event_type": _TYPE}, {}),
    "WebhookReplayed": {
        **asked(
            {},
            {
                "event_ids": or_null({"type": "array", "items": TEXT, "maxItems": MAX_REPLAYED}),
                "since": {"type": ["number", "null"], "minimum": 0, "exclusiveMaximum": LATEST},
            },
        ),
        "description": "Without either, what was given up.",
    },
}

WEBHOOK_SCHEMAS: Mapping[str, Json] = {**_SAID, **_ASKED}

_ENDPOINT = path_id("webhook endpoint")
_ROOT = "/v1/webhook_endpoints"
_ONE = f"{_ROOT}/{{id}}"
_TAG = "Webhooks"


def _body(schema: str, *, required: bool = False) -> Json:
    return {**asked_in("application/json", schema), "required": required}


_TO_AN_ENDPOINT: Json = {
    "retrieveWebhookEndpoint": link("retrieveWebhookEndpoint", "Look at it."),
    "updateWebhookEndpoint": link("updateWebhookEndpoint", "Change it."),
    "testWebhookEndpoint": link("testWebhookEndpoint", "Try it out."),
    "rotateWebhookSecret": link("rotateWebhookSecret", "Get another secret."),
    "listWebhookDeliveries": link("listWebhookDeliveries", "See what was sent there."),
    "replayWebhooks": link("replayWebhooks", "Have it sent again."),
    "deleteWebhookEndpoint": link("deleteWebhookEndpoint", "Delete it."),
}
_BAD_BODY = (400, 404, 408, 413)

WEBHOOKS: Json = {
    _ROOT: {
        "post": call(
            "createWebhookEndpoint",
            _TAG,
            "Have events sent to an address.",
            said("WebhookEndpointWithSecret", links=_TO_AN_ENDPOINT),
            parameters=[AGAIN],
            body=_body("NewWebhookEndpoint", required=True),
            refuses=(400, 408, 409, 413),
        ),
        "get": call(
            "listWebhookEndpoints",
            _TAG,
            "The endpoints that clients made, the newest first, a page of them.",
            said("WebhookEndpoints"),
            parameters=page(20, 100),
            refuses=(400,),
        ),
    },
    _ONE: {
        "get": call(
            "retrieveWebhookEndpoint",
            _TAG,
            "Look at an endpoint.",
            said("WebhookEndpoint"),
            parameters=[_ENDPOINT],
            refuses=(404,),
        ),
        "post": call(
            "updateWebhookEndpoint",
            _TAG,
            "Change an endpoint.",
            said("WebhookEndpoint"),
            parameters=[_ENDPOINT, AGAIN],
            body=_body("WebhookEndpointChange"),
            refuses=(*_BAD_BODY, 409),
        ),
        "delete": call(
            "deleteWebhookEndpoint",
            _TAG,
            "Delete an endpoint.",
            said(
                "DeletedWebhookEndpoint",
                links={"gone": link("retrieveWebhookEndpoint", "It is not there any more.")},
            ),
            parameters=[_ENDPOINT],
            refuses=(404,),
        ),
    },
    f"{_ONE}/rotate_secret": {
        "post": call(
            "rotateWebhookSecret",
            _TAG,
            "Have what is sent to an endpoint signed with another secret.",
            said("WebhookEndpointWithSecret"),
            parameters=[_ENDPOINT, AGAIN],
            body=_body("WebhookRotation"),
            refuses=(*_BAD_BODY, 409),
        ),
    },
    f"{_ONE}/test": {
        "post": call(
            "testWebhookEndpoint",
            _TAG,
            "Send something made up to an endpoint.",
            said("WebhookTest"),
            parameters=[_ENDPOINT, AGAIN],
            body=_body("WebhookTrial", required=True),
            refuses=(*_BAD_BODY, 409),
        ),
    },
    f"{_ONE}/deliveries": {
        "get": call(
            "listWebhookDeliveries",
            _TAG,
            "Ours: what was and will be sent to an endpoint, the newest first, a page of it.",
            said("WebhookDeliveries"),
            parameters=[_ENDPOINT, *page(20, 100)],
            refuses=(400, 404),
        ),
    },
    f"{_ONE}/replay": {
        "post": call(
            "replayWebhooks",
            _TAG,
            "Ours: send to an endpoint again.",
            said("WebhookReplay"),
            parameters=[_ENDPOINT, AGAIN],
            body=_body("WebhookReplayed"),
            refuses=(*_BAD_BODY, 409),
        ),
    },
    "/v1/webhook_event_types": {
        "get": call(
            "listWebhookEventTypes",
            _TAG,
            "The types of events that may be sent.",
            said("WebhookEventTypes"),
        ),
    },
}
