"""A whole batch life at OpenAI's API, told by the official SDK that runs this script."""

import io
import json

import openai
from reporting import address, json_lines, raised, report

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
    asked = client.batches.cancel(create(client, [chat("a")]).id)
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


def version(client):
    return openai.__version__


STEPS = (
    version, life, expiry, pages, cancel, too_late, file, lifetime, embeddings, refused_lines,
    refused_file, refused, errors, tried_again, calls,
)  # fmt: skip

if __name__ == "__main__":
    with openai.OpenAI(base_url=f"{address()}/v1", api_key=KEY) as client:
        report(client, STEPS)
