"""Error answers in OpenAI's envelope."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ..service.faults import Status
from ..service.http1 import Reply

KINDS: Final[dict[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "The request is invalid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("billing_error", "billing_hard_limit_reached", "Billing hard limit has been reached."),
    403: ("invalid_request_error", "permission_denied", "You have no access to this resource."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    405: ("invalid_request_error", "method_not_supported", "This method is not supported here."),
    408: ("timeout_error", "request_timeout", "The request timed out."),
    409: ("conflict_error", None, "The request conflicts with another one."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    500: ("server_error", None, "The server had an error. Sorry about that."),
    502: ("server_error", "bad_gateway", "Bad gateway."),
    503: ("server_error", "overloaded", "The engine is currently overloaded."),
    504: ("server_error", "gateway_timeout", "Gateway timeout."),
}
"""Status -> type, code and message."""


def error_reply(
    status: int,
    *,
    message: str | None = None,
    type: str | None = None,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error; what is not given is what is usual for the status."""
    usual_type, usual_code, usual_message = KINDS.get(status, ("api_error", None, "Error."))
    error = {
        "message": message or usual_message,
        "type": type or usual_type,
        "param": param,
        "code": code or usual_code,
    }
    return Reply(
        status=status,
        body=msgspec.json.encode({"error": error}),
        headers={"content-type": "application/json", **(headers or {})},
    )


def failure(fault: Status) -> Reply:
    """The error that a script asks for."""
    return error_reply(
        fault.status,
        message=fault.message,
        type=fault.type,
        code=fault.code,
        param=fault.param,
        headers=fault.headers,
    )
