"""What the bucket refuses, and in which words; the jobs' are those of Gemini's own API."""

from typing import Final

from ...wire.gcs import write_error
from ..gemini.errors import JSON, error_reply
from ..service.faults import Status
from ..service.front import Refused
from ..service.http1 import Reply

REASONS: Final = {
    400: "invalid",
    401: "required",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    410: "gone",
    412: "conditionNotMet",
    429: "rateLimitExceeded",
}


def storage_error(status: int, message: str) -> Reply:
    body = write_error(status, message, reason=REASONS.get(status, "backendError"))
    return Reply(status=status, body=body, headers=JSON)


def storage_refused(status: int, message: str) -> Refused:
    return Refused(storage_error(status, message))


def no_object(bucket: str, name: str) -> Refused:
    return storage_refused(404, f"No such object: {bucket}/{name}")


def unauthenticated() -> Reply:
    message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
    return error_reply(401, message)


def failure(fault: Status) -> Reply:
    """The error a script asks for; what it does not say is what is usual for the status."""
    message = fault.message or f"HTTP {fault.status}"
    return error_reply(fault.status, message, word=fault.type, headers=fault.headers)
