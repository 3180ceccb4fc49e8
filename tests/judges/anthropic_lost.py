"""What Anthropic's SDK does when an answer is lost: its key says which."""

import anthropic
from reporting import address, lost, patience_s, raised

PARAMS = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def batch(client):
    requests = [{"custom_id": "a", "params": PARAMS}]
    error = raised(client.messages.batches.create, requests=requests)
    return error, len(list(client.messages.batches.list()))


def client_of(owner):
    return anthropic.Anthropic(base_url=address(), api_key=owner, timeout=patience_s(owner))


if __name__ == "__main__":
    lost(client_of, batch=batch)
