"""What OpenAI's SDK does when an answer is lost: its key says which, and of what."""

import io
import json

import openai
from reporting import address, lost, patience_s, raised

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY}
ROW = json.dumps(LINE).encode() + b"\n"


def upload(client):
    return client.files.create(file=("in.jsonl", io.BytesIO(ROW)), purpose="batch")


def batch(client):
    file = upload(client)
    asked = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    error = raised(client.batches.create, input_file_id=file.id, **asked)
    return error, len(list(client.batches.list()))


def file(client):
    return raised(upload, client), len(list(client.files.list()))


def part(client):
    """An upload takes no more than was announced: a part that is there twice is refused."""
    about = {"filename": "in.jsonl", "mime_type": "application/jsonl", "purpose": "batch"}
    begun = client.uploads.create(bytes=len(ROW), **about)
    parts = []
    error = raised(lambda: parts.append(client.uploads.parts.create(begun.id, data=ROW).id))
    client.uploads.complete(begun.id, part_ids=parts)
    return error, len(parts)


def client_of(owner):
    return openai.OpenAI(base_url=f"{address()}/v1", api_key=owner, timeout=patience_s(owner))


if __name__ == "__main__":
    lost(client_of, batch=batch, file=file, part=part)
