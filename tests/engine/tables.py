"""Tables of prices as they are published, and an address that they are fetched from."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import msgspec


@contextmanager
def serving(body: bytes, *, status: int = 200, length: int | None = None) -> Iterator[str]:
    """The address at which a GET is answered so; `length`: as is said of the body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/data.json"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def published(**prices: float) -> bytes:
    models = [
        {"id": name, "match": {"equals": name}, "prices": {"input_mtok": each, "output_mtok": 1}}
        for name, each in prices.items()
    ]
    at = {"id": "openai", "name": "OpenAI", "api_pattern": "openai", "models": models}
    return msgspec.json.encode([at])
