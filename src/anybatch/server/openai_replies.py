"""What all of OpenAI's calls have in common: how they are answered, and refused."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..core.model import Json
from ..wire import openai_asked as asking
from ..wire.openai_asked import Refused
from ..wire.openai_served import write_list
from .face import FINAL, Absent, Handler
from .forms import BadForm, TooLarge
from .reading import PastTheEnd
from .repeats import Reused

MAX_BODY_BYTES = 1 << 20
"""Of a call that carries no file."""
_ENCODER = msgspec.json.Encoder()


def id_of(request: Request) -> str:
    """What stands for `{id}` in the path of a call."""
    return str(request.path_params["id"])


def json_answer(said: Json, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_ENCODER.encode(said), media_type="application/json", headers=headers)


def page_of(
    found: list[Any] | None, cursor: asking.Cursor, write: Callable[[Any], Json]
) -> Response:
    """A page of which one entry more than asked for was looked up."""
    if found is None:
        raise asking.unknown_cursor(cursor.after or "")
    listed = map(write, found[: cursor.limit])
    return json_answer(write_list(listed, has_more=len(found) > cursor.limit))


def refusal(refused: Refused) -> Response:
    return Response(
        refused.body,
        status_code=refused.status,
        headers=dict(refused.headers),
        media_type="application/json",
    )


def answering(handler: Handler) -> Handler:
    """`handler`, with what it raises about a call said in the wire's envelope."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as e:
            return refusal(e)
        except Absent as e:
            return refusal(asking.absent(e.noun, e.id))
        except TooLarge as e:
            return refusal(Refused(413, f"Too large: {e}."))
        except BadForm as e:
            return refusal(Refused(400, f"{e}."))
        except Reused:
            said = "This Idempotency-Key was used before, with another request."
            return refusal(Refused(409, said, headers=FINAL))
        except PastTheEnd as e:
            headers = {"content-range": f"bytes */{e.size}"}
            return refusal(Refused(416, str(e), headers=headers))
        except TimeoutError:
            return refusal(Refused(408, "The body did not arrive in time."))

    return answered
