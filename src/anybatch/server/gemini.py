"""Gemini's files and batches of the Developer API, as its SDKs call them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from ..core.model import Result
from ..core.served import Order, Problem, StoredFile
from ..wire import gemini_served as wire
from ..wire.gemini import read_path, write_error
from ..wire.gemini_batch import write_batches
from ..wire.gemini_served import Refused
from . import routes
from .desk import Desk
from .face import Absent, Handler, Line, caller_of
from .forms import TooLarge, take_body
from .gemini_files import GENERATED, INLINE, UPLOADED, GeminiFiles, answer, id_of
from .orders import Orders
from .owners import query_key
from .repeats import Answers, Repeats, Reused, digest_of

VERSIONS = ("v1", "v1beta")
_OURS = ("/v1beta/", "/upload/", "/download/")
"""Under these nobody else answers."""


def _refusal(refused: Refused) -> Response:
    return Response(refused.body, status_code=refused.status, media_type="application/json")


def answering(handler: Handler) -> Handler:
    """`handler`, with what it raises about a call said in the wire's envelope."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as e:
            return _refusal(e)
        except Absent as e:
            return _refusal(wire.absent(f"{e.noun} {e.id}"))
        except TooLarge as e:
            return _refusal(Refused(400, f"Request payload size exceeds the limit: {e}."))
        except Reused:
            said = "This Idempotency-Key was used before, with another request."
            return _refusal(Refused(409, said))
        except TimeoutError:
            return _refusal(Refused(408, "The body did not arrive in time."))

    return answered


class GeminiFace:
    """See `face.Face`."""

    name = "gemini"
    id_prefix = ""
    input_purpose = UPLOADED
    output_purpose = GENERATED

    def __init__(
        self,
        desk: Desk,
        orders: Orders,
        models: Sequence[routes.Route],
        *,
        public_url: str | None = None,
    ) -> None:
        self._desk = desk
        self._orders = orders
        self._models = models
        self._repeats = Repeats(desk.store, desk.clock)
        self._files = GeminiFiles(desk, self._repeats, public_url=public_url)

    def claims(self, scope: Scope) -> bool:
        """The newer SDK calls the paths that OpenAI's calls; its key is in a header of its own.
        Who calls by hand may put it into the address, where no other protocol has one."""
        if scope["path"].startswith(_OURS):
            return True
        is_named = b"x-goog-api-key" in dict(scope["headers"])
        return is_named or bool(query_key(scope["query_string"]))

    async def admitted(self, scope: Scope) -> str | None:
        """See `face.Admitting`."""
        return await self._files.admitted(scope)

    def routes(self) -> Sequence[BaseRoute]:
        table: list[tuple[str, str, Handler]] = [
            ("POST", "/{v}/{model:path}:batchGenerateContent", self.create),
            ("POST", "/{v}/{model:path}:asyncBatchEmbedContent", self.create),
            ("GET", "/{v}/batches", self.list),
            ("GET", "/{v}/batches/{id}", self.get),
            ("POST", "/{v}/batches/{id}:cancel", self.cancel),
            ("DELETE", "/{v}/batches/{id}", self.delete),
            ("POST", "/upload/{v}/files", self._files.upload),
            ("GET", "/{v}/files", self._files.list),
            ("GET", "/{v}/files/{id}:download", self._files.download),
            ("GET", "/download/{v}/files/{id}:download", self._files.download),
            ("GET", "/{v}/files/{id}", self._files.get),
            ("DELETE", "/{v}/files/{id}", self._files.delete),
        ]
        return [
            Route(path.replace("{v}", version), answering(handler), methods=[method])
            for method, path, handler in table
            for version in VERSIONS
        ]

    def failure(self, status: int, message: str, *, request_id: str) -> Response:
        if status == 401:
            return _refusal(wire.wrong_key())
        return Response(
            write_error(status, message), status_code=status, media_type="application/json"
        )

    # --- batches ---

    async def create(self, request: Request) -> Response:
        named = read_path(request.scope["raw_path"].decode())
        if named is None:
            raise wire.absent(request.url.path)
        api, model = named
        if routes.find(self._models, model) is None:
            raise wire.absent(f"models/{model}")
        owner = caller_of(request).owner
        body = await take_body(request, most=wire.MAX_CREATE_BYTES)
        asked = await asyncio.to_thread(wire.read_create, body)
        if asked.input_file is not None:
            await self._uploaded(asked.input_file, owner=owner)
        kept = wire.Asked(model=model, name=asked.name, inline=asked.input_file is None)

        async def make(answers: Answers) -> Order:
            keep = partial(self._kept, asked.requests, owner=owner)
            named = (asked.input_file or "").removeprefix("files/")
            return await self._orders.accept(
                owner=owner,
                face=self,
                api=api,
                asked=msgspec.to_builtins(kept),
                input_file=keep if kept.inline else named,
                window=wire.LIVES,
                kept_seconds=wire.KEPT_S,
                answers=answers,
            )

        order = await self._repeats.once(
            request,
            digest_of(api, model, body.decode("utf-8", "replace")),
            make=make,
            find=lambda made: self._orders.order(made, owner=owner, face=self.name),
        )
        return await self._told(order)

    async def _uploaded(self, name: str, *, owner: str) -> None:
        """Raises Refused where there is no such file."""
        with suppress(Absent):
            file = await self._files.known(name.removeprefix("files/"), owner=owner)
            if file.purpose == UPLOADED:
                return
        raise wire.absent(name)

    async def _kept(self, requests: tuple[bytes, ...], *, owner: str) -> StoredFile:
        """The file into which requests go that came with a batch."""
        blob = self._desk.blobs.begin()
        try:
            await asyncio.to_thread(blob.write, b"".join(line + b"\n" for line in requests))
            return await self._desk.keep(
                blob,
                owner=owner,
                name=INLINE,
                purpose=UPLOADED,
                kept_seconds=int(wire.LIVES.total_seconds()),
            )
        finally:
            blob.discard()

    async def _told(self, order: Order) -> Response:
        inline = await asyncio.to_thread(self._inline, order)
        return answer(wire.write_batch(order, self._orders.sums(order), inline=inline))

    def _inline(self, order: Order) -> bytes:
        """The results that go with a batch, as a list."""
        if order.output_file is None or not wire.asked_of(order).inline:
            return b""
        file = self._desk.find(order.output_file, owner=order.owner)
        if file is None:
            return b""
        return wire.inlined(self._desk.blobs.file(file.id).read_bytes())

    async def _order(self, request: Request) -> Order:
        return await self._orders.order(
            id_of(request), owner=caller_of(request).owner, face=self.name
        )

    async def get(self, request: Request) -> Response:
        return await self._told(await self._order(request))

    async def list(self, request: Request) -> Response:
        asked = wire.read_page(request.query_params, usual=20, most=1_000)
        owner = caller_of(request).owner
        page = partial(self._orders.page, owner=owner, face=self.name)
        found = await page(most=asked.size + 1, after=asked.after)
        if found is None:
            raise wire.unknown_page()
        shown = found[: asked.size]
        more = shown[-1].id if len(found) > asked.size else None
        written = [wire.write_batch(order, self._orders.sums(order)) for order in shown]
        return answer(write_batches(written, next_page=more))

    async def cancel(self, request: Request) -> Response:
        async def cancelled() -> None:
            order = await self._orders.cancel(await self._order(request))
            if order.status in ("completed", "failed", "expired"):
                raise wire.too_late(f"batches/{order.id} is over already.")

        await self._repeats.alike(request, cancelled)
        return answer({})

    async def delete(self, request: Request) -> Response:
        order = await self._order(request)
        if not order.is_over:
            raise wire.too_late(f"batches/{order.id} is under way: cancel it first.")
        await self._orders.delete(order, with_files=wire.asked_of(order).inline)
        return answer({})

    # --- for the rest of the server ---

    def reader(self, order: Order) -> wire.RequestReader:
        asked = wire.asked_of(order)
        return wire.RequestReader(asked.model, inline=asked.inline)

    def unknown_input(self, order: Order) -> Problem:
        return wire.unknown_input(order.input_file)

    def unserved(self, model: str, number: int | None) -> Problem:
        return wire.unserved(model)

    def write_line(self, name: str, result: Result | None, *, order: Order, n: int) -> Line:
        inline = wire.asked_of(order).inline
        ok, line = wire.write_line(name, result, ending=order.ending, inline=inline)
        return Line(ok, line, together=True)

    def output_name(self, order: Order, *, ok: bool) -> str:
        return INLINE if wire.asked_of(order).inline else f"batch-{order.id}.jsonl"
