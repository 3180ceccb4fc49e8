"""What the service refuses, and in which words."""

from collections.abc import Mapping
from typing import Final

from ...wire.anthropic import write_error
from ..service.faults import Status
from ..service.front import Refused
from ..service.http1 import Reply

JSON: Final = {"content-type": "application/json"}
USUAL: Final = {
    400: "The request is invalid.",
    401: "invalid x-api-key",
    402: "Your credit balance is too low to access the API.",
    403: "Your API key has no access to this resource.",
    404: "Not found",
    405: "Method Not Allowed",
    409: "The request conflicts with another one.",
    413: "Request exceeds the maximum size",
    422: "The request is invalid.",
    429: "This request would exceed your rate limit.",
    529: "Overloaded",
}
"""The words for a status."""


def error_reply(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error in the service's envelope."""
    headers = {**JSON, **(headers or {})}
    return Reply(status=status, body=write_error(status, message), headers=headers)


def refused(status: int, message: str) -> Refused:
    return Refused(error_reply(status, message))


def unknown(batch_id: str) -> Refused:
    return refused(404, f"Message batch {batch_id!r} is not found.")


def failure(fault: Status) -> Reply:
    """The error a script asks for; what it does not say is what is usual for the status."""
    message = fault.message or USUAL.get(fault.status, "Internal server error")
    return error_reply(fault.status, message, fault.headers)
