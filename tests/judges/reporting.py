"""What the judges' scripts share. It runs beside an SDK, so it needs nothing but Python."""

import json
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

FAULTS = ("reset", "timeout", "408", "500", "502", "503", "504")
AT_ONCE = 12


def report(client, steps, out=None):
    """Print what each step saw, or how it failed, as one JSON object."""
    told = {step.__name__: seen(step, client) for step in steps}
    print(json.dumps(told), file=out)


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


def judged(kind, text):
    """What an SDK's own type has to say of a JSON text: where it is wrong, taken strictly, and
    which names in it the type does not know."""
    try:
        value = kind.model_validate_json(text, strict=True)
    except Exception as error:
        return {"wrong": [f"{each['loc']}: {each['msg']}" for each in error.errors()]}
    return {"wrong": [], "unknown": sorted(set(unknown(value)))}


def judged_all(replies):
    """The same of raw replies, each with the type that it is to be of."""
    return {name: judged(kind, reply.http_response.text) for name, (kind, reply) in replies.items()}


def unknown(value, at=""):
    """The fields that no type of the SDK has, wherever they are in a value."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from unknown(each, at)
        return
    yield from (f"{at}{name}" for name in getattr(value, "model_extra", None) or ())
    for name in getattr(type(value), "model_fields", ()):
        yield from unknown(getattr(value, name), f"{at}{name}.")


def numbered(count, make):
    return [make(number) for number in range(count)]


def address():
    """Where the service is: what the script was called with."""
    return sys.argv[1]


def json_lines(text):
    return [json.loads(line) for line in text.split("\n") if line]


def lost(client_of, **kinds):
    """Print what became of a call of each kind whose answer was lost in each way: how the SDK
    failed, if it did, and how many there are now of what it asked for once."""

    def seen(owner):
        kind, _, _ = owner.partition("-")
        try:
            error, there = kinds[kind](client_of(owner))
        except Exception:
            return {"failed": traceback.format_exc(limit=-4)}
        return {"raised": error["class"][:1], "there": there}

    owners = [f"{kind}-{fault}" for kind in kinds for fault in FAULTS]
    with ThreadPoolExecutor(AT_ONCE) as cells:
        print(json.dumps(dict(zip(owners, cells.map(seen, owners), strict=True))))


def patience_s(owner):
    """How long an answer is waited for: long, where it is not to be waited for in vain."""
    return 5 if owner.endswith("timeout") else 30
