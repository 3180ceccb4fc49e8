"""Whether the server lives, and whether it can take work."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable

from starlette.responses import JSONResponse, Response

from ..errors import StoreError
from ..store.served import ServedStore
from . import openapi
from .metrics import MEDIA_TYPE, Calls, Metric, metrics_of, write_metrics
from .orders import Orders

_KNOWN_FOR_S = 1.0
"""So long an answer stands, lest whoever asks too often keep the disk busy."""
_PATIENCE_S = 5.0
_LEAST_FREE = 1 << 20
"""Bytes. With less, a small write may still get through where a file does not."""
_PATHS = ("/health", "/ready", "/metrics", openapi.WHERE)
_METHODS = ("GET", "HEAD")


class Health:
    """What is said at `/health`, `/ready`, `/metrics` and `/openapi.json`. Belongs to the event
    loop."""

    def __init__(
        self,
        store: ServedStore,
        orders: Orders,
        *,
        works: Callable[[], bool],
        calls: Calls,
        more: Callable[[], Awaitable[Iterable[Metric]]] | None = None,
    ) -> None:
        self._store = store
        self._orders = orders
        self._works = works
        """Whether orders are gone on with."""
        self._calls = calls
        self._more = more
        """Numbers that have to be looked up."""
        self._looking = asyncio.Lock()
        self._looked: tuple[float, str | None] | None = None

    async def answer(self, path: str, *, method: str = "GET") -> Response | None:
        """None: nothing is said there."""
        if path in _PATHS and method not in _METHODS:
            return Response(status_code=405, headers={"allow": ", ".join(_METHODS)})
        match path:
            case "/health":
                return JSONResponse({"status": "ok"})
            case "/ready":
                why = await self._obstacle()
                said = {"status": "ready"} if why is None else {"status": "not ready", "why": why}
                return JSONResponse(said, status_code=200 if why is None else 503)
            case "/metrics":
                text = write_metrics(await self.numbers())
                return Response(text, headers={"content-type": MEDIA_TYPE})
            case openapi.WHERE:
                return Response(openapi.WRITTEN, media_type=openapi.MEDIA_TYPE)
            case _:
                return None

    async def numbers(self) -> list[Metric]:
        """All there are, as they stand now."""
        more = () if self._more is None else await self._more()
        return [*metrics_of(self._calls, self._orders), *more]

    async def _obstacle(self) -> str | None:
        """Why no work can be taken; None: it can."""
        if not self._works():
            return "orders are not worked on"
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._looked is None or now - self._looked[0] > _KNOWN_FOR_S:
                self._looked = (now, await self._store_obstacle())
            return self._looked[1]

    async def _store_obstacle(self) -> str | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.to_thread(self._store.check_writable)
                free = (await asyncio.to_thread(shutil.disk_usage, self._store.root)).free
        except TimeoutError:
            return "the store takes too long to write"
        except StoreError:
            return "the store cannot be written"  # no path of ours: anybody may ask
        return "the disk is full" if free < _LEAST_FREE else None
