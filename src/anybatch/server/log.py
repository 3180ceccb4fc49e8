"""What the server says of itself: one JSON object a line, on stderr. No body, key or prompt."""

import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()


def log(event: str, **fields: Any) -> None:
    """Say that something happened."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = _ENCODER.encode({"at": at, "event": event, **fields}) + b"\n"
    try:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
    except (OSError, ValueError, AttributeError):
        return  # whoever listened has gone: that is no reason to stop serving
