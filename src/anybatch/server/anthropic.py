"""Anthropic's message batches, as its SDKs call them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from ..core.model import Result
from ..core.served import Declined, Order, Problem
from ..store.blobs import Blob
from ..wire import anthropic_asked as asking
from ..wire import anthropic_served as wire
from ..wire.anthropic_asked import Refused, RequestReader, RequestSplitter
from .desk import Desk
from .face import FINAL, Absent, Handler, Line, caller_of
from .forms import TooLarge, pieces, take_body
from .orders import Orders
from .origin import known_origin
from .reading import read_all
from .repeats import Answers, Repeats, Reused, digest_of
from .tries import heard

_ROOT = "/v1/messages"
_WINDOW = timedelta(hours=24)
_KEPT = timedelta(days=asking.KEPT_DAYS)
_INPUT_KEPT_S = 2 * 86_400
"""Longer than an order waits to be looked at; then its requests lie in its runs."""
_INPUT_NAME = "requests.jsonl"
_MAX_BODY_BYTES = 32_000_000
"""Of a call that carries one request."""
_READ_BYTES = 1 << 20
_VERSION = b"anthropic-version"


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def answering(handler: Handler) -> Handler:
    """`handler`, with what it raises about a call said in the wire's envelope."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as e:
            return _refusal(request, e)
        except Absent as e:
            return _refusal(request, Refused(404, f"There is no message batch {e.id[:100]!r}."))
        except TooLarge as e:
            return _refusal(request, Refused(413, f"Request exceeds the maximum size: {e}."))
        except Reused:
            said = "This Idempotency-Key was used before, with another request."
            return _refusal(request, Refused(409, said, headers=FINAL))
        except TimeoutError:
            return _refusal(request, Refused(408, "The body did not arrive in time."))

    return answered


def _refusal(request: Request, refused: Refused) -> Response:
    return Response(
        refused.body(caller_of(request).request_id),
        status_code=refused.status,
        headers=dict(refused.headers),
        media_type="application/json",
    )


class AnthropicFace:
    """See `face.Face`."""

    name = "anthropic"
    id_prefix = "msgbatch_"
    input_purpose = "anthropic.requests"
    output_purpose = "anthropic.results"

    def __init__(self, desk: Desk, orders: Orders, *, public_url: str | None = None) -> None:
        self._desk = desk
        self._orders = orders
        self._public_url = public_url
        self._repeats = Repeats(desk.store, desk.clock)

    def claims(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if path == _ROOT or path.startswith(f"{_ROOT}/"):
            return True
        return _VERSION in dict(scope["headers"])

    def routes(self) -> Sequence[BaseRoute]:
        table: list[tuple[str, str, Handler]] = [
            ("POST", "/batches", self.create_batch),
            ("GET", "/batches", self.list_batches),
            ("GET", "/batches/{id}", self.retrieve_batch),
            ("POST", "/batches/{id}/cancel", self.cancel_batch),
            ("DELETE", "/batches/{id}", self.delete_batch),
            ("GET", "/batches/{id}/results", self.read_results),
            ("POST", "/count_tokens", self.count_tokens),
        ]
        return [
            Route(_ROOT + path, answering(handler), methods=[method])
            for method, path, handler in table
        ]

    def failure(self, status: int, message: str, *, request_id: str) -> Response:
        body = Refused(status, message).body(request_id)
        return Response(body, status_code=status, media_type="application/json")

    # --- batches ---

    async def create_batch(self, request: Request) -> Response:
        blob = await self._taken(request)
        version = request.headers.get("anthropic-version", "")
        owner = caller_of(request).owner
        try:
            order = await self._repeats.once(
                request,
                digest_of(blob.digest, version),
                make=partial(self._accept, blob, owner, version),
                find=lambda made: self._orders.order(made, owner=owner, face=self.name),
            )
        finally:
            blob.discard()
        return self._batch(request, order)

    async def _taken(self, request: Request) -> Blob:
        """The body as it came, on disk. Raises TooLarge."""
        blob = self._desk.blobs.begin()
        try:
            async for piece in pieces(request):
                blob.write(piece)
                if blob.size > asking.MAX_BYTES:
                    raise TooLarge(f"the body is longer than {asking.MAX_BYTES:,} bytes")
        except BaseException:
            blob.discard()
            raise
        heard(request.scope, blob.digest)
        return blob

    async def _accept(self, body: Blob, owner: str, version: str, answers: Answers) -> Order:
        requests, count = await asyncio.to_thread(self._split, body.path)
        try:
            return await self._orders.accept(
                owner=owner,
                face=self,
                api="anthropic.messages",
                asked={"version": version, "count": count},
                input_file=partial(
                    self._desk.keep,
                    requests,
                    owner=owner,
                    name=_INPUT_NAME,
                    purpose=self.input_purpose,
                    kept_seconds=_INPUT_KEPT_S,
                ),
                window=_WINDOW,
                kept_seconds=int(_KEPT.total_seconds()),
                answers=answers,
            )
        finally:
            requests.discard()

    def _split(self, path: Path) -> tuple[Blob, int]:
        """The requests of a body, a line each, and how many there are. Raises Refused."""
        requests, splitter = self._desk.blobs.begin(), RequestSplitter()
        try:
            with open(path, "rb") as file:
                while piece := file.read(_READ_BYTES):
                    requests.write(b"".join(splitter.feed(piece)))
            splitter.end()
        except BaseException:
            requests.discard()
            raise
        return requests, splitter.count

    def _batch(self, request: Request, order: Order) -> Response:
        return _json(self._write(request, order))

    def _write(self, request: Request, order: Order) -> bytes:
        # A client sends its key wherever results are said to be. Where nobody vouches for what it
        # calls us, no place is named, and it goes on where it is.
        origin = known_origin(request, self._public_url) or ""
        url = f"{origin}{_ROOT}/batches/{order.id}/results"
        return wire.write_order(order, results_url=url, archived_at=self._archived(order))

    def _archived(self, order: Order) -> datetime | None:
        """Since when its results are gone; None: they are there, or will be."""
        gone_at = order.created_at + _KEPT
        return gone_at if gone_at <= self._desk.clock.now() else None

    async def list_batches(self, request: Request) -> Response:
        cursor = asking.read_cursor(request.query_params)
        backwards = cursor.before is not None
        found = await self._orders.page(
            owner=caller_of(request).owner,
            face=self.name,
            most=cursor.limit + 1,
            after=cursor.before if backwards else cursor.after,
            newest_first=not backwards,
        )
        if found is None:
            raise asking.unknown_cursor(cursor.before or cursor.after or "")
        listed = found[: cursor.limit]
        if backwards:
            listed.reverse()
        written = {order.id: self._write(request, order) for order in listed}
        return _json(wire.write_batches(written, has_more=len(found) > cursor.limit))

    async def _order(self, request: Request) -> Order:
        return await self._orders.order(
            str(request.path_params["id"]), owner=caller_of(request).owner, face=self.name
        )

    async def retrieve_batch(self, request: Request) -> Response:
        return self._batch(request, await self._order(request))

    async def cancel_batch(self, request: Request) -> Response:
        async def cancelled() -> Order:
            order = await self._order(request)
            if order.is_over:
                said = f"The message batch {order.id} has ended and cannot be canceled."
                raise Refused(400, said)
            return await self._orders.cancel(order)

        return self._batch(request, await self._repeats.alike(request, cancelled))

    async def delete_batch(self, request: Request) -> Response:
        order = await self._order(request)
        if not order.is_over:
            said = "is still processing: cancel it first, and delete it when it has ended."
            raise Refused(400, f"The message batch {order.id} {said}")
        await self._orders.delete(order)
        return _json(wire.write_deleted(order.id))

    async def read_results(self, request: Request) -> Response:
        order = await self._order(request)
        if not order.is_over:
            said = "has no results yet: they are there when it has ended."
            raise Refused(400, f"The message batch {order.id} {said}")
        ids = [id for id in (order.output_file, order.error_file) if id is not None]
        if self._archived(order) is not None:
            raise Refused(404, f"The results of the message batch {order.id} are archived.")
        files = [await self._desk.file(id, owner=order.owner) for id in ids]
        paths = [self._desk.blobs.file(file.id) for file in files]
        return await read_all(paths, media_type="application/x-jsonl")

    async def count_tokens(self, request: Request) -> Response:
        body = await take_body(request, most=_MAX_BODY_BYTES)
        return _json(wire.write_tokens(asking.estimated_tokens(body)))

    # --- for the rest of the server ---

    def reader(self, order: Order) -> RequestReader:
        return RequestReader(order.asked["version"])

    def unknown_input(self, order: Order) -> Problem:
        return Problem(code="api_error", message="The requests of this batch are gone.")

    def unserved(self, model: str, number: int | None) -> Declined:
        return asking.unserved(model)

    def write_line(self, name: str, result: Result | None, *, order: Order, n: int) -> Line:
        return Line(*wire.write_line(name, result, order=order.id, n=n, ending=order.ending))

    def output_name(self, order: Order, *, ok: bool) -> str:
        return f"{order.id}_{'results' if ok else 'errors'}.jsonl"
