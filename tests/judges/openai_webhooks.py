"""What OpenAI's SDK makes of our webhooks. Called with the base URL and an address to be told at,
it goes through an endpoint's life; with `unwrap`, it reads what was sent from stdin."""

import json
import sys
from collections.abc import Callable
from typing import Any

import openai

TYPES: list[Any] = ["batch.completed", "batch.failed"]


def life(base_url: str, hook: str) -> dict[str, Any]:
    client = openai.OpenAI(base_url=base_url, api_key="any", max_retries=0)
    hooks = client.webhooks
    made = hooks.create(name="mine", url=hook, event_types=TYPES)
    for each in range(2):
        hooks.create(name=f"other {each}", url=f"{hook}/{each}", event_types=TYPES)
    strict(made)
    seen = strict(hooks.retrieve(made.id))
    changed = strict(hooks.update(made.id, name="yours", event_types=["batch.expired"]))
    rotated = strict(hooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True))
    tested = strict(hooks.test(made.id, event_type="batch.expired"))
    listed = [strict(each).id for each in hooks.list(limit=1)]
    deleted = strict(hooks.delete(made.id))
    return {
        "secrets": [made.signing_secret, rotated.signing_secret],
        "seen": [seen.url, seen.name, seen.event_types, hasattr(seen, "signing_secret")],
        "changed": [changed.name, changed.event_types],
        "tested": [tested.status_code, tested.success, tested.event_type],
        "listed": [len(listed), listed[-1] == made.id],
        "deleted": deleted.deleted,
        "types": hooks.event_types.list().data,
        "refused": {
            "gone": refusal(lambda: hooks.retrieve(made.id)),
            "private": refusal(
                lambda: hooks.create(name="", url="https://10.0.0.1/", event_types=TYPES)
            ),
            "type": refusal(
                lambda: hooks.create(name="", url=hook, event_types=["response.completed"])
            ),
        },
    }


def strict(answer: Any) -> Any:
    """An answer, held against its type, which the SDK does not do by itself."""
    type(answer).model_validate(answer.model_dump(), strict=True)
    return answer


def refusal(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except openai.APIStatusError as e:
        return [type(e).__name__, e.param, e.code]
    return ["nothing"]


def unwrapped(sent: list[Any]) -> list[Any]:
    """Of each call, the event's class, type and batch, or the error that its signature meets."""
    client = openai.OpenAI(api_key="any")
    told: list[Any] = []
    for each in sent:
        try:
            event = client.webhooks.unwrap(each["body"], each["headers"], secret=each["secret"])
        except openai.InvalidWebhookSignatureError as e:
            told.append(["InvalidWebhookSignatureError", str(e)])
        else:
            told.append([type(event).__name__, event.type, event.data.id])
    return told


if sys.argv[1] == "unwrap":
    print(json.dumps(unwrapped(json.load(sys.stdin))))
else:
    print(json.dumps(life(*sys.argv[1:])))
