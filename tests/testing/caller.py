"""A client that hides nothing: one call over one socket, and what came back, byte for byte."""

import socket
from urllib.parse import urlsplit

import msgspec

from anybatch.testing import FakeEndpoint


def chat(prompt: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}


def connect(endpoint: FakeEndpoint) -> socket.socket:
    address = urlsplit(endpoint.base_url)
    return socket.create_connection((address.hostname, address.port), timeout=5)


def write_call(
    body: dict[str, object], path: str = "/v1/chat/completions", *, close: bool = True
) -> bytes:
    raw = msgspec.json.encode(body)
    connection = "close" if close else "keep-alive"
    head = f"POST {path} HTTP/1.1\r\nconnection: {connection}\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def send(endpoint: FakeEndpoint, raw: bytes) -> bytes:
    """Send `raw` on a connection of its own and read to its end; raises where it is reset."""
    with connect(endpoint) as sock:
        sock.sendall(raw)
        return read_to_end(sock)


def read_to_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def call(endpoint: FakeEndpoint, prompt: str, **fields: object) -> bytes:
    return send(endpoint, write_call(chat(prompt, **fields)))


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def header_of(answer: bytes, name: str) -> str | None:
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
    return next((text for found, _, text in pairs if found == name), None)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def said(answer: bytes) -> str:
    """The text of a chat answer."""
    content = msgspec.json.decode(body_of(answer))["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content
