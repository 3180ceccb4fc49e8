"""A whole life of a Vertex AI job, told by the official SDK that runs this script.

The SDK makes jobs and leaves objects in a bucket to whoever calls it: that is done by hand here.
"""

import json
import urllib.request
import warnings
from urllib.parse import quote

from google import genai
from google.oauth2.credentials import Credentials
from reporting import address, json_lines, raised, report

KEY = "sk-judge"
MODEL = "gemini-x"
BUCKET = "bucket"
OVER = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")


def ask(prompt="hi"):
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}


def storage(method, path, content=None):
    headers = {"Authorization": f"Bearer {KEY}"}
    asked = urllib.request.Request(address() + path, content, headers, method=method)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read().decode()


def upload(rows, name="in.jsonl"):
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
    storage("POST", path, content)
    return f"gs://{BUCKET}/{name}"


def create(client, rows=None, name="ours", **more):
    source = upload(rows or [{"custom_id": "a", "request": ask()}])
    told = {"display_name": name, "dest": f"gs://{BUCKET}/out", **more}
    return client.batches.create(model=MODEL, src=source, config=told)


def word(job):
    return job.state.name.removeprefix("JOB_STATE_")


def until_over(client, job):
    """Every state that was seen, and the job at its end."""
    states = [word(job)]
    while word(job) not in OVER:
        job = client.batches.get(name=job.name)
        states.append(word(job))
    return states, job


def lines(prefix):
    """What lies in all objects whose name begins so."""
    listed = json.loads(storage("GET", f"/storage/v1/b/{BUCKET}/o?prefix={quote(prefix)}"))
    names = [quote(found["name"], safe="") for found in listed["items"]]
    read = [storage("GET", f"/storage/v1/b/{BUCKET}/o/{name}?alt=media") for name in names]
    return [line for text in read for line in json_lines(text)]


def text(line):
    return line["response"]["candidates"][0]["content"]["parts"][0]["text"]


def life(client):
    rows = [{"custom_id": f"r{n}", "request": ask(f"prompt {n}")} for n in range(5)]
    rows.append({"custom_id": "bad", "request": ask("fail")})
    states, job = until_over(client, create(client, rows, dest=f"gs://{BUCKET}/life"))
    found = {line["custom_id"]: line for line in lines("life/")}
    well = {name: line for name, line in found.items() if not line["status"]}
    client.batches.delete(name=job.name)
    return {
        "states": states,
        "name": job.display_name,
        "model": job.model,
        "source": job.src.gcs_uri,
        "target": job.dest.gcs_uri,
        "times": job.create_time <= job.update_time <= job.end_time,
        "said": {name: text(line) for name, line in well.items()},
        "errors": {name: line["status"] for name, line in found.items() if name not in well},
        "gone": raised(client.batches.get, name=job.name),
    }


def counts(client):
    """What the SDK keeps of the counts, which it did not from its beginning."""
    _, job = until_over(client, create(client))
    stats = getattr(job, "completion_stats", None)
    return None if stats is None else int(stats.successful_count)


def usual(client):
    """Without a name and a target, the SDK makes some up."""
    source = upload([{"custom_id": "a", "request": ask()}], "usual.jsonl")
    job = client.batches.create(model=MODEL, src=source)
    return {"named": bool(job.display_name), "target": job.dest.gcs_uri}


def pages(client):
    made = [create(client).name for _ in range(3)]
    listed = [job.name for job in client.batches.list(config={"page_size": 1})]
    create(client, name="wanted")
    wanted = client.batches.list(config={"page_size": 5, "filter": 'display_name="wanted"'})
    return {
        "newest first": listed[:3] == made[::-1],
        "once": len(listed) == len(set(listed)),
        "wanted": [job.display_name for job in wanted],
    }


def cancel(client):
    created = create(client)
    client.batches.cancel(name=created.name)
    states, _ = until_over(client, created)
    return states


def too_late(client):
    _, job = until_over(client, create(client))
    return raised(client.batches.cancel, name=job.name)


def unusable(client):
    """An object that is not there."""
    created = client.batches.create(model=MODEL, src=f"gs://{BUCKET}/nobodys.jsonl")
    states, job = until_over(client, created)
    return {"states": states, "code": job.error.code, "message": job.error.message}


def refused(client):
    wrong = client_of("sk-wrong")
    return raised(lambda: list(wrong.batches.list()))


def errors(client):
    """What becomes of a look at a job that the service answers in so many ways."""
    words = ("400", "403", "404", "409", "429", "500", "503", "504", "cut", "half", "late")
    once = client_of(KEY, timeout=1_000)
    place = "projects/fake-project/locations/us-central1/batchPredictionJobs"
    return {word: raised(once.batches.get, name=f"{place}/say-{word}") for word in words}


def call(client):
    return client.models.generate_content(model=MODEL, contents="hi").text


def client_of(key, **options):
    return genai.Client(
        vertexai=True,
        project="fake-project",
        location="us-central1",
        credentials=Credentials(token=key),
        http_options={"base_url": address(), **options},
    )


def version(client):
    return genai.__version__


STEPS = (
    version, life, counts, usual, pages, cancel, too_late, unusable, refused, errors, call,
)  # fmt: skip

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    report(client_of(KEY), STEPS)
