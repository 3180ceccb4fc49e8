"""A whole batch life at OpenAI's API, told by the official SDK that runs this script."""

import asyncio
import io
import json

import openai
from openai import types
from openai.pagination import SyncCursorPage, SyncPage
from openai.types.chat import ChatCompletion
from openai.types.uploads import UploadPart
from reporting import address, json_lines, judged, judged_all, numbered, raised, report

KEY = "sk-judge"
CHAT = "/v1/chat/completions"


def chat(name, prompt="hi"):
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": body}


def embedding(name, text):
    return {
        "custom_id": name,
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "m", "input": text},
    }


def upload(client, rows, **more):
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch", **more)


def create(client, rows, endpoint=CHAT, **more):
    file = upload(client, rows)
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )


def until_over(client, batch):
    """Every status that was seen, and the batch at its end."""
    statuses = [batch.status]
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        batch = client.batches.retrieve(batch.id)
        statuses.append(batch.status)
    return statuses, batch


def lines(client, file_id):
    return json_lines(client.files.content(file_id).text) if file_id else []


def life(client):
    rows = [*(chat(f"r{n}", f"prompt {n}") for n in range(5)), chat("bad", "fail")]
    statuses, batch = until_over(client, create(client, rows, metadata={"of": "life"}))
    results = lines(client, batch.output_file_id)
    errors = lines(client, batch.error_file_id)
    files = [batch.input_file_id, batch.output_file_id, batch.error_file_id]
    return {
        "statuses": statuses,
        "metadata": batch.metadata,
        "counts": batch.request_counts.to_dict(),
        "tokens": batch.to_dict()["usage"]["total_tokens"],
        "hours": (batch.expires_at - batch.created_at) / 3600,
        "said": {
            line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"]
            for line in results
        },
        "errors": {line["custom_id"]: line["response"]["status_code"] for line in errors},
        "deleted": [client.files.delete(file).deleted for file in files],
        "gone": raised(client.files.retrieve, batch.output_file_id),
    }


def large(client):
    """More than anybody wants to hold in memory: it comes in pieces."""
    rows = numbered(200, lambda n: chat(f"r{n}", f"{'x' * 40_000} {n}"))
    _, batch = until_over(client, create(client, rows))
    with client.files.with_streaming_response.content(batch.output_file_id) as response:
        pieces = list(response.iter_bytes())
    names = [line["custom_id"] for line in json_lines(b"".join(pieces).decode())]
    return {
        "names": len(set(names)),
        "once": len(names) == len(set(names)),
        "all of it": sum(map(len, pieces)) > 8e6,
        "in pieces": len(pieces) > 1,
    }


def expiry(client):
    _, batch = until_over(client, create(client, [chat("a"), chat("late", "expire")]))
    (line,) = lines(client, batch.error_file_id)
    return {"custom_id": line["custom_id"], "code": line["error"]["code"]}


def pages(client):
    made = [create(client, [chat("a")]).id for _ in range(3)]
    listed = [batch.id for batch in client.batches.list(limit=1)]
    uploaded = [upload(client, [chat("a")]).id for _ in range(3)]
    files = [file.id for file in client.files.list(limit=2, order="desc", purpose="batch")]
    return {
        "batches": listed[:3] == made[::-1],
        "once": len(listed) == len(set(listed)),
        "files": files[:3] == uploaded[::-1],
    }


def cancel(client):
    asked = client.batches.cancel(create(client, [chat("a", "wait")]).id)
    statuses, batch = until_over(client, asked)
    return {"statuses": statuses, "again": client.batches.cancel(batch.id).status}


def too_late(client):
    _, batch = until_over(client, create(client, [chat("a")]))
    return raised(client.batches.cancel, batch.id)


def file(client):
    made = upload(client, [chat("a")])
    there = client.files.wait_for_processing(made.id)
    return {"name": there.filename, "status": there.status, "bytes": there.bytes == made.bytes}


def lifetime(client):
    after = {"anchor": "created_at", "seconds": 3600}
    made = upload(client, [chat("a")], expires_after=after)
    return made.expires_at - made.created_at


def parts(client):
    content = json.dumps(chat("a")).encode() + b"\n"
    about = {"filename": "in.jsonl", "mime_type": "application/jsonl", "purpose": "batch"}
    begun = client.uploads.create(bytes=len(content), **about)
    ids = [
        client.uploads.parts.create(begun.id, data=data).id for data in (content[:9], content[9:])
    ]
    done = client.uploads.complete(begun.id, part_ids=ids)
    other = client.uploads.create(bytes=1, **about)
    return {
        "status": done.status,
        "same": client.files.content(done.file.id).content == content,
        "cancelled": client.uploads.cancel(other.id).status,
    }


def embeddings(client):
    given = create(client, [embedding("a", "x"), embedding("b", "y")], "/v1/embeddings")
    _, batch = until_over(client, given)
    results = lines(client, batch.output_file_id)
    return {
        line["custom_id"]: len(line["response"]["body"]["data"][0]["embedding"]) > 0
        for line in results
    }


def refused_lines(client):
    statuses, batch = until_over(client, create(client, [chat("a"), chat("a")]))
    problem = batch.errors.data[0]
    return {"statuses": statuses, "code": problem.code, "line": problem.line}


def refused_file(client):
    made = client.batches.create(input_file_id="file-none", endpoint=CHAT, completion_window="24h")
    problem = client.batches.retrieve(made.id).errors.data[0]
    return {"code": problem.code, "param": problem.param, "line": problem.line}


def refused(client):
    return {
        "endpoint": raised(
            client.batches.create, input_file_id="f", endpoint="/v1/fun", completion_window="24h"
        ),
        "file": raised(client.files.create, file=("in.txt", b"x"), purpose="batch"),
        "key": raised(client.with_options(api_key="sk-wrong").batches.list),
    }


def errors(client):
    """What becomes of a look at a batch that the service answers in so many ways."""
    once = client.with_options(max_retries=0)
    words = ("400", "401", "403", "404", "409", "422", "429", "500", "503", "cut", "half")
    found = {word: raised(once.batches.retrieve, f"say-{word}") for word in words}
    return {**found, "late": raised(once.batches.retrieve, "say-late", timeout=0.3)}


def tried_again(client):
    """Its answer is lost, and the SDK sends the creation once more."""
    return create(client, [chat("a")], metadata={"of": "tried again"}).status


def calls(client):
    said = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    embedded = client.embeddings.create(model="m", input="hi")
    answered = client.responses.create(model="m", input="hi")
    return {
        "chat": said.choices[0].message.content,
        "responses": answered.output_text,
        "embeddings": len(embedded.data[0].embedding) > 0,
        "models": [model.id for model in client.models.list()],
    }


def typed(client):
    """Each thing that the service tells of, as the SDK's own types see it."""
    _, batch = until_over(client, create(client, [chat("a"), chat("b", "fail")]))
    _, failed = until_over(client, create(client, [chat("a"), chat("a")]))
    (line,) = lines(client, batch.output_file_id)
    files, batches = client.files.with_raw_response, client.batches.with_raw_response
    created = batches.create(
        input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"
    )
    body = json.dumps(line["response"]["body"])
    return {
        **judged_all(
            {
                "created": (types.Batch, created),
                "batch": (types.Batch, batches.retrieve(batch.id)),
                "failed batch": (types.Batch, batches.retrieve(failed.id)),
                "batches": (SyncCursorPage[types.Batch], batches.list(limit=2)),
                "file": (types.FileObject, files.retrieve(batch.output_file_id)),
                "files": (SyncCursorPage[types.FileObject], files.list(limit=2)),
                "deleted": (types.FileDeleted, files.delete(batch.error_file_id)),
                "models": (SyncPage[types.Model], client.models.with_raw_response.list()),
            }
        ),
        "answer": judged(ChatCompletion, body),
        "line": sorted(line),
    }


def typed_uploads(client):
    uploads, about = client.uploads, {"mime_type": "application/jsonl", "purpose": "batch"}
    content = json.dumps(chat("a")).encode() + b"\n"
    begun = uploads.with_raw_response.create(bytes=len(content), filename="in.jsonl", **about)
    upload_id = begun.parse().id
    part = uploads.parts.with_raw_response.create(upload_id, data=content)
    done = uploads.with_raw_response.complete(upload_id, part_ids=[part.parse().id])
    return judged_all(
        {"upload": (types.Upload, begun), "part": (UploadPart, part), "done": (types.Upload, done)}
    )


def asynchronous(client):
    """The same by the client that does not block."""
    return asyncio.run(_asynchronous())


async def _asynchronous():
    async with openai.AsyncOpenAI(base_url=f"{address()}/v1", api_key=KEY) as client:
        content, waiting = (
            json.dumps(chat("a", prompt)).encode() + b"\n" for prompt in ("async", "wait")
        )
        file = await client.files.create(file=("in.jsonl", content), purpose="batch")
        about = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        batch = await client.batches.create(**about)
        while batch.status != "completed":
            batch = await client.batches.retrieve(batch.id)
        given = (await client.files.content(batch.output_file_id)).text
        file = await client.files.create(file=("in.jsonl", waiting), purpose="batch")
        created = await client.batches.create(**(about | {"input_file_id": file.id}))
        asked = await client.batches.cancel(created.id)
        listed = [each.id async for each in client.batches.list(limit=1)]
        try:
            await client.files.retrieve("file-none")
        except openai.NotFoundError as error:
            gone = type(error).__name__
        return {
            "names": [line["custom_id"] for line in json_lines(given)],
            "cancel": asked.status in ("cancelling", "cancelled"),
            "listed": listed[:2] == [asked.id, batch.id],
            "gone": gone,
            "deleted": (await client.files.delete(file.id)).deleted,
        }


def version(client):
    return openai.__version__


STEPS = (
    version, life, large, expiry, pages, cancel, too_late, file, lifetime, parts, embeddings,
    refused_lines, refused_file, refused, errors, typed, typed_uploads, asynchronous, tried_again,
    calls,
)  # fmt: skip

if __name__ == "__main__":
    with openai.OpenAI(base_url=f"{address()}/v1", api_key=KEY) as client:
        report(client, STEPS)
