"""What the judges' scripts share. It runs beside an SDK, so it needs nothing but Python."""

import json
import sys
import traceback


def report(client, steps):
    """Print what each step saw, or how it failed, as one JSON object."""
    print(json.dumps({step.__name__: seen(step, client) for step in steps}))


def seen(step, client):
    try:
        return step(client)
    except Exception:
        return {"failed": traceback.format_exc(limit=-4)}


def raised(call, *args, **kwargs):
    """What an SDK makes of an error: its class, those above it, and what it knows of it."""
    try:
        call(*args, **kwargs)
    except Exception as error:
        return {
            "class": [kind.__name__ for kind in type(error).__mro__],
            "status": getattr(error, "status_code", getattr(error, "code", None)),
            "code": getattr(error, "code", None),
            "param": getattr(error, "param", None),
            "named": getattr(error, "request_id", None) is not None,
            "message": str(error),
        }
    return {"class": []}


def address():
    """Where the service is: what the script was called with."""
    return sys.argv[1]


def json_lines(text):
    return [json.loads(line) for line in text.split("\n") if line]
