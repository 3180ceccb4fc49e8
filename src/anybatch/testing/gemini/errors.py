"""What the service refuses, and in which words."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ...core.model import Json
from ...wire.gemini import CODES, code_of
from ..service.faults import Status
from ..service.front import Refused
from ..service.http1 import Reply

JSON: Final = {"content-type": "application/json; charset=UTF-8"}
TYPE: Final = "type.googleapis.com/google.rpc."


def error_reply(
    status: int,
    message: str,
    *,
    word: str | None = None,
    details: Json | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error in the service's envelope; `word` None: the usual one for the status."""
    error: Json = {"code": status, "message": message, "status": word or CODES[code_of(status)][0]}
    if details is not None:
        error["details"] = [details]
    return json_reply({"error": error}, status=status, headers=headers)


def json_reply(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    headers = {**JSON, **(headers or {})}
    return Reply(status=status, body=msgspec.json.encode(body), headers=headers)


def refused(status: int, message: str, *, word: str | None = None) -> Refused:
    return Refused(error_reply(status, message, word=word))


def unknown(name: str) -> Refused:
    return refused(404, f"{name!r} is not found.")


def exhausted(message: str) -> Refused:
    details = {"@type": f"{TYPE}RetryInfo", "retryDelay": "30s"}
    return Refused(error_reply(429, message, details=details))


def bad_key(key: str | None) -> Reply:
    if not key:
        return error_reply(403, "Method doesn't allow unregistered callers.")
    details = {"@type": f"{TYPE}ErrorInfo", "reason": "API_KEY_INVALID"}
    message = "API key not valid. Please pass a valid API key."
    return error_reply(400, message, details=details)


def failure(fault: Status) -> Reply:
    """The error a script asks for; what it does not say is what is usual for the status."""
    message = fault.message or CODES[code_of(fault.status)][0].replace("_", " ").capitalize()
    return error_reply(fault.status, message, word=fault.type, headers=fault.headers)
