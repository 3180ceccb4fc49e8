"""The OpenAPI document of this server: OpenAI's protocol as far as we answer it, and what is ours.

It says the same wherever the server runs, and nothing that is secret.
"""

from importlib.metadata import version

import msgspec

from ..core.model import Json
from .openapi_calls import BATCHES, FILES, MODELS, UPLOADS
from .openapi_schemas import SCHEMAS, ref
from .openapi_webhooks import WEBHOOK_SCHEMAS, WEBHOOKS

WHERE = "/openapi.json"
MEDIA_TYPE = "application/json"

_NO_KEY: Json = {"security": []}


def _plain(name: str, summary: str, answers: Json, responses: Json | None = None) -> Json:
    """A call for whoever looks after the server."""
    return {
        "operationId": name,
        "tags": ["Operations"],
        "summary": summary,
        "responses": {"200": answers, **(responses or {})},
    }


def _json(schema: Json, description: str) -> Json:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


_OPERATIONS: Json = {
    "/health": {
        "get": {
            **_plain("health", "Whether it answers.", _json(ref("Health"), "It does.")),
            **_NO_KEY,
        }
    },
    "/ready": {
        "get": {
            **_plain(
                "ready",
                "Whether it can take work.",
                _json(ref("Ready"), "It can."),
                {"503": _json(ref("NotReady"), "It cannot.")},
            ),
            **_NO_KEY,
        }
    },
    "/metrics": {
        "get": _plain(
            "metrics",
            "Numbers for Prometheus.",
            {"description": "Of all owners together.", "content": {"text/plain": {}}},
            {
                "401": _json(ref("Error"), "The key is missing or unknown."),
                "429": _json(ref("Error"), "More calls than the key may make."),
            },
        )
    },
    WHERE: {
        "get": {
            **_plain("openapi", "This document.", _json({"type": "object"}, "This document.")),
            **_NO_KEY,
        }
    },
}

PATHS: Json = {**FILES, **UPLOADS, **BATCHES, **MODELS, **WEBHOOKS, **_OPERATIONS}
"""What may be called, by path and method. Each of these tables is described in one place."""

_KEYS: Json = {  # where a key is asked for: on 127.0.0.1, once there is one
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def document() -> Json:
    """The whole, as an OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "anybatch serve",
            "version": version("anybatch"),
            "summary": "A Batch API in OpenAI's protocol, for any model.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _KEYS],
        "tags": [
            {"name": name}
            for name in ("Files", "Uploads", "Batches", "Models", "Webhooks", "Operations")
        ],
        "paths": PATHS,
        "components": {"schemas": {**SCHEMAS, **WEBHOOK_SCHEMAS}, "securitySchemes": _KEYS},
    }


WRITTEN = msgspec.json.encode(document())
