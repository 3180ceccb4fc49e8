"""A whole batch life at Anthropic's API, told by the official SDK that runs this script."""

import asyncio
import urllib.request

import anthropic
from anthropic.pagination import SyncPage
from anthropic.types.messages import (
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchIndividualResponse,
)
from reporting import address, judged, judged_all, numbered, raised, report

KEY = "sk-judge"


def row(name, prompt="hi", most=64):
    turns = [{"role": "user", "content": prompt}]
    return {
        "custom_id": name,
        "params": {"model": "claude-x", "max_tokens": most, "messages": turns},
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


def large(client):
    """More than anybody wants to hold in memory: it is read line by line."""
    rows = numbered(200, lambda n: row(f"r{n}", f"{'x' * 40_000} {n}", 50_000))
    _, batch = until_over(client, create(client, *rows))
    names, size = [], 0
    for line in client.messages.batches.results(batch.id):
        names.append(line.custom_id)
        size += len(line.result.message.content[0].text)
    return {
        "names": len(set(names)),
        "once": len(names) == len(set(names)),
        "all of it": size > 8e6,
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
    asked = client.messages.batches.cancel(create(client, row("a", "wait"), row("b", "wait")).id)
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


def typed(client):
    """Each thing that the service tells of, as the SDK's own types see it."""
    raw = client.messages.batches.with_raw_response
    created = raw.create(requests=[row("a"), row("bad", "fail")])
    _, batch = until_over(client, created.parse())
    cancelling = raw.cancel(create(client, row("a", "wait")).id)
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    asked = urllib.request.Request(batch.results_url, headers=headers)
    with urllib.request.urlopen(asked) as reply:
        lines = reply.read().decode().splitlines()
    found = {
        "created": (MessageBatch, created),
        "cancelling": (MessageBatch, cancelling),
        "ended": (MessageBatch, raw.retrieve(batch.id)),
        "batches": (SyncPage[MessageBatch], raw.list(limit=2)),
        "deleted": (DeletedMessageBatch, raw.delete(batch.id)),
    }
    of_lines = {
        f"line {n}": judged(MessageBatchIndividualResponse, line) for n, line in enumerate(lines)
    }
    return {**judged_all(found), **of_lines}


def asynchronous(client):
    """The same by the client that does not block."""
    return asyncio.run(_asynchronous())


async def _asynchronous():
    async with anthropic.AsyncAnthropic(base_url=address(), api_key=KEY) as client:
        batches = client.messages.batches
        batch = await batches.create(requests=[row("a", "async")])
        while batch.processing_status != "ended":
            batch = await batches.retrieve(batch.id)
        names = [line.custom_id async for line in await batches.results(batch.id)]
        created = await batches.create(requests=[row("a", "wait")])
        asked = await batches.cancel(created.id)
        listed = [each.id async for each in batches.list(limit=1)]
        deleted = await batches.delete(batch.id)
        try:
            await batches.retrieve(batch.id)
        except anthropic.NotFoundError as error:
            gone = type(error).__name__
        return {
            "names": names,
            "cancel": asked.processing_status in ("canceling", "ended"),
            "listed": listed[:2] == [asked.id, batch.id],
            "gone": gone,
            "deleted": deleted.id == batch.id,
        }


def version(client):
    return anthropic.__version__


STEPS = (
    version, life, large, pages, cancel, too_early, too_late, old_client, old_version, refused,
    errors, typed, asynchronous, tried_again, call,
)  # fmt: skip

if __name__ == "__main__":
    with anthropic.Anthropic(base_url=address(), api_key=KEY) as client:
        report(client, STEPS)
