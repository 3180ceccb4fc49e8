"""The calls of OpenAI's protocol that we answer, as an OpenAPI document describes them.

`openai.py` answers them, and a test holds the two against each other. What a face of its own adds
goes beside this file, as `openapi_webhooks.py` does, and into `openapi.py:PATHS`.
"""

from collections.abc import Mapping, Sequence

from ..core.model import Json
from .openapi_schemas import TEXT, ref

REQUEST_ID: Json = {
    "x-request-id": {
        "required": True,
        "schema": {"type": "string", "pattern": "^req_[0-9a-f]{24}$"},
        "description": "By this the log knows the call.",
    }
}

_REFUSALS: Mapping[int, str] = {
    400: "What was asked for cannot be.",
    401: "The key is missing or unknown.",
    404: "It is not there, or it is not the caller's.",
    408: "The body did not arrive in time.",
    409: "It is too late for that, or the Idempotency-Key was used before, for another request.",
    413: "The body is too long.",
    429: "More than the key allows; `retry-after` says when to ask again, where that is known.",
}

# --- how a call is put together -----------------------------------------------------------------


def call(
    name: str,
    tag: str,
    summary: str,
    answers: Json,
    *,
    parameters: Sequence[Json] = (),
    body: Json | None = None,
    refuses: Sequence[int] = (),
) -> Json:
    """An operation that answers with 200 and `answers`; every call may be refused for its key."""
    statuses = sorted({*refuses, 401, 429})
    asked = {} if body is None else {"requestBody": body}
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        **({"parameters": list(parameters)} if parameters else {}),
        **asked,
        "responses": {"200": answers, **{str(status): refusal(status) for status in statuses}},
    }


def refusal(status: int) -> Json:
    """What is answered instead of what was asked for."""
    return said("Error", _REFUSALS[status])


def said(
    schema: str,
    description: str = "Done.",
    *,
    links: Json | None = None,
    headers: Json | None = None,
) -> Json:
    """An answer in JSON; `headers` are those that it has besides."""
    more = {} if links is None else {"links": links}
    return {
        "description": description,
        "headers": {**REQUEST_ID, **(headers or {})},
        "content": {"application/json": {"schema": ref(schema)}},
        **more,
    }


def asked_in(media_type: str, schema: str, **encoding: Json) -> Json:
    """What a call needs to say; `encoding` tells of the parts of a form."""
    more = {"encoding": encoding} if encoding else {}
    return {"required": True, "content": {media_type: {"schema": ref(schema), **more}}}


def _file_called(name: str) -> Json:
    """A part of a form that is a file."""
    example = f'form-data; name="file"; filename="{name}"'
    return {"headers": {"Content-Disposition": {"schema": TEXT, "example": example}}}


def path_id(noun: str) -> Json:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {**TEXT, "minLength": 1},
        "description": f"Of the {noun}.",
    }


def query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def link(name: str, description: str, *, id: str = "$response.body#/id") -> Json:
    """Where one may go from an answer: to the call `name`, with this id."""
    return {"operationId": name, "parameters": {"id": id}, "description": description}


def page(usual: int, most: int) -> list[Json]:
    limit = {"type": "integer", "minimum": 1, "maximum": most, "default": usual}
    return [
        query("after", TEXT, "The id of the last entry of the page before."),
        query("limit", limit, "So many entries at most."),
    ]


AGAIN: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": TEXT,
    "description": "The same call with the same key gets the same answer, for a day.",
}
_RANGE: Json = {
    "name": "Range",
    "in": "header",
    "schema": TEXT,
    "description": "One stretch, as `bytes=0-99`; what is none is not looked at.",
}
_CONTENT: Json = {"application/octet-stream": {}}

# --- files and uploads --------------------------------------------------------------------------

_FILE = path_id("file")
_STRETCH: Json = {
    "content-range": {
        "required": True,
        "schema": {"type": "string", "pattern": "^bytes ([0-9]+-[0-9]+|\\*)/[0-9]+$"},
    }
}
_ACCEPT_RANGES: Json = {
    "accept-ranges": {"required": True, "schema": {"type": "string", "enum": ["bytes"]}}
}


def _content(description: str, headers: Json) -> Json:
    return {"description": description, "headers": {**REQUEST_ID, **headers}, "content": _CONTENT}


def _downloads(headers: Json) -> Json:
    """What is answered where a file is read, beside 200."""
    return {
        "206": _content("The stretch that was asked for.", {**headers, **_STRETCH}),
        "416": {
            **said("Error", "The file ends before that."),
            "headers": {**REQUEST_ID, **_STRETCH},
        },
    }


def _with(operation: Json, responses: Json) -> Json:
    return {**operation, "responses": {**operation["responses"], **responses}}


_TO_A_FILE: Json = {
    "retrieveFile": link("retrieveFile", "Look at it."),
    "downloadFile": link("downloadFile", "Read it."),
    "deleteFile": link("deleteFile", "Delete it."),
    "createBatch": {
        "operationId": "createBatch",
        "requestBody": {"input_file_id": "$response.body#/id"},
        "description": "Make a batch of it.",
    },
}
_TO_A_LISTED_FILE: Json = {
    "retrieveFile": link("retrieveFile", "Look at the first.", id="$response.body#/data/0/id"),
    "listFiles": {
        "operationId": "listFiles",
        "parameters": {"after": "$response.body#/last_id"},
        "description": "The next page.",
    },
}
_ORDER = query(
    "order",
    {"type": "string", "enum": ["asc", "desc"], "default": "desc"},
    "The oldest first, or the newest.",
)

FILES: Json = {
    "/v1/files": {
        "post": call(
            "createFile",
            "Files",
            "Upload a file.",
            said("File", links=_TO_A_FILE),
            parameters=[AGAIN],
            body=asked_in("multipart/form-data", "FileForm", file=_file_called("requests.jsonl")),
            refuses=(400, 408, 409, 413),
        ),
        "get": call(
            "listFiles",
            "Files",
            "The files that are there, a page of them.",
            said("Files", links=_TO_A_LISTED_FILE),
            parameters=[
                *page(10_000, 10_000),
                _ORDER,
                query("purpose", TEXT, "Those for this purpose alone."),
            ],
            refuses=(400,),
        ),
    },
    "/v1/files/{id}": {
        "get": call(
            "retrieveFile",
            "Files",
            "Look at a file.",
            said("File"),
            parameters=[_FILE],
            refuses=(404,),
        ),
        "delete": call(
            "deleteFile",
            "Files",
            "Delete a file.",
            said("Deleted", links={"gone": link("retrieveFile", "It is not there any more.")}),
            parameters=[_FILE],
            refuses=(404,),
        ),
    },
    "/v1/files/{id}/content": {
        "get": _with(
            call(
                "downloadFile",
                "Files",
                "Read a file.",
                _content("The file.", _ACCEPT_RANGES),
                parameters=[_FILE, _RANGE],
                refuses=(404,),
            ),
            _downloads(_ACCEPT_RANGES),
        ),
    },
}

_UPLOAD = path_id("upload")

UPLOADS: Json = {
    "/v1/uploads": {
        "post": call(
            "createUpload",
            "Uploads",
            "Begin a file that comes in parts.",
            said(
                "Upload",
                links={
                    "addUploadPart": link("addUploadPart", "Send a part."),
                    "completeUpload": link("completeUpload", "Make a file of the parts."),
                    "cancelUpload": link("cancelUpload", "Give it up."),
                },
            ),
            parameters=[AGAIN],
            body=asked_in("application/json", "NewUpload"),
            refuses=(400, 408, 409, 413),
        ),
    },
    "/v1/uploads/{id}/parts": {
        "post": call(
            "addUploadPart",
            "Uploads",
            "Send a part.",
            said(
                "UploadPart",
                links={
                    "completeUpload": {
                        "operationId": "completeUpload",
                        "parameters": {"id": "$response.body#/upload_id"},
                        "requestBody": {"part_ids": ["$response.body#/id"]},
                        "description": "Make a file of it.",
                    }
                },
            ),
            parameters=[_UPLOAD, AGAIN],
            body=asked_in("multipart/form-data", "PartForm"),
            refuses=(400, 404, 408, 409, 413),
        ),
    },
    "/v1/uploads/{id}/complete": {
        "post": call(
            "completeUpload",
            "Uploads",
            "Make a file of the parts, in this order.",
            said(
                "CompletedUpload",
                links={
                    "retrieveFile": link(
                        "retrieveFile", "Look at it.", id="$response.body#/file/id"
                    )
                },
            ),
            parameters=[_UPLOAD, AGAIN],
            body=asked_in("application/json", "CompleteUpload"),
            refuses=(400, 404, 408, 409, 413),
        ),
    },
    "/v1/uploads/{id}/cancel": {
        "post": call(
            "cancelUpload",
            "Uploads",
            "Give an upload up.",
            said("Upload"),
            parameters=[_UPLOAD, AGAIN],
            refuses=(400, 404, 409),
        ),
    },
}

# --- batches ------------------------------------------------------------------------------------

_BATCH = path_id("batch")
_TO_A_BATCH: Json = {
    "retrieveBatch": link("retrieveBatch", "Look at it."),
    "cancelBatch": link("cancelBatch", "Cancel it."),
    "readBatchOutput": link("readBatchOutput", "Read what was answered so far."),
}
_TO_A_LISTED_BATCH: Json = {
    "retrieveBatch": link("retrieveBatch", "Look at the first.", id="$response.body#/data/0/id"),
    "listBatches": {
        "operationId": "listBatches",
        "parameters": {"after": "$response.body#/last_id"},
        "description": "The next page.",
    },
}
_RESTS: Json = {
    "anybatch-rests": {
        "required": False,
        "schema": {"type": "string"},
        "description": "Why nothing of it is answered at the moment; absent: nothing is wrong.",
    }
}
_HOW_MUCH: Json = {
    "anybatch-output": {
        "required": True,
        "schema": {"type": "string", "enum": ["complete", "incomplete"]},
        "description": "Whether more will come.",
    }
}

BATCHES: Json = {
    "/v1/batches": {
        "post": call(
            "createBatch",
            "Batches",
            "Have a file of requests answered.",
            said("Batch", links=_TO_A_BATCH),
            parameters=[AGAIN],
            body=asked_in("application/json", "NewBatch"),
            refuses=(400, 408, 409, 413),
        ),
        "get": call(
            "listBatches",
            "Batches",
            "The batches that there are, the newest first, a page of them.",
            said("Batches", links=_TO_A_LISTED_BATCH),
            parameters=page(20, 100),
            refuses=(400,),
        ),
    },
    "/v1/batches/{id}": {
        "get": call(
            "retrieveBatch",
            "Batches",
            "Look at a batch.",
            said(
                "Batch",
                links={
                    "downloadFile": link(
                        "downloadFile", "Read its output.", id="$response.body#/output_file_id"
                    )
                },
                headers=_RESTS,
            ),
            parameters=[_BATCH],
            refuses=(404,),
        ),
    },
    "/v1/batches/{id}/cancel": {
        "post": call(
            "cancelBatch",
            "Batches",
            "Cancel a batch; what was answered is kept.",
            said("Batch", links={"retrieveBatch": link("retrieveBatch", "Look at it.")}),
            parameters=[_BATCH, AGAIN],
            refuses=(404, 409),
        ),
    },
    "/v1/batches/{id}/output": {
        "get": _with(
            call(
                "readBatchOutput",
                "Batches",
                "Ours: the answers that are there, while the batch runs.",
                _content("The lines of the output so far, in any order.", _HOW_MUCH),
                parameters=[_BATCH, {**_RANGE, "description": "Looked at once it is complete."}],
                refuses=(404,),
            ),
            _downloads(_HOW_MUCH),
        ),
    },
}

# --- models -------------------------------------------------------------------------------------

MODELS: Json = {
    "/v1/models": {
        "get": call(
            "listModels",
            "Models",
            "The models that a route names in full.",
            said(
                "Models",
                links={
                    "retrieveModel": link(
                        "retrieveModel", "Look at the first.", id="$response.body#/data/0/id"
                    )
                },
            ),
        ),
    },
    "/v1/models/{id}": {
        "get": call(
            "retrieveModel",
            "Models",
            "Whether requests for a model are answered.",
            said("Model"),
            parameters=[path_id("model")],
            refuses=(404,),
        ),
    },
}
