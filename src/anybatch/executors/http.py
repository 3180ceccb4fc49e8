"""The one file that knows the HTTP client, and the border where its exceptions are translated."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

import pyreqwest.exceptions as foreign
from pyreqwest.client import ClientBuilder
from pyreqwest.http import HeaderMap

from ..effects import Probe, effect, unwatched
from ..errors import BadSettings, TransportError
from ..providers.flow import Call, Reply
from .auth import is_loopback

_CONNECT_TIMEOUT = timedelta(seconds=10)
_UNCONNECTED = "client error (Connect)"
"""What the client says when there never was a connection: refused, not found, no TLS, too slow."""


class Http:
    """A pool of connections to one service."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        deadline: timedelta,
        probe: Probe = unwatched,
    ) -> None:
        self._base_url = base_url
        self._sending = effect("http.send", probe)
        self._receiving = effect("http.receive", probe)
        builder = ClientBuilder()
        if is_loopback(base_url):
            # A proxy from the environment leads elsewhere: this machine is not behind it.
            builder = builder.no_proxy()
        self._client = (
            builder.default_headers(dict(headers))
            .user_agent("anybatch")
            .timeout(deadline)
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

    async def send(self, call: Call) -> Reply:
        """Send `call` once; the whole reply, or TransportError."""
        try:
            request = self._client.request(call.method, self._base_url + call.path)
            if call.body is not None:
                request = request.header("content-type", "application/json").body_bytes(call.body)
            if call.headers:
                request = request.headers(dict(call.headers))
            with self._sending:
                response = await request.build().send()
            with self._receiving:
                body = bytes(await response.bytes())
            return Reply(status=response.status, body=body, headers=_headers(response.headers))
        except (foreign.PyreqwestError, ValueError):
            with translated(self._base_url):
                raise


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
