"""What goes over the wire in OpenAI's protocol, as JSON Schemas: what is said, and what is asked.

Bounds and words come from where they are enforced. What we say has every field, always.
"""

from collections.abc import Mapping

from ..core.model import Json
from ..wire import openai_asked as asking

# --- how they are put together ------------------------------------------------------------------


def ref(name: str) -> Json:
    """The schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def whole(**properties: Json) -> Json:
    """An object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def asked(required: Mapping[str, Json], optional: Mapping[str, Json]) -> Json:
    """An object of which some may be left out; what else it says is not looked at."""
    properties = {**required, **optional}
    return {"type": "object", "required": list(required), "properties": properties}


def or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*words: str) -> Json:
    return {"type": "string", "enum": list(words)}


def _list_of(name: str) -> Json:
    return {"type": "array", "items": ref(name)}


TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
SECONDS: Json = {"type": "integer", "description": "Seconds since 1970."}
ID_OR_NULL = {"type": ["string", "null"]}
TEXT_OR_NULL = {"type": ["string", "null"]}
SECONDS_OR_NULL = {**SECONDS, "type": ["integer", "null"]}


def page_of(name: str) -> Json:
    """The next page is asked for with the id of the last entry as `after`."""
    return whole(
        object=one_of("list"),
        data=_list_of(name),
        first_id=ID_OR_NULL,
        last_id=ID_OR_NULL,
        has_more={"type": "boolean"},
    )


# --- what is said -------------------------------------------------------------------------------

_HOURS = "[1-9]|[1-9][0-9]|1[0-5][0-9]|16[0-8]"
"""From 1 to `asking.MAX_WINDOW_HOURS`."""

_STATUSES = (
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
)

_USAGE = whole(
    input_tokens=COUNT,
    input_tokens_details=whole(cached_tokens=COUNT, cache_write_tokens=COUNT),
    output_tokens=COUNT,
    output_tokens_details=whole(reasoning_tokens=COUNT),
    total_tokens=COUNT,
)

_METADATA: Json = {
    "type": "object",
    "maxProperties": asking.MAX_PAIRS,
    "propertyNames": {"maxLength": asking.MAX_KEY},
    "additionalProperties": {"type": "string", "maxLength": asking.MAX_TEXT},
}

_EXPIRES_AFTER = asked(
    {
        "anchor": one_of("created_at"),
        "seconds": {
            "type": "integer",
            "minimum": asking.LEAST_KEPT_S,
            "maximum": asking.KEPT_S,
        },
    },
    {},
)

_SAID: Mapping[str, Json] = {
    "Error": whole(error=whole(message=TEXT, type=TEXT, param=TEXT_OR_NULL, code=TEXT_OR_NULL)),
    "File": whole(
        id=TEXT,
        object=one_of("file"),
        bytes=COUNT,
        created_at=SECONDS,
        filename=TEXT,
        purpose=TEXT,
        status=one_of("processed"),
        status_details=TEXT_OR_NULL,
        expires_at=SECONDS_OR_NULL,
    ),
    "Files": page_of("File"),
    "Deleted": whole(id=TEXT, object=one_of("file"), deleted={"const": True}),
    "Upload": {
        **whole(
            id=TEXT,
            object=one_of("upload"),
            bytes={"type": "integer", "minimum": 1},
            created_at=SECONDS,
            expires_at=SECONDS,
            filename=TEXT,
            purpose=TEXT,
            status=one_of("pending", "completed", "cancelled", "expired"),
        ),
        "description": "Once it is completed there is a `file` as well.",
    },
    "CompletedUpload": {
        "allOf": [ref("Upload"), whole(status=one_of("completed"), file=ref("File"))]
    },
    "UploadPart": whole(id=TEXT, object=one_of("upload.part"), created_at=SECONDS, upload_id=TEXT),
    "BatchErrors": whole(object=one_of("list"), data=_list_of("BatchError")),
    "BatchError": whole(
        code=TEXT,
        message=TEXT,
        line={
            "type": ["integer", "null"],
            "minimum": 1,
            "description": "Of the input; null: it concerns the whole file.",
        },
        param=TEXT_OR_NULL,
    ),
    "Batch": whole(
        id=TEXT,
        object=one_of("batch"),
        endpoint=one_of(*asking.ENDPOINTS),
        model=TEXT_OR_NULL,
        errors=or_null(ref("BatchErrors")),
        input_file_id=TEXT,
        completion_window=TEXT,
        status=one_of(*_STATUSES),
        output_file_id=ID_OR_NULL,
        error_file_id=ID_OR_NULL,
        created_at=SECONDS,
        in_progress_at=SECONDS_OR_NULL,
        expires_at=SECONDS,
        finalizing_at=SECONDS_OR_NULL,
        completed_at=SECONDS_OR_NULL,
        failed_at=SECONDS_OR_NULL,
        expired_at=SECONDS_OR_NULL,
        cancelling_at=SECONDS_OR_NULL,
        cancelled_at=SECONDS_OR_NULL,
        request_counts=whole(total=COUNT, completed=COUNT, failed=COUNT),
        usage=_USAGE,
        metadata=_METADATA,
    ),
    "Batches": page_of("Batch"),
    "Model": whole(id=TEXT, object=one_of("model"), created=SECONDS, owned_by=TEXT),
    "Models": whole(object=one_of("list"), data=_list_of("Model")),
    "Health": whole(status=one_of("ok")),
    "Ready": whole(status=one_of("ready")),
    "NotReady": whole(status=one_of("not ready"), why=TEXT),
}

# --- what is asked ------------------------------------------------------------------------------

LINE = """\
{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", \
"body": {"model": "m", "messages": [{"role": "user", "content": "Say hi"}]}}
"""
"""An input that is as it must be."""

_BYTES: Json = {"type": "string", "format": "binary", "examples": [LINE]}
_PURPOSE = one_of(*asking.PURPOSES)
_FILENAME: Json = {
    "type": "string",
    "pattern": f"^{asking.FILENAME}$",
    "not": {"pattern": f"^{asking.NO_FILENAME}$"},
    "maxLength": asking.MAX_FILENAME,
    "examples": ["requests.jsonl"],
    "description": "Of a path, the last part is kept.",
}

_ASKED: Mapping[str, Json] = {
    "FileForm": {
        **asked(
            {"file": _BYTES, "purpose": _PURPOSE},
            {
                "expires_after[anchor]": _EXPIRES_AFTER["properties"]["anchor"],
                "expires_after[seconds]": _EXPIRES_AFTER["properties"]["seconds"],
            },
        ),
        "dependentRequired": {
            "expires_after[anchor]": ["expires_after[seconds]"],
            "expires_after[seconds]": ["expires_after[anchor]"],
        },
        "description": (
            "In any order. For the purpose `batch` the name of the file has to end with `.jsonl`, "
            f"it has at most {asking.MAX_INPUT_BYTES:,} bytes, and its first line has to be JSON."
        ),
    },
    "NewUpload": asked(
        {
            "bytes": {
                "type": "integer",
                "minimum": 1,
                "maximum": asking.MAX_UPLOAD_BYTES,
                "examples": [len(LINE)],
            },
            "filename": _FILENAME,
            "mime_type": TEXT,
            "purpose": _PURPOSE,
        },
        {"expires_after": or_null(_EXPIRES_AFTER)},
    ),
    "PartForm": {
        **asked({"data": _BYTES}, {}),
        "description": f"At most {asking.MAX_PART_BYTES:,} bytes.",
    },
    "CompleteUpload": asked(
        {"part_ids": {"type": "array", "items": TEXT}},
        {"md5": {"type": ["string", "null"], "description": "Of the whole file, in hexadecimal."}},
    ),
    "NewBatch": asked(
        {
            "input_file_id": TEXT,
            "endpoint": one_of(*asking.ENDPOINTS),
            "completion_window": {
                "type": "string",
                "pattern": f"^({_HOURS})h$",
                "examples": ["24h"],
            },
        },
        {
            "metadata": or_null(_METADATA),
            "output_expires_after": or_null(_EXPIRES_AFTER),
        },
    ),
}

SCHEMAS: Mapping[str, Json] = {**_SAID, **_ASKED}
