"""The one file that knows the HTTP client, and the border where its exceptions are translated."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

import pyreqwest.exceptions as foreign
from pyreqwest.client import ClientBuilder

from ..effects import Probe, effect, unwatched
from ..errors import BadSettings, TransportError
from ..providers.flow import Call, Reply

_CONNECT_TIMEOUT = timedelta(seconds=10)
_NEVER_LEFT = ("connection refused", "dns error", "failed to lookup", "no route to host")


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
        self._probe = probe
        self._client = (
            ClientBuilder()
            .default_headers(dict(headers))
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
        with translated(self._base_url):
            request = self._client.request(call.method, self._base_url + call.path)
            if call.body is not None:
                request = request.header("content-type", "application/json").body_bytes(call.body)
            if call.headers:
                request = request.headers(dict(call.headers))
            with effect("http.send", self._probe):
                response = await request.build().send()
            with effect("http.receive", self._probe):
                body = bytes(await response.bytes())
            return Reply(status=response.status, body=body, headers=dict(response.headers))


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Turn every exception of the client into ours.

    The client reports a reset after sending as a connect error, so nothing but a refusal or a
    failed look-up proves that the request never left.
    """
    try:
        yield
    except foreign.BuilderError as e:
        raise BadSettings(f"{address!r} is not an address that can be called: {e.message}") from e
    except foreign.RequestTimeoutError as e:
        sent = not isinstance(e, foreign.ConnectTimeoutError | foreign.PoolTimeoutError)
        raise TransportError(f"no answer from {address} in time", sent=sent) from e
    except foreign.PyreqwestError as e:
        reason = _reason(e)
        sent = not any(word in reason.lower() for word in _NEVER_LEFT)
        raise TransportError(f"no whole answer from {address}: {reason}", sent=sent) from e


def _reason(e: foreign.PyreqwestError) -> str:
    """The innermost cause, which is the one that says something."""
    causes = e.details["causes"] if isinstance(e, foreign.DetailedPyreqwestError) else None
    return str(causes[-1]["message"]) if causes else e.message
