"""The one file that knows the HTTP client, and the border where its exceptions are translated."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pyreqwest.exceptions as foreign
from pyreqwest.client import Client, ClientBuilder, SyncClientBuilder
from pyreqwest.http import HeaderMap, Url
from pyreqwest.multipart import FormBuilder, PartBuilder
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response, SyncResponse

from ..effects import Probe, effect, unwatched
from ..errors import AnswerTooLong, BadSettings, TransportError
from ..providers.flow import NO_HEADERS, Call, Reply, Upload, is_foreign
from .auth import Credentials, is_loopback

_CONNECT_TIMEOUT = timedelta(seconds=10)
_TRANSFER_TIMEOUT = timedelta(hours=1)
"""For a file of some hundred megabytes on a slow line."""
_CHUNK = 1 << 18
_UNCONNECTED = "client error (Connect)"
"""What the client says when there never was a connection: refused, not found, no TLS, too slow."""


class Http:
    """A pool of connections to one service, whose hosts it names: no other one gets the key."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        deadline: timedelta,
        hosts: Mapping[str, str] = NO_HEADERS,
        credentials: Credentials | None = None,
        probe: Probe = unwatched,
        most: int | None = None,
    ) -> None:
        """`most`: so many bytes an answer may have, unpacked; None: as many as come."""
        self._most = most
        self._base_urls = {"": base_url, **hosts}
        self._credentials = credentials
        self._sending = effect("http.send", probe)
        self._receiving = effect("http.receive", probe)
        self._deadline = deadline
        self._is_here = all(map(is_loopback, self._base_urls.values()))
        self._client = self._pool(headers)
        self._keyless: Client | None = None
        """For hosts that only the service knows. Most services never send us there."""

    def _pool(self, headers: Mapping[str, str]) -> Client:
        builder = ClientBuilder()
        if self._is_here:
            # A proxy from the environment leads elsewhere: this machine is not behind it.
            builder = builder.no_proxy()
        return (
            builder.default_headers(dict(headers))
            .user_agent("anybatch")
            .timeout(self._deadline)
            .connect_timeout(_CONNECT_TIMEOUT)
            # A redirect would carry the key, and a POST, to somewhere nobody named.
            .follow_redirects(False)
            .build()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.close()
        if self._keyless is not None:
            await self._keyless.close()

    async def send(self, call: Call) -> Reply:
        """Send `call` once; the whole reply, or TransportError.

        What an earlier call left of a download is kept and gone on with. A call whose token is
        refused was not executed: it is sent again with a new one.
        """
        if call.keyless:
            return await self._send_to_stranger(call)
        if self._credentials is None:
            return await self._send(call, NO_HEADERS)
        signed = await self._credentials.headers()
        reply = await self._send(call, signed)
        if reply.status != 401 or is_foreign(reply):
            return reply
        self._credentials.refused(signed)
        return await self._send(call, await self._credentials.headers())

    async def _send_to_stranger(self, call: Call) -> Reply:
        """Send `call` to a host that is none of the service's own: nothing of ours goes along."""
        parts = urlsplit(call.path)
        if parts.scheme != "https" and not (self._is_here and is_loopback(call.path)):
            where = f"{parts.scheme}://{parts.netloc}"
            raise TransportError(f"the service sends us to {where!r}: not followed", sent=False)
        if self._keyless is None:
            self._keyless = self._pool(NO_HEADERS)
        try:
            with translated(parts.netloc):
                request = self._keyless.request(call.method, call.path)
                if call.upload is not None:
                    request = _uploading(request, call.upload, kind=None)
                with self._sending:
                    response = await request.build().send()
                with self._receiving:
                    body = bytes(await response.bytes())
        except TransportError as e:
            # Who has the whole address may write there.
            raise TransportError(str(e).replace(call.path, parts.netloc), sent=e.sent) from None
        return Reply(status=response.status, body=body, headers=_headers(response.headers))

    async def _send(self, call: Call, signed: Mapping[str, str]) -> Reply:
        try:
            request = self._client.request(call.method, self._address(call))
            if signed:
                request = request.headers(dict(signed))
            if call.body is not None:
                request = request.header("content-type", "application/json").body_bytes(call.body)
            if call.form is not None:
                request = request.multipart(_form(call.form))
            if call.headers:
                request = request.headers(dict(call.headers))
            if call.download is not None:
                return await self._download(request, call.download)
            if call.upload is not None:
                request = _uploading(request, call.upload)
            if self._most is not None:
                return await self._within(request, self._most)
            with self._sending:
                response = await request.build().send()
            with self._receiving:
                body = bytes(await response.bytes())
            return Reply(status=response.status, body=body, headers=_headers(response.headers))
        except (foreign.PyreqwestError, ValueError):
            with translated(self._base_urls[call.host]):
                raise

    async def _within(self, request: RequestBuilder, most: int) -> Reply:
        """Send a request, and read of its answer no more than that. Raises AnswerTooLong."""
        with self._sending:
            stream = request.build_streamed()
            response = await stream.__aenter__()
        try:
            with self._receiving:
                body = await _body_within(response, most)
        finally:
            await stream.__aexit__(None, None, None)
        return Reply(status=response.status, body=body, headers=_headers(response.headers))

    def _address(self, call: Call) -> str:
        """Where a call goes. Raises TransportError for another host: it would get the key."""
        base_url = self._base_urls[call.host]
        if call.path.startswith("/") and not call.before:
            return base_url + call.path
        parts = urlsplit(base_url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if call.before:
            return f"{origin}{call.before}{parts.path}{call.path}"
        if not call.path.startswith(origin + "/"):
            where = urlsplit(call.path).netloc
            raise TransportError(f"the service sends us to {where!r}: not followed", sent=False)
        return call.path

    async def _download(self, request: RequestBuilder, to: Path) -> Reply:
        part = to.with_name(to.name + ".part")
        have = part.stat().st_size if part.exists() else 0
        # Compressed, a part of the bytes would be a part of something else.
        request = request.header("accept-encoding", "identity").timeout(_TRANSFER_TIMEOUT)
        if have:
            request = request.header("range", f"bytes={have}-")
        with self._sending:
            stream = request.build_streamed()
        async with stream as response:
            headers = _headers(response.headers)
            if not 200 <= response.status < 300:
                part.unlink(missing_ok=True)  # also when it is said to be whole already
                body = bytes(await response.bytes())
                return Reply(status=response.status, body=body, headers=headers)
            goes_on = response.status == 206 and _begins_at(headers, have)
            with self._receiving, open(part, "ab" if goes_on else "wb") as file:
                while chunk := await response.body_reader.read(_CHUNK):
                    file.write(chunk)
        part.replace(to)
        return Reply(status=response.status, body=b"", headers=headers)


async def _body_within(response: Response, most: int) -> bytes:
    """The body, if it is no longer than `most`. One that was packed has no length that counts."""
    length = response.get_header("content-length") or ""
    if length.isdigit() and int(length) <= most:
        return bytes(await response.bytes())
    body = bytearray()
    while chunk := await response.body_reader.read_chunk():
        body += chunk
        if len(body) > most:
            said = f"the answer is longer than {most >> 20} MB, and was not read to its end"
            raise AnswerTooLong(said, sent=True)
    return bytes(body)


def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    timeout: timedelta,
    body: bytes | None = None,
    direct: bool = False,
    most: int | None = None,
) -> Reply:
    """One call from a thread of its own, outside of any pool. Raises TransportError.

    `direct`: by no proxy. `most`: an answer with more bytes is none.
    """
    builder = SyncClientBuilder().user_agent("anybatch").follow_redirects(False)
    builder = builder.timeout(timeout).connect_timeout(min(timeout, _CONNECT_TIMEOUT))
    if direct:
        builder = builder.no_proxy()
    try:
        with builder.build() as client:
            request = client.request(method, url).headers(dict(headers))
            if body is not None:
                request = request.body_bytes(body)
            with request.build_streamed() as response:
                said = _whole(response, url, most)
            return Reply(status=response.status, body=said, headers=_headers(response.headers))
    except (foreign.PyreqwestError, ValueError):
        with translated(url):
            raise


def _whole(response: SyncResponse, url: str, most: int | None) -> bytes:
    """The body, unless it is longer than that."""
    if most is None:
        return bytes(response.bytes())
    said = bytearray()
    while chunk := response.body_reader.read(_CHUNK):
        said += chunk
        if len(said) > most:
            raise TransportError(f"{url} answers with more than {most:,} bytes", sent=True)
    return bytes(said)


async def post_to(
    ip: str, url: str, *, headers: Mapping[str, str], body: bytes, deadline: timedelta
) -> Reply:
    """One POST to `url` at this address and no other, whatever its host's name leads to.

    By no proxy, and no redirect is followed. Of the answer the body is not read: the reply has
    none. Raises TransportError.
    """
    where = urlsplit(url).netloc
    with translated(where):
        host = Url(url).host_str or ""
        if host.strip("[]") != ip and _is_ip(host):
            raise TransportError(f"{where} is another address than {ip}", sent=False)
        builder = ClientBuilder().no_proxy().follow_redirects(False).user_agent("anybatch")
        builder = builder.timeout(deadline).connect_timeout(min(deadline, _CONNECT_TIMEOUT))
        # What tells which certificate is shown and has to be valid stays the host's name.
        client = await asyncio.to_thread(builder.resolve(host, ip, 0).build)
        async with client:
            request = client.post(url).headers(dict(headers)).body_bytes(body)
            async with request.build_streamed() as response:
                return Reply(status=response.status, body=b"", headers=_headers(response.headers))


def _is_ip(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _uploading(
    request: RequestBuilder, upload: Upload, *, kind: str | None = "application/json"
) -> RequestBuilder:
    """`request` with a file as its body, read while it is sent; `kind` is its media type."""
    request = request.timeout(_TRANSFER_TIMEOUT)
    if upload.fields is None:
        left = upload.path.stat().st_size - upload.start
        length = left if upload.length is None else min(left, upload.length)
        if kind is not None:
            request = request.header("content-type", kind)
        # Without its length it would go out in chunks.
        request = request.header("content-length", str(length))
        return request.body_stream(_pieces(upload.path, upload.start, length))
    form = _form(upload.fields)
    file = PartBuilder.from_sync_file(upload.path).file_name(upload.name)
    return request.multipart(form.part("file", file.mime("application/jsonl")))


def _form(fields: Mapping[str, str]) -> FormBuilder:
    form = FormBuilder()
    for name, value in fields.items():
        form = form.text(name, value)
    return form


def _pieces(path: Path, start: int, length: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(start)
        while piece := file.read(min(_CHUNK, length)):
            length -= len(piece)
            yield piece


def _begins_at(headers: Mapping[str, str], offset: int) -> bool:
    """Whether a part of a file is the part that was asked for."""
    return headers.get("content-range", "").startswith(f"bytes {offset}-")


def _headers(raw: HeaderMap) -> dict[str, str]:
    """The headers that are text. A service may send bytes of any kind; none of those is read."""
    try:
        return dict(raw)
    except ValueError:
        return {name: text for name in raw if (text := _text(raw, name)) is not None}


def _text(raw: HeaderMap, name: str) -> str | None:
    try:
        return raw[name]
    except ValueError:
        return None


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Turn every exception of the client into ours.

    The client calls a reset and a late answer connect errors too, so that only the cause which it
    names proves that the request never left.
    """
    try:
        yield
    except foreign.RequestTimeoutError as e:
        if not _sent(e):
            raise TransportError(f"no connection to {address} in time", sent=False) from e
        raise TransportError(f"no answer from {address} in time", sent=True) from e
    except foreign.RequestError as e:
        if not _sent(e):
            raise TransportError(f"no connection to {address}: {_reason(e)}", sent=False) from e
        raise TransportError(f"no whole answer from {address}: {_reason(e)}", sent=True) from e
    # What is left is raised before anything is sent, and mostly as a bare ValueError.
    except (foreign.PyreqwestError, ValueError) as e:
        raise BadSettings(f"{address!r} is not an address that can be called: {e.args[0]}") from e


def _sent(e: foreign.RequestError) -> bool:
    return not isinstance(e, foreign.PoolTimeoutError) and _UNCONNECTED not in _causes(e)


def _reason(e: foreign.RequestError) -> str:
    """The innermost cause, which is the one that says something."""
    return [e.message, *_causes(e)][-1]


def _causes(e: foreign.RequestError) -> list[str]:
    return [cause["message"] for cause in e.details.get("causes") or ()]
