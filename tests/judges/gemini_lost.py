"""What Google's SDK does when an answer is lost: its key says which, and of what."""

import io

from google import genai
from reporting import address, lost, patience_s, raised

AGAIN = {"attempts": 3, "initial_delay": 0.01, "jitter": 0.01}
ROW = b'{"key": "a", "request": {"contents": [{"parts": [{"text": "hi"}]}]}}\n'


def batch(client, **config):
    rows = [{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}]
    error = raised(client.batches.create, model="gemini-x", src=rows, config=config)
    return error, len(list(client.batches.list()))


def named(client):
    """The creation has a name, which its user chose."""
    return batch(client, http_options={"headers": {"Idempotency-Key": "mine"}})


def file(client):
    about = {"mime_type": "application/jsonl"}
    error = raised(client.files.upload, file=io.BytesIO(ROW), config=about)
    return error, len(list(client.files.list()))


def client_of(owner):
    kind = owner.partition("-")[0]
    again = {"retry_options": AGAIN} if kind in ("again", "named", "early") else {}
    return genai.Client(
        api_key=owner,
        http_options={"base_url": address(), "timeout": int(patience_s(owner) * 1000), **again},
    )


if __name__ == "__main__":
    lost(client_of, batch=batch, again=batch, named=named, early=batch, start=file, data=file)
