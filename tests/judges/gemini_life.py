"""A whole batch life at Gemini's Developer API, told by the official SDK that runs this script."""

import asyncio
import io
import json
import urllib.request
import warnings

from google import genai
from google.genai import errors as of_genai
from google.genai import types
from reporting import address, json_lines, raised, report

KEY = "sk-judge"
MODEL, EMBEDDER = "gemini-x", "embedder"
OVER = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")


def ask(prompt="hi"):
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}


def embedding(text):
    return {"content": {"parts": [{"text": text}]}}


def upload(client, rows):
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    about = {"mime_type": "application/jsonl", "display_name": "mine"}
    return client.files.upload(file=io.BytesIO(content), config=about)


def create(client, src=None, name="ours"):
    rows = [ask()] if src is None else src
    return client.batches.create(model=MODEL, src=rows, config={"display_name": name})


def word(batch):
    return batch.state.name.removeprefix("JOB_STATE_")


def until_over(client, batch):
    """Every state that was seen, and the batch at its end."""
    states = [word(batch)]
    while word(batch) not in OVER:
        batch = client.batches.get(name=batch.name)
        states.append(word(batch))
    return states, batch


def lines(client, batch):
    return json_lines(client.files.download(file=batch.dest.file_name).decode())


def text(line):
    return line["response"]["candidates"][0]["content"]["parts"][0]["text"]


def life(client):
    rows = [{"key": f"r{n}", "request": ask(f"prompt {n}")} for n in range(5)]
    file = upload(client, [*rows, {"key": "bad", "request": ask("fail")}])
    states, batch = until_over(client, create(client, file.name, "ours"))
    found = {line["key"]: line for line in lines(client, batch)}
    well = {key: line for key, line in found.items() if "response" in line}
    client.batches.delete(name=batch.name)
    client.files.delete(name=file.name)
    return {
        "states": states,
        "name": batch.display_name,
        "model": batch.model,
        "times": batch.create_time <= batch.update_time <= batch.end_time,
        "said": {key: text(line) for key, line in well.items()},
        "errors": {key: line["error"]["code"] for key, line in found.items() if key not in well},
        "gone": raised(client.batches.get, name=batch.name),
        "file gone": raised(client.files.get, name=file.name),
    }


def inline(client):
    _, batch = until_over(client, create(client, [ask("a"), ask("fail"), ask("b")]))
    answers = batch.dest.inlined_responses
    return [
        each.response.text if each.response is not None else each.error.code for each in answers
    ]


def named(client):
    """Rows that carry a key come back with it."""
    rows = [{**ask(prompt), "metadata": {"key": prompt}} for prompt in ("a", "b")]
    _, batch = until_over(client, create(client, rows))
    answers = batch.dest.inlined_responses
    return [[each.metadata["key"], each.response.text] for each in answers]


def embeddings(client):
    contents = [types.Content(parts=[types.Part(text=text)]) for text in ("a", "b")]
    source = {"inlined_requests": {"contents": contents}}
    created = client.batches.create_embeddings(model=EMBEDDER, src=source)
    _, batch = until_over(client, created)
    answers = batch.dest.inlined_embed_content_responses
    return [len(each.response.embedding.values) > 0 for each in answers]


def embeddings_from_a_file(client):
    rows = [{"key": name, "request": embedding(name)} for name in ("a", "b")]
    source = {"file_name": upload(client, rows).name}
    created = client.batches.create_embeddings(model=EMBEDDER, src=source)
    _, batch = until_over(client, created)
    found = lines(client, batch)
    return {line["key"]: len(line["response"]["embedding"]["values"]) > 0 for line in found}


def pages(client):
    made = [create(client).name for _ in range(3)]
    listed = [batch.name for batch in client.batches.list(config={"page_size": 1})]
    rows = [{"key": "a", "request": ask()}]
    uploaded = {upload(client, rows).name for _ in range(3)}
    files = [file.name for file in client.files.list(config={"page_size": 2})]
    return {
        "batches": listed[:3] == made[::-1],
        "once": len(listed) == len(set(listed)),
        "files": uploaded <= set(files) and len(files) == len(set(files)),
    }


def cancel(client):
    created = create(client, [ask("wait")])
    client.batches.cancel(name=created.name)
    states, _ = until_over(client, created)
    return states


def too_late(client):
    _, batch = until_over(client, create(client))
    return raised(client.batches.cancel, name=batch.name)


def file(client):
    made = upload(client, [{"key": "a", "request": ask()}])
    there = client.files.get(name=made.name)
    life = there.expiration_time - there.create_time
    return {
        "name": there.display_name,
        "state": there.state.name,
        "source": there.source.name,
        "type": there.mime_type,
        "bytes": there.size_bytes == made.size_bytes > 0,
        "hours": life.total_seconds() / 3600,
    }


def big_file(client):
    """More than the SDK sends in one piece."""
    filler = "x" * 3_000_000
    rows = [{"key": f"r{n}", "request": ask(filler + str(n))} for n in range(4)]
    made = upload(client, rows)
    _, batch = until_over(client, create(client, made.name))
    return {"bytes": made.size_bytes, "keys": sorted(line["key"] for line in lines(client, batch))}


def unreadable(client):
    """A file that holds no rows."""
    content = {"mime_type": "application/jsonl"}
    file = client.files.upload(file=io.BytesIO(b"what?\n"), config=content)
    states, _ = until_over(client, create(client, file.name))
    return states


def refused(client):
    wrong = client_of("sk-wrong")
    return {
        "key": raised(lambda: list(wrong.batches.list())),
        "file": raised(client.batches.create, model=MODEL, src="files/nobody"),
    }


def errors(client):
    """What becomes of a look at a batch that the service answers in so many ways."""
    words = ("400", "403", "404", "409", "429", "500", "503", "504", "cut", "half")
    found = {word: raised(client.batches.get, name=f"batches/say-{word}") for word in words}
    hurried = client_of(KEY, timeout=300)
    return {**found, "late": raised(hurried.batches.get, name="batches/say-late")}


def tried_again(client):
    """Its answer is lost, and the SDK has been told to send the creation once more."""
    retries = {"attempts": 2, "initial_delay": 0.01}
    again = client_of(KEY, retry_options=retries)
    return word(create(again, [ask("tried again")]))


def call(client):
    return client.models.generate_content(model=MODEL, contents="hi").text


def client_of(key, **options):
    return genai.Client(api_key=key, http_options={"base_url": address(), **options})


def typed(client):
    """Each thing that the service tells of, as the SDK's own types see it; they refuse other names.

    Not strictly: numbers of 64 bits are texts in Google's JSON, and become numbers.
    """
    rows = [{"key": "a", "request": ask("a")}, {"key": "bad", "request": ask("fail")}]
    file = upload(client, rows)
    _, batch = until_over(client, create(client, file.name))
    _, inline = until_over(client, create(client, [ask("a"), ask("fail")]))
    good, bad = sorted(lines(client, batch), key=lambda line: "error" in line)
    operation, of_inline = raw(batch.name), raw(inline.name)
    answers = of_inline["response"]["inlinedResponses"]["inlinedResponses"]
    return {
        "file": wrong(types.File, raw(file.name)),
        "answer": wrong(types.GenerateContentResponse, good["response"]),
        "error": wrong(types.JobError, bad["error"]),
        "inline answer": wrong(types.GenerateContentResponse, answers[0]["response"]),
        "inline error": wrong(types.JobError, answers[1]["error"]),
        "operation": sorted(operation),
        "metadata": sorted(operation["metadata"]),
        "batch": batch.dest.model_dump(exclude_none=True) == {"file_name": batch.dest.file_name},
    }


def wrong(kind, value):
    try:
        kind.model_validate(value)
    except Exception as error:
        return [f"{each['loc']}: {each['msg']}" for each in error.errors()]
    return []


def raw(name):
    asked = urllib.request.Request(f"{address()}/v1beta/{name}", headers={"x-goog-api-key": KEY})
    with urllib.request.urlopen(asked) as reply:
        return json.loads(reply.read())


def asynchronous(client):
    """The same by the client that does not block."""
    return asyncio.run(_asynchronous(client_of(KEY).aio))


async def _asynchronous(client):
    content = json.dumps({"key": "a", "request": ask("async")}).encode() + b"\n"
    about = {"mime_type": "application/jsonl", "display_name": "async"}
    file = await client.files.upload(file=io.BytesIO(content), config=about)
    batch = await client.batches.create(model=MODEL, src=file.name)
    while word(batch) not in OVER:
        batch = await client.batches.get(name=batch.name)
    given = (await client.files.download(file=batch.dest.file_name)).decode()
    other = await client.batches.create(model=MODEL, src=[ask("wait")])
    await client.batches.cancel(name=other.name)
    listed = [each.name async for each in await client.batches.list(config={"page_size": 1})]
    await client.batches.delete(name=batch.name)
    await client.files.delete(name=file.name)
    try:
        await client.batches.get(name=batch.name)
    except of_genai.ClientError as error:
        gone = error.code
    return {
        "names": [line["key"] for line in json_lines(given)],
        "listed": listed[:2] == [other.name, batch.name],
        "gone": gone,
    }


def version(client):
    return genai.__version__


STEPS = (
    version, life, inline, named, embeddings, embeddings_from_a_file, pages, cancel, too_late,
    file, big_file, unreadable, refused, errors, typed, asynchronous, tried_again, call,
)  # fmt: skip

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # it calls batches of embeddings an experiment
    report(client_of(KEY), STEPS)
