"""What a client asks for when it creates a batch, checked as the service checks it at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ...core.model import Json
from ..endpoint.call import PATHS
from .errors import Refused, invalid, missing, wrong_type
from .files import KEPT_SECONDS, seconds_of

ENDPOINTS: Final = tuple(f"/v1{path}" for path in PATHS)
"""Those of which the fake can answer rows."""
REQUIRED: Final = ("input_file_id", "endpoint", "completion_window")
WINDOW: Final = "24h"
MAX_PAIRS, MAX_KEY, MAX_TEXT = 16, 64, 512
"""Of metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A batch as it was asked for."""

    input_file_id: str
    endpoint: str
    metadata: Mapping[str, str] | None
    kept_seconds: float
    """How long its result files are kept."""


def read_asked(raw: bytes) -> Asked:
    """Raises Refused for what does not become a batch at all."""
    asked = _object(raw)
    for field in REQUIRED:
        if asked.get(field) is None:
            raise missing(field)
        if not isinstance(asked[field], str):
            raise wrong_type(field, "a string")
    if asked["endpoint"] not in ENDPOINTS:
        raise invalid("endpoint", asked["endpoint"], *ENDPOINTS)
    if asked["completion_window"] != WINDOW:
        raise invalid("completion_window", asked["completion_window"], WINDOW)
    kept = asked.get("output_expires_after")
    return Asked(
        input_file_id=asked["input_file_id"],
        endpoint=asked["endpoint"],
        metadata=_metadata(asked.get("metadata")),
        kept_seconds=KEPT_SECONDS if kept is None else seconds_of(kept, "output_expires_after"),
    )


def _object(raw: bytes) -> Json:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        raise Refused(400, "We could not parse the JSON body of your request.") from None


def _metadata(given: Any) -> Mapping[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise wrong_type("metadata", "an object")
    if len(given) > MAX_PAIRS:
        raise Refused(400, f"At most {MAX_PAIRS} pairs of metadata may be.", param="metadata")
    for key, text in given.items():
        if not isinstance(text, str):
            raise wrong_type(f"metadata.{key}", "a string")
        if len(key) > MAX_KEY or len(text) > MAX_TEXT:
            message = f"A key has at most {MAX_KEY} characters, a value {MAX_TEXT}."
            raise Refused(400, message, param=f"metadata.{key}", code="string_above_max_length")
    return given
