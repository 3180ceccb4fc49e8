"""Who wants to harm us by what they send: they are refused, memory is bounded, nothing is left.

Over raw sockets, against a process of its own.
"""

import gzip
import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import httpx2
import pytest

from anybatch.errors import BadSettings
from anybatch.server.check import MAX_LINE_BYTES
from anybatch.server.connections import Limits, limits_of
from anybatch.testing import FakeEndpoint

from ..cli.process import command, environment
from .world import CHAT, chat, client_of, jsonl, until, until_over

MB = 1 << 20
LIMIT_S = 30.0
GROWS_AT_MOST = 64 * MB
READS_AT_MOST = 3 * MAX_LINE_BYTES
"""While a line is read that is as long as any may be."""
PATIENCE_S = 1.0
"""Of the server that slow clients call."""
CRLF = b"\r\n"


# --- a server, and what is left of a call -------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A server in a process of its own."""

    url: str
    pid: int
    store: Path

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    @cached_property
    def address(self) -> tuple[str, int]:
        host, _, port = self.root.removeprefix("http://").rpartition(":")
        return host, int(port)

    def left(self) -> set[str]:
        """What clients have left on disk, whole or not."""
        folders = [self.store / name for name in ("incoming", "files", "parts")]
        return {f"{path.parent.name}/{path.name}" for each in folders for path in each.iterdir()}

    def memory(self, of: str) -> int:
        """`VmRSS`: what it takes; `VmHWM`: the most it took since `forget`."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith(f"{of}:"))
        return int(kib) * 1024

    def forget(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", "ascii")


@contextmanager
def process(home: Path, endpoint: FakeEndpoint, *, files: int | None = None, **said: Any) -> Any:
    """Serve, with at most so many open `files` and what `[server]` says."""
    server = "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())
    route = f'[[routes]]\nmodel = "*"\nbase_url = "{endpoint.base_url}"\n'
    config = home / "anybatch.toml"
    config.write_text(f"[server]\n{server}{route}", "utf-8")
    words = command("serve", "--port", "0", "--config", config)
    if files is not None:
        words = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *words]
    log_file = home / "log"
    with log_file.open("wb") as log:
        server_process = subprocess.Popen(
            words, env=environment(home), stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert server_process.stdout is not None
        url = server_process.stdout.readline().strip()
        yield Process(url=url, pid=server_process.pid, store=home / "store")
        assert server_process.poll() is None
    finally:
        server_process.terminate()
        server_process.communicate()
    greeting, *lines = log_file.read_text("utf-8").splitlines()
    # Whoever harms us is no mistake of ours, and the log is what it always is.
    assert not [line for line in lines if '"failure"' in line or line[:1] != "{"], greeting


@pytest.fixture(scope="module")
def server(endpoint: FakeEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with process(tmp_path_factory.mktemp("home"), endpoint) as server:
        yield server


@contextmanager
def harmless(server: Process, *, grows: int = GROWS_AT_MOST) -> Iterator[None]:
    """What happens inside leaves nothing behind and takes little memory; the server goes on."""
    before, measured = server.left(), Path("/proc/self/clear_refs").exists()
    if measured:
        server.forget()
        idle = server.memory("VmRSS")
    yield
    assert httpx2.get(f"{server.root}/health").status_code == 200
    until(lambda: server.left() <= before, "what was begun to be removed")
    if measured:
        assert server.memory("VmHWM") - idle < grows


# --- raw calls ----------------------------------------------------------------------------------


def head(path: str, *headers: str, length: int | str | None = None, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def connect(server: Process) -> socket.socket:
    return socket.create_connection(server.address, timeout=LIMIT_S)


def sent(server: Process, *pieces: bytes | Iterable[bytes], ends: bool = False) -> int | None:
    """The status that is answered to these bytes; None: nothing was, and the server hung up.

    `ends`: nothing more will come, and the server can see it.
    """
    with connect(server) as sock:
        send(sock, *pieces, ends=ends)
        return status_on(sock)


def send(sock: socket.socket, *pieces: bytes | Iterable[bytes], ends: bool = False) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it listens no more, and may say why
        for piece in pieces:
            for part in [piece] if isinstance(piece, bytes) else piece:
                sock.sendall(part)
        if ends:
            sock.shutdown(socket.SHUT_WR)


Refusal = tuple[int, str]
"""A status, and in whose words it is said why."""


def refused(server: Process, *pieces: bytes | Iterable[bytes], ends: bool = False) -> Refusal:
    """What is said last to these bytes: after it the server hangs up."""
    with connect(server) as sock:
        send(sock, *pieces, ends=ends)
        return refusal_in(rest_of(sock))


def refusal_in(answers: bytes) -> Refusal:
    """The last of these, which has to have an id and to be the last of its connection."""
    assert answers, "it hung up without a word"
    said, _, body = answers[answers.rindex(b"HTTP/1.1 ") :].partition(CRLF * 2)
    assert b"request-id: req_" in said
    assert b"connection: close" in said
    return int(said.split()[1]), words_of(json.loads(body))


def words_of(body: Any) -> str:
    """By whose protocol a body says what is wrong."""
    if body.get("type") == "error":
        return "anthropic"
    return "gemini" if body["error"].get("status") else "openai"


def status_on(sock: socket.socket) -> int | None:
    """The status of what is answered; None: the server hung up."""
    answer = b""
    try:
        while CRLF not in answer:
            piece = sock.recv(4096)
            if not piece:
                return None
            answer += piece
    except ConnectionResetError:
        return None
    return int(answer.split()[1])


def broken_off(server: Process, *pieces: bytes) -> None:
    """Send these bytes and be gone, as a client that was killed."""
    with connect(server) as sock:
        for piece in pieces:
            sock.sendall(piece)
        until(lambda: not _unsent(sock), "the bytes to be out")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _unsent(sock: socket.socket) -> int:
    import fcntl
    import termios

    (count,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(count)


# --- four doors ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """A call that takes in a body of any length."""

    path: str
    headers: tuple[str, ...]
    body: bytes
    """One that is taken."""
    words: str
    """The protocol in which it is refused."""
    closing: tuple[str, str, tuple[str, ...]] | None = None
    """Method, path and headers of the call that gives up what was begun."""

    def head(self, *more: str, length: int | str | None = None) -> bytes:
        return head(self.path, *self.headers, *more, length=length)


FORM = "Content-Type: multipart/form-data; boundary=b"


def field(name: str, value: bytes, filename: str | None = None) -> bytes:
    called = "" if filename is None else f'; filename="{filename}"'
    said = f'--b\r\nContent-Disposition: form-data; name="{name}"{called}\r\n\r\n'
    return said.encode() + value + CRLF


def fields(count: int, value: bytes = b"") -> bytes:
    return b"".join(field(f"a{n}", value) for n in range(count))


END = b"--b--\r\n"
PURPOSE = field("purpose", b"batch")
LINE = jsonl([chat("a")])
KEPT = PURPOSE + field("file", LINE, "in.jsonl") + END


def files_door(server: Process) -> Door:
    return Door("/v1/files", (FORM,), KEPT, "openai")


def parts_door(server: Process) -> Door:
    asked = {"bytes": 64 * MB, "filename": "a", "mime_type": "a", "purpose": "user_data"}
    upload = httpx2.post(f"{server.url}/uploads", json=asked).json()["id"]
    path = f"/v1/uploads/{upload}"
    body = field("data", LINE, "data") + END
    return Door(f"{path}/parts", (FORM,), body, "openai", ("POST", f"{path}/cancel", ()))


def anthropic_door(server: Process) -> Door:
    params = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps({"requests": [{"custom_id": "a", "params": params}]}).encode()
    headers = ("anthropic-version: 2023-06-01", "Content-Type: application/json")
    return Door("/v1/messages/batches", headers, body, "anthropic")


def gemini_door(server: Process) -> Door:
    said = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(len(LINE)),
        "x-goog-api-key": "any",
    }
    begun = httpx2.post(f"{server.root}/upload/v1beta/files", headers=said, json={})
    path = begun.headers["x-goog-upload-url"].removeprefix(server.root)
    headers = ("X-Goog-Upload-Command: upload, finalize", "X-Goog-Upload-Offset: 0")
    return Door(path, headers, LINE, "gemini", ("POST", path, ("X-Goog-Upload-Command: cancel",)))


DOORS = {
    "files": files_door,
    "parts": parts_door,
    "anthropic": anthropic_door,
    "gemini": gemini_door,
}


@contextmanager
def at(server: Process, name: str) -> Iterator[Door]:
    """A door; what was begun behind it is given up in the end, and then nothing is left."""
    with harmless(server):
        door = DOORS[name](server)
        yield door
        if door.closing is not None:
            method, path, headers = door.closing
            assert sent(server, head(path, *headers, length=0, method=method)) == 200


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, server: Process) -> Iterator[Door]:
    with at(server, request.param) as door:
        yield door


@pytest.fixture(params=["files", "parts"])
def form_door(request: pytest.FixtureRequest, server: Process) -> Iterator[Door]:
    with at(server, request.param) as door:
        yield door


# --- lengths ------------------------------------------------------------------------------------


def test_a_body_that_is_longer_than_was_said_is_refused(server: Process, door: Door) -> None:
    half = len(door.body) // 2

    # What was said to be the body is none of this door's.
    assert sent(server, door.head(length=half), door.body) == 400


def test_what_comes_behind_a_call_is_refused_after_it(server: Process) -> None:
    asked = head("/v1/models", length=2, method="GET") + b"{}"
    with harmless(server), connect(server) as sock:
        send(sock, asked, b"and more\r\n\r\n")
        answers = rest_of(sock)

    assert answers.startswith(b"HTTP/1.1 200 ")
    assert refusal_in(answers) == (400, "openai")


def test_a_body_that_is_shorter_than_was_said_is_refused(server: Process, door: Door) -> None:
    """To who sends nothing more but listens."""
    short = door.head(length=len(door.body) + 9), door.body

    assert refused(server, *short, ends=True) == (400, door.words)


def test_a_body_that_breaks_off_is_none(server: Process, door: Door) -> None:
    """It cannot be answered: whoever sent it is not there any more."""
    broken_off(server, door.head(length=10 * MB), door.body[:-2])


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "1\r\nContent-Length: 2", "9" * 40])
def test_a_length_that_is_none_is_refused(server: Process, door: Door, length: str) -> None:
    said = head(door.path, *door.headers, length=length)

    assert refused(server, said, door.body) == (400, door.words)


NO_CHUNKS = [
    b"zz\r\n",
    b"-5\r\nhello\r\n",
    b"f" * 17 + CRLF,
    b"5\r\nhello-and-more\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("garbage", NO_CHUNKS)
def test_chunks_that_are_none_are_refused(server: Process, door: Door, garbage: bytes) -> None:
    chunked = door.head("Transfer-Encoding: chunked")

    assert refused(server, chunked, garbage) == (400, door.words)


@pytest.mark.parametrize("garbage", [*NO_CHUNKS, b"5\r\nhello\r\n0", b"5\r\nhel"])
def test_chunks_that_are_none_and_end_are_refused(
    server: Process, door: Door, garbage: bytes
) -> None:
    chunked = door.head("Transfer-Encoding: chunked")

    assert refused(server, chunked, garbage, ends=True) == (400, door.words)


@pytest.mark.parametrize("coding", ["gzip", "chunked, gzip", "identity", "chunkedd", "x" * 100])
def test_a_coding_that_nobody_knows_is_refused(server: Process, door: Door, coding: str) -> None:
    coded = door.head(f"Transfer-Encoding: {coding}")

    assert refused(server, coded, door.body) == (400, door.words)


def test_a_length_and_chunks_at_once_are_refused(server: Process, door: Door) -> None:
    both = door.head("Transfer-Encoding: chunked", length=5)

    assert refused(server, both, b"0\r\n\r\n") == (400, door.words)


@pytest.mark.parametrize("name", ["files", "parts"])
def test_a_body_that_is_said_to_be_too_long_is_refused_before_it_comes(
    server: Process, name: str
) -> None:
    with at(server, name) as door:
        assert sent(server, door.head(length=600 * MB)) == 413


def test_a_part_that_is_too_long_is_refused(server: Process) -> None:
    with at(server, "parts") as door:
        body = field("data", b"x" * (64 * MB + 1), "data") + END

        assert sent(server, door.head(length=len(body)), body) == 413


@pytest.mark.gauntlet
def test_a_file_with_a_byte_too_many_is_refused(server: Process) -> None:
    with at(server, "files") as door:
        begins = field("purpose", b"user_data") + field("file", b"", "a")[:-2]
        size = 512 * MB + 1
        length = len(begins) + size + len(CRLF + END)
        megabytes = (b"x" * MB for _ in range(512))

        assert sent(server, door.head(length=length), begins, megabytes, b"x", CRLF + END) == 413


# --- forms --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=other",
        "multipart/mixed; boundary=b",
        "application/json",
        "multipart/form-data; boundary=" + "b" * 5000,
        "",
    ],
)
def test_a_form_without_its_boundary_is_refused(
    server: Process, form_door: Door, kind: str
) -> None:
    said = head(form_door.path, f"Content-Type: {kind}", length=len(form_door.body))

    assert sent(server, said, form_door.body) == 400


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


MILLION = 1_000_000


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(lambda: [fields(1_000)] * (MILLION // 1_000), id="parts"),
        pytest.param(lambda: [b"--b\r\nX-A: ", *[b"x" * MB] * 100], id="a header of a part"),
        pytest.param(
            lambda: [b"--b\r\n", *[b"X-A: b\r\n" * 1_000] * 1_000], id="headers of a part"
        ),
        pytest.param(lambda: [field("a", b"")[:-4], *[b"x" * MB] * 100], id="a field"),
        pytest.param(lambda: [field("file", b"")[:-4], fields(50, b"x" * 60_000)], id="many"),
    ],
)
def test_a_form_that_never_ends_is_refused(server: Process, form_door: Door, pieces: Any) -> None:
    said = form_door.head("Transfer-Encoding: chunked")

    assert sent(server, said, chunks(pieces())) in (400, 413)


@pytest.mark.parametrize("pieces", [[b"x" * MB] * 100, [b"\r\n--" * 1_000] * 100])
def test_a_form_that_never_begins_is_refused(
    server: Process, form_door: Door, pieces: list[bytes]
) -> None:
    assert sent(server, form_door.head("Transfer-Encoding: chunked"), chunks(pieces)) == 400


@cache
def bomb() -> bytes:
    return gzip.compress(b"\0" * (200 * MB))


def test_a_body_that_would_unfold_is_not_unfolded(server: Process, door: Door) -> None:
    body = bomb()

    status = sent(server, door.head("Content-Encoding: gzip", length=len(body)), body)

    assert status in (400, 413, 415)


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_a_file_that_would_unfold_is_not_unfolded(server: Process, name: str) -> None:
    with at(server, "files") as door:
        body = PURPOSE + field("file", bomb(), name) + END

        assert sent(server, door.head(length=len(body)), body) == 400


# --- names --------------------------------------------------------------------------------------

CLIMBING = ["../../x", "/etc/x", "..\\..\\x", "C:\\x", "a/b/../x", "\\\\host\\x", "./x", "ü/x"]


@pytest.mark.parametrize("name", CLIMBING)
def test_of_a_path_the_last_part_is_a_name_and_nothing_else(server: Process, name: str) -> None:
    body = field("purpose", b"user_data") + field("file", b"1", name) + END
    with at(server, "files") as door:
        file = httpx2.post(
            server.root + door.path,
            content=body,
            headers=dict([FORM.split(": ")]),
        ).json()
        assert server.left() >= {f"files/{file['id']}"}
        httpx2.delete(f"{server.url}/files/{file['id']}")

    assert file["filename"] == "x"
    assert not list(server.store.parent.rglob("x"))


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "a/",
        "/",
        "a\0b",
        "a\x1bb",
        "a%0D%0AX-Evil: 1",
        "a%0A",
        "x" * 1025,
        "x" * 100_000,
    ],
)
def test_a_name_that_is_none_is_refused(server: Process, name: str) -> None:
    body = field("purpose", b"user_data") + field("file", b"1", name) + END
    with at(server, "files") as door:
        assert sent(server, door.head(length=len(body)), body) in (400, 413)


@pytest.mark.parametrize(
    "purpose", [b"../batch", b"/etc/passwd", b"batch\0", b"batch\r\nX: 1", b"x" * 60_000, b"\xff"]
)
def test_a_purpose_that_is_none_is_refused(server: Process, purpose: bytes) -> None:
    body = field("purpose", purpose) + field("file", LINE, "in.jsonl") + END
    with at(server, "files") as door:
        assert sent(server, door.head(length=len(body)), body) == 400


@pytest.mark.parametrize("id", ["../../x", "..%2f..%2fx", "%2e%2e/%2e%2e/x", "a%00b", "a%0d%0ab"])
@pytest.mark.parametrize("path", ["/v1/files/{}", "/v1/files/{}/content", "/v1/batches/{}/output"])
def test_an_id_that_is_a_path_leads_nowhere(server: Process, path: str, id: str) -> None:
    with harmless(server):
        assert sent(server, head(path.format(id), method="GET")) == 404


# --- heads --------------------------------------------------------------------------------------

GET = b"GET /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = head("/v1/files", FORM, "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([GET + b"X-A: ", *[b"x" * MB] * 100], id="value"),
        pytest.param([GET, *[b"X-A: b\r\n" * 1_000] * 1_000], id="headers"),
        pytest.param([GET, *[b"x" * MB] * 100], id="name"),
        pytest.param([b"GET /", *[b"x" * MB] * 100], id="path"),
        pytest.param([b"x" * MB] * 100, id="method"),
        pytest.param([CRLF * 1_000] * 10_000, id="newlines"),
        pytest.param([POST, b"5;", *[b"x" * MB] * 100], id="chunk"),
        pytest.param([POST, b"0\r\nX-A: ", *[b"x" * MB] * 100], id="trailer"),
        pytest.param([POST, b"0\r\n", *[b"X-A: b\r\n" * 1_000] * 1_000], id="trailers"),
    ],
)
def test_a_head_that_never_ends_is_refused(server: Process, pieces: list[bytes]) -> None:
    with harmless(server):
        assert refused(server, pieces)[0] in (400, 431)


@pytest.mark.parametrize("length", [66_000, 100_000, 300_000])
def test_an_address_that_is_too_long_is_refused_as_a_head_is(server: Process, length: int) -> None:
    with harmless(server):
        line = b"GET /v1/files?x=" + b"a" * length + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        assert refused(server, [line])[0] == 431


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET http:///v1 HTTP/1.1\r\n\r\n",
        b"\0" * 100,
    ],
)
def test_what_is_no_http_is_refused_in_words(server: Process, garbage: bytes) -> None:
    with harmless(server), connect(server) as sock:
        sock.sendall(garbage)
        answer = b"".join(iter(lambda: sock.recv(4096), b""))

    said, _, body = answer.partition(CRLF * 2)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: req_" in said
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


# --- lines --------------------------------------------------------------------------------------


def test_a_line_that_is_longer_than_a_batch_may_be_is_refused(server: Process) -> None:
    with at(server, "files") as door:
        begins = PURPOSE + field("file", b"", "in.jsonl")[:-2]
        length = len(begins) + 300 * MB + len(CRLF + END)
        megabytes = (b"x" * MB for _ in range(300))

        assert sent(server, door.head(length=length), begins, megabytes, CRLF + END) == 400


def test_a_line_that_fills_a_batch_fails_it(server: Process) -> None:
    with harmless(server, grows=READS_AT_MOST), client_of(server.url) as client:
        content = b'{"custom_id": "' + b"x" * (190 * MB)
        file = client.files.create(file=("in.jsonl", content), purpose="batch")
        del content
        given = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        _, batch = until_over(client, given)
        client.files.delete(file.id)

    (problem,) = batch.errors.data
    assert (batch.status, problem.code, problem.line) == ("failed", "invalid_json_line", 1)


# --- clients that are slow ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def hurried(endpoint: FakeEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server that waits for nobody."""
    with process(tmp_path_factory.mktemp("home"), endpoint, patience_s=PATIENCE_S) as server:
        yield server


def dripped(server: Process, begins: bytes, drop: bytes) -> tuple[int | None, float]:
    """What is answered to one who sends `drop` again and again, and after how many seconds."""
    began = time.monotonic()
    with connect(server) as sock:
        sock.sendall(begins)
        sock.settimeout(0.1)
        while time.monotonic() - began < LIMIT_S:
            try:
                return status_on(sock), time.monotonic() - began
            except TimeoutError:
                sock.settimeout(0.1)
            try:
                sock.sendall(drop)
            except (BrokenPipeError, ConnectionResetError):
                return None, time.monotonic() - began
    raise AssertionError("it waits for ever")


SLOW: dict[str, tuple[bytes, bytes, int | None]] = {
    "silence": (b"", b"", None),
    "a letter": (b"G", b"", 408),
    "a head": (GET + b"X-A: ", b"x", 408),
    "newlines": (b"", CRLF, 408),
    "no body": (POST, b"", 408),
    "chunks": (POST, b"1\r\nx\r\n", 408),
    "a chunk": (POST + b"5;", b"x", 408),
}
"""What they begin with, what they send again and again, and what they are told."""


def test_who_is_slow_is_sent_away(hurried: Process) -> None:
    with harmless(hurried), ThreadPoolExecutor(len(SLOW)) as pool:
        calls = {
            name: pool.submit(dripped, hurried, begins, drop)
            for name, (begins, drop, _) in SLOW.items()
        }
        seen = {name: call.result() for name, call in calls.items()}

    assert {name: status for name, (status, _) in seen.items()} == {
        name: status for name, (_, _, status) in SLOW.items()
    }
    for _, seconds in seen.values():
        assert PATIENCE_S / 2 < seconds < PATIENCE_S * 10


def test_who_sends_a_body_a_byte_at_a_time_is_sent_away(hurried: Process) -> None:
    with harmless(hurried), ThreadPoolExecutor(len(DOORS)) as pool:
        heads = [door(hurried).head(length=1_000) for door in DOORS.values()]
        seen = list(pool.map(lambda begins: dripped(hurried, begins, b"-"), heads))

    assert {status for status, _ in seen} <= {400, 408}
    assert max(seconds for _, seconds in seen) < PATIENCE_S * 10


def waited(server: Process, door: Door) -> tuple[int, str]:
    """What is said to one who sends less than was said, and waits."""
    with connect(server) as sock:
        send(sock, door.head(length=len(door.body) + 9), door.body[:20])
        said, _, body = sock.recv(4096).partition(CRLF * 2)
    return int(said.split()[1]), words_of(json.loads(body))


def test_who_sends_less_than_was_said_and_waits_is_told(hurried: Process) -> None:
    doors = [door(hurried) for door in DOORS.values()]
    with harmless(hurried), ThreadPoolExecutor(len(doors)) as pool:
        seen = list(pool.map(lambda door: waited(hurried, door), doors))

    assert seen == [(408, door.words) for door in doors]


def test_who_goes_on_after_the_answer_is_sent_away(hurried: Process) -> None:
    with harmless(hurried), connect(hurried) as sock:
        sock.sendall(head("/v1/nothing", length=1_000_000))
        assert status_on(sock) == 404
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            drip(sock, b"x")

    assert time.monotonic() - began < PATIENCE_S * 10


def drip(sock: socket.socket, drop: bytes) -> None:
    while True:
        sock.sendall(drop)
        time.sleep(0.05)


def test_who_does_not_read_the_answer_is_sent_away(hurried: Process) -> None:
    content = b"x" * (32 * MB)
    with client_of(hurried.url) as client:
        file = client.files.create(file=("a", content), purpose="user_data").id
    with harmless(hurried), connect(hurried) as sock:
        sock.sendall(head(f"/v1/files/{file}/content", method="GET"))
        until(lambda: _waits(sock) > 0, "the answer to begin")
        time.sleep(PATIENCE_S * 2)
        assert len(rest_of(sock)) < len(content)


def rest_of(sock: socket.socket) -> bytes:
    """What had come before the server hung up."""
    read = bytearray()
    with suppress(ConnectionResetError):
        while piece := sock.recv(MB):
            read += piece
    return bytes(read)


def _waits(sock: socket.socket) -> int:
    return len(sock.recv(1, socket.MSG_PEEK))


def test_who_sends_as_fast_as_can_be_expected_is_heard(hurried: Process) -> None:
    """Twice as slow as the patience for all of it, but a piece in time each time."""
    body = KEPT.replace(LINE, LINE * 40)
    pieces = [body[at : at + 300] for at in range(0, len(body), 300)]
    with connect(hurried) as sock:
        sock.sendall(head("/v1/files", FORM, length=len(body)))
        for piece in pieces:
            time.sleep(2 * PATIENCE_S / len(pieces))
            sock.sendall(piece)
        assert status_on(sock) == 200


# --- clients that are many ----------------------------------------------------------------------


def test_more_connections_than_there_may_be_are_refused_and_the_rest_is_served(
    tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    with process(tmp_path, endpoint, files=256) as server, harmless(server):
        first = connect(server)
        many = [connect(server) for _ in range(300)]
        until(lambda: sent(server, GET + CRLF) == 503, "all places to be taken")
        first.sendall(GET + CRLF)
        assert status_on(first) == 200
        for sock in (first, *many):
            sock.close()
        until(lambda: sent(server, GET + CRLF) == 200, "places to be free again")


# --- the setting --------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, 3_601, "60", True, None])
def test_a_patience_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises(BadSettings, match="patience_s"):
        limits_of({"patience_s": seconds})


def test_a_patience_is_as_it_was_said() -> None:
    assert limits_of({"patience_s": 0.5}).patience.total_seconds() == 0.5
    assert limits_of({}) == Limits()


def test_a_body_may_last_as_long_as_it_comes_at_a_pace() -> None:
    limits = Limits(patience=timedelta(seconds=10), least_bytes_s=100)

    assert [limits.due_s(received) for received in (0, 100, 1_000)] == [10, 11, 20]
