"""A whole batch life at Anthropic's API, told by the official SDK that runs this script."""

import anthropic
from reporting import address, raised, report

KEY = "sk-judge"


def row(name, prompt="hi"):
    turns = [{"role": "user", "content": prompt}]
    return {
        "custom_id": name,
        "params": {"model": "claude-x", "max_tokens": 64, "messages": turns},
    }


def create(client, *rows):
    return client.messages.batches.create(requests=list(rows or (row("a"),)))


def until_over(client, batch):
    """Every status that was seen, and the batch at its end."""
    statuses = [batch.processing_status]
    while batch.processing_status != "ended":
        batch = client.messages.batches.retrieve(batch.id)
        statuses.append(batch.processing_status)
    return statuses, batch


def results(client, batch):
    return {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}


def life(client):
    batches = client.messages.batches
    rows = [*(row(f"r{n}", f"prompt {n}") for n in range(5)), row("bad", "fail")]
    given = [*rows, row("late", "expire")]
    created = batches.create(requests=given)
    too_early = raised(batches.results, created.id)
    statuses, batch = until_over(client, created)
    found = results(client, batch)
    well = {name: one for name, one in found.items() if one.type == "succeeded"}
    return {
        "too early": too_early["class"][:1],
        "statuses": statuses,
        "counts": batch.request_counts.to_dict(),
        "hours": (batch.expires_at - batch.created_at).total_seconds() / 3600,
        "ended": batch.ended_at is not None,
        "types": {name: one.type for name, one in found.items()},
        "said": {name: one.message.content[0].text for name, one in well.items()},
        "used": all(one.message.usage.output_tokens > 0 for one in well.values()),
        "stopped": sorted({one.message.stop_reason for one in well.values()}),
        "error": found["bad"].error.error.type,
        "deleted": batches.delete(batch.id).type,
        "gone": raised(batches.retrieve, batch.id),
    }


def pages(client):
    batches = client.messages.batches
    made = [create(client).id for _ in range(3)]
    listed = [batch.id for batch in batches.list(limit=1)]
    before = [batch.id for batch in batches.list(limit=1, before_id=made[0])]
    return {
        "listed": listed[:3] == made[::-1],
        "once": len(listed) == len(set(listed)),
        "before": sorted(before) == sorted(made[1:]),
    }


def cancel(client):
    asked = client.messages.batches.cancel(create(client, row("a"), row("b")).id)
    statuses, batch = until_over(client, asked)
    return {
        "statuses": statuses,
        "types": {name: one.type for name, one in results(client, batch).items()},
        "asked": batch.cancel_initiated_at is not None,
    }


def too_early(client):
    return raised(client.messages.batches.delete, create(client).id)


def too_late(client):
    _, batch = until_over(client, create(client))
    return raised(client.messages.batches.cancel, batch.id)


def old_client(client):
    """The way the SDK went while batches were on trial."""
    batches = client.beta.messages.batches
    created = batches.create(requests=[row("a")], betas=["message-batches-2024-09-24"])
    while batches.retrieve(created.id).processing_status != "ended":
        pass
    (line,) = batches.results(created.id)
    return line.result.type


def old_version(client):
    """`temperature` went with the version of 2026-10-21 and is there with the one before."""
    heated = row("a")
    heated["params"]["temperature"] = 0.5
    versions = {}
    for version in ("2023-06-01", "2026-10-21"):
        at = client.with_options(default_headers={"anthropic-version": version})
        _, batch = until_over(at, create(at, heated))
        versions[version] = results(at, batch)["a"].type
    return versions


def refused(client):
    batches = client.messages.batches
    return {
        "empty": raised(batches.create, requests=[]),
        "name": raised(batches.create, requests=[row("a b")]),
        "twice": raised(batches.create, requests=[row("a"), row("a")]),
        "key": raised(client.with_options(api_key="sk-wrong").messages.batches.list),
    }


def errors(client):
    """What becomes of a look at a batch that the service answers in so many ways."""
    look = client.with_options(max_retries=0).messages.batches.retrieve
    words = ("400", "401", "403", "404", "409", "413", "422", "429", "500", "503", "529")
    found = {word: raised(look, f"say-{word}") for word in (*words, "cut", "half")}
    return {**found, "late": raised(look, "say-late", timeout=0.3)}


def tried_again(client):
    """Its answer is lost, and the SDK sends the creation once more."""
    return create(client, row("tried-again")).processing_status


def call(client):
    turns = [{"role": "user", "content": "hi"}]
    message = client.messages.create(model="claude-x", max_tokens=9, messages=turns)
    return message.content[0].text


def version(client):
    return anthropic.__version__


STEPS = (
    version, life, pages, cancel, too_early, too_late, old_client, old_version, refused, errors,
    tried_again, call,
)  # fmt: skip

if __name__ == "__main__":
    with anthropic.Anthropic(base_url=address(), api_key=KEY) as client:
        report(client, STEPS)
