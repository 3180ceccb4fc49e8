"""What the service refuses, and in which words."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ...core.model import Json
from ..endpoint.errors import KINDS
from ..service import front
from ..service.faults import Status
from ..service.http1 import Reply

JSON: Final = {"content-type": "application/json"}
INVALID: Final = "invalid_request_error"


class Refused(front.Refused):
    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Json | None = None,
    ) -> None:
        kind = INVALID if status < 429 else KINDS[status][0]
        error = {**write_error(message, kind, param, code), **(more or {})}
        super().__init__(json_reply(error, status=status, headers=headers))


def write_error(message: str, type: str, param: str | None, code: str | None) -> Json:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def json_reply(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    headers = {**JSON, **(headers or {})}
    return Reply(status=status, body=msgspec.json.encode(body), headers=headers)


def failure(fault: Status) -> Reply:
    """The error a script asks for; what it does not say is what is usual for the status."""
    kind, code, message = KINDS.get(fault.status, ("api_error", None, "Error."))
    if fault.status == 404:
        # What is missing here is no model.
        code, message = None, "No such object."
    error = write_error(
        fault.message or message, fault.type or kind, fault.param, fault.code or code
    )
    return json_reply(error, status=fault.status, headers=fault.headers)


def missing(field: str) -> Refused:
    message = f"Missing required parameter: {field!r}."
    return Refused(400, message, param=field, code="missing_required_parameter")


def invalid(field: str, value: object, *known: str) -> Refused:
    supported = ", ".join(map(repr, known))
    message = f"Invalid value: {value!r}. Supported values are: {supported}."
    return Refused(400, message, param=field, code="invalid_value")


def wrong_type(field: str, wanted: str) -> Refused:
    message = f"Invalid type for {field!r}: expected {wanted}."
    return Refused(400, message, param=field, code="invalid_type")
