"""OpenAI's files, uploads, batches and models, as its SDKs call them."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from ..core.model import Json, Result
from ..core.served import Order, Problem, StoredFile, Upload, UploadPart
from ..store.blobs import Blob
from ..wire import openai_asked as asking
from ..wire import openai_served as wire
from ..wire.openai_asked import Refused
from . import routes
from .desk import Desk
from .face import FINAL, Absent, Handler, Line, caller_of
from .forms import Form, take_body, take_form
from .openai_replies import (
    MAX_BODY_BYTES,
    answering,
    id_of,
    json_answer,
    page_of,
    refusal,
)
from .orders import Orders
from .reading import read_answer
from .repeats import Answers, Repeats, digest_of
from .results import answered_so_far

_HEAD_BYTES = 1 << 16
_BYTES = "application/octet-stream"
MAX_PARTS = 10_000
"""Of an upload. At 64 MiB a part it would be long past what a file may have."""


_PURPOSES = frozenset((*asking.PURPOSES, "batch_output"))
"""What files of this protocol are for; others are another's."""


class OpenAIFace:
    """See `face.Face`."""

    name = "openai"
    id_prefix = "batch_"
    input_purpose = "batch"
    output_purpose = "batch_output"
    _more: Sequence[BaseRoute] = ()

    def __init__(
        self,
        desk: Desk,
        orders: Orders,
        models: Sequence[routes.Route],
        *,
        more: Sequence[BaseRoute] = (),
    ) -> None:
        self._desk = desk
        self._orders = orders
        self._models = models
        self._repeats = Repeats(desk.store, desk.clock)
        self._since = desk.clock.now()
        self._more = more
        # Guards the way from counting the parts of an upload to adding one.
        self._adding = asyncio.Lock()

    def claims(self, scope: Scope) -> bool:
        return True

    def routes(self) -> Sequence[BaseRoute]:
        table: list[tuple[str, str, Handler]] = [
            ("POST", "/v1/files", self.create_file),
            ("GET", "/v1/files", self.list_files),
            ("GET", "/v1/files/{id}", self.retrieve_file),
            ("GET", "/v1/files/{id}/content", self.read_file),
            ("DELETE", "/v1/files/{id}", self.delete_file),
            ("POST", "/v1/uploads", self.create_upload),
            ("POST", "/v1/uploads/{id}/parts", self.add_part),
            ("POST", "/v1/uploads/{id}/complete", self.complete_upload),
            ("POST", "/v1/uploads/{id}/cancel", self.cancel_upload),
            ("POST", "/v1/batches", self.create_batch),
            ("GET", "/v1/batches", self.list_batches),
            ("GET", "/v1/batches/{id}", self.retrieve_batch),
            ("POST", "/v1/batches/{id}/cancel", self.cancel_batch),
            ("GET", "/v1/batches/{id}/output", self.read_output),
            ("GET", "/v1/models", self.list_models),
            ("GET", "/v1/models/{id:path}", self.retrieve_model),
        ]
        ours = (Route(path, answering(call), methods=[method]) for method, path, call in table)
        return [*ours, *self._more]

    def failure(self, status: int, message: str, *, request_id: str) -> Response:
        code = "invalid_api_key" if status == 401 else None
        return refusal(Refused(status, message, code=code))

    # --- files ---

    async def create_file(self, request: Request) -> Response:
        form = await self._form(request, file="file", most=asking.MAX_FILE_BYTES)
        try:
            asked = asking.read_file_form(form.fields, filename=form.filename)
            assert form.blob is not None
            if asked.purpose == "batch":
                _check_input(asked.name, form.blob)
            owner = caller_of(request).owner
            keep = partial(
                self._desk.keep,
                form.blob,
                owner=owner,
                name=asked.name,
                purpose=asked.purpose,
                kept_seconds=asked.kept_seconds,
            )
            file = await self._repeats.once(
                request,
                digest_of(asked, form.blob.digest),
                make=lambda answers: keep(answers=answers),
                find=partial(self._known, owner=owner),
            )
        finally:
            form.discard()
        return json_answer(wire.write_file(file))

    async def _form(self, request: Request, *, file: str, most: int) -> Form:
        return await take_form(request, file=file, new=self._desk.blobs.begin, most=most)

    async def list_files(self, request: Request) -> Response:
        cursor = asking.read_cursor(request.query_params, usual=10_000, most=10_000)
        purpose = request.query_params.get("purpose") or None
        found = await self._desk.files(
            owner=caller_of(request).owner,
            most=cursor.limit + 1,
            after=cursor.after,
            purposes=_PURPOSES if purpose is None else _PURPOSES & {purpose},
            newest_first=cursor.newest_first,
        )
        return page_of(found, cursor, wire.write_file)

    async def _file(self, request: Request) -> StoredFile:
        return await self._known(id_of(request), owner=caller_of(request).owner)

    async def _known(self, file_id: str, *, owner: str) -> StoredFile:
        """A file of this protocol's. Raises Absent."""
        return await self._desk.file(file_id, owner=owner, purposes=_PURPOSES)

    async def retrieve_file(self, request: Request) -> Response:
        return json_answer(wire.write_file(await self._file(request)))

    async def read_file(self, request: Request) -> Response:
        return await self._content(request, await self._file(request))

    async def _content(self, request: Request, file: StoredFile, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = self._desk.blobs.file(file.id)
        try:
            return await read_answer(request, path, name=file.id, headers=named)
        except FileNotFoundError:  # it was deleted meanwhile
            raise Absent("File", file.id) from None

    async def delete_file(self, request: Request) -> Response:
        file = await self._file(request)
        await self._desk.delete(file.id, owner=file.owner)
        return json_answer(wire.write_deleted(file.id))

    # --- uploads ---

    async def create_upload(self, request: Request) -> Response:
        asked = asking.read_upload(await take_body(request, most=MAX_BODY_BYTES))
        owner = caller_of(request).owner
        begin = partial(
            self._desk.begin_upload,
            owner=owner,
            name=asked.name,
            purpose=asked.purpose,
            mime_type=asked.mime_type,
            size=asked.size,
            kept_seconds=asked.kept_seconds,
            lives=asking.UPLOAD_LIVES,
        )
        upload = await self._repeats.once(
            request,
            digest_of(asked),
            make=lambda answers: begin(answers=answers),
            find=lambda made: self._desk.upload(made, owner=owner, purposes=_PURPOSES),
        )
        return json_answer(wire.write_upload(upload))

    async def _upload(self, request: Request) -> Upload:
        """Raises Absent, as well for one that another protocol began."""
        owner = caller_of(request).owner
        return await self._desk.upload(id_of(request), owner=owner, purposes=_PURPOSES)

    async def add_part(self, request: Request) -> Response:
        upload = await self._upload(request)
        _check_pending(upload.status)
        form = await self._form(request, file="data", most=asking.MAX_PART_BYTES)
        try:
            if form.blob is None:
                raise asking.missing("data")
            part = await self._repeats.once(
                request,
                form.blob.digest,
                make=partial(self._add_part, upload, form.blob),
                find=partial(self._part, upload),
            )
        finally:
            form.discard()
        return json_answer(wire.write_part(part))

    async def _add_part(self, upload: Upload, blob: Blob, answers: Answers) -> UploadPart:
        if not blob.size:
            raise Refused(400, "The part is empty.", param="data")
        async with self._adding:
            parts = await self._desk.parts(upload)
            if sum(part.size for part in parts) + blob.size > upload.size:
                said = f"The parts come to more than the {upload.size} bytes of the upload."
                raise Refused(400, said, param="data")
            if len(parts) >= MAX_PARTS:
                said = f"An upload may come in at most {MAX_PARTS} parts."
                raise Refused(400, said, param="data")
            part = await self._desk.add_part(upload, blob, answers=answers)
        if part is None:
            raise _not_pending("completed")
        return part

    async def _part(self, upload: Upload, part_id: str) -> UploadPart:
        for part in await self._desk.parts(upload):
            if part.id == part_id:
                return part
        raise Absent("Part", part_id)

    async def complete_upload(self, request: Request) -> Response:
        upload = await self._upload(request)
        asked = asking.read_complete(await take_body(request, most=MAX_BODY_BYTES))

        async def found(file_id: str) -> tuple[Upload, StoredFile]:
            file = await self._known(file_id, owner=upload.owner)
            return await self._upload(request), file

        completed = await self._repeats.once(
            request, digest_of(asked), make=partial(self._complete, request, asked), find=found
        )
        return json_answer(wire.write_upload(*completed))

    async def _complete(
        self, request: Request, asked: asking.AskedComplete, answers: Answers
    ) -> tuple[Upload, StoredFile]:
        upload = await self._upload(request)  # as it is when its turn has come
        if upload.file_id is not None:  # said twice, because the answer was lost
            return upload, await self._known(upload.file_id, owner=upload.owner)
        _check_pending(upload.status)
        there = {part.id: part.size for part in await self._desk.parts(upload)}
        for part_id in asked.part_ids:
            if part_id not in there:
                raise Refused(400, f"No such part: {part_id[:100]}", param="part_ids")
        size = sum(there[part_id] for part_id in asked.part_ids)
        if size != upload.size:
            said = f"The parts have {size} bytes, and the upload was to have {upload.size}."
            raise Refused(400, said, param="part_ids")
        blob, digest = await self._desk.join(asked.part_ids)
        try:
            if asked.md5 is not None and asked.md5.lower() != digest:
                raise Refused(400, f"The MD5 of the file is {digest}.", param="md5")
            if upload.purpose == "batch":
                _check_input(upload.name, blob)
            completed = await self._desk.complete(upload, blob, answers=answers)
        finally:
            blob.discard()
        if completed is None:
            raise _not_pending("completed")
        return completed

    async def cancel_upload(self, request: Request) -> Response:
        async def cancelled() -> Upload:
            upload = await self._upload(request)
            if upload.status == "pending":
                upload = await self._desk.cancel_upload(upload)
            if upload.status != "cancelled":
                raise _not_pending(upload.status)
            return upload

        return json_answer(wire.write_upload(await self._repeats.alike(request, cancelled)))

    # --- batches ---

    async def create_batch(self, request: Request) -> Response:
        asked = asking.read_create(await take_body(request, most=MAX_BODY_BYTES))
        owner = caller_of(request).owner
        accept = partial(
            self._orders.accept,
            owner=owner,
            face=self,
            api=asking.ENDPOINTS[asked.endpoint],
            asked={
                "endpoint": asked.endpoint,
                "completion_window": asked.window,
                "metadata": asked.metadata,
            },
            input_file=asked.input_file,
            window=timedelta(hours=asked.hours),
            kept_seconds=asked.kept_seconds,
        )
        order = await self._repeats.once(
            request,
            digest_of(asked),
            make=lambda answers: accept(answers=answers),
            find=lambda made: self._orders.order(made, owner=owner, face=self.name),
        )
        return self._batch(order)

    def _batch(self, order: Order) -> Response:
        return json_answer(self._write_batch(order))

    def _write_batch(self, order: Order) -> Json:
        return wire.write_batch(order, self._orders.sums(order))

    async def list_batches(self, request: Request) -> Response:
        cursor = asking.read_cursor(request.query_params, usual=20, most=100)
        found = await self._orders.page(
            owner=caller_of(request).owner,
            face=self.name,
            most=cursor.limit + 1,
            after=cursor.after,
        )
        return page_of(found, cursor, self._write_batch)

    async def _order(self, request: Request) -> Order:
        return await self._orders.order(
            id_of(request), owner=caller_of(request).owner, face=self.name
        )

    async def retrieve_batch(self, request: Request) -> Response:
        order = await self._order(request)
        why = self._orders.resting.get(order.id)
        headers = None if why is None else {"anybatch-rests": _in_a_header(why)}
        return json_answer(self._write_batch(order), headers)

    async def cancel_batch(self, request: Request) -> Response:
        async def cancelled() -> Order:
            order = await self._orders.cancel(await self._order(request))
            if order.status in ("completed", "failed", "expired"):
                said = f"Cannot cancel a batch with status '{order.status}'."
                raise Refused(409, said, headers=FINAL)
            return order

        return self._batch(await self._repeats.alike(request, cancelled))

    async def read_output(self, request: Request) -> Response:
        """Ours: the answers that are there, while the batch runs."""
        order = await self._order(request)
        complete = "complete" if order.is_over else "incomplete"
        if order.output_file is not None:
            file = await self._desk.file(order.output_file, owner=order.owner)
            return await self._content(request, file, anybatch_output=complete)
        lines: Iterator[bytes] = iter(())
        if not order.is_over:
            lines = answered_so_far(self._desk.store, order, self)
        return StreamingResponse(
            iterate_in_threadpool(lines),
            media_type=_BYTES,
            headers={"anybatch-output": complete},
        )

    # --- models ---

    async def list_models(self, request: Request) -> Response:
        names = dict.fromkeys(routes.named(self._models))
        return json_answer(wire.write_models(names, at=self._since))

    async def retrieve_model(self, request: Request) -> Response:
        name = id_of(request)
        if routes.find(self._models, name) is None:
            raise Refused(404, f"The model '{name[:100]}' does not exist.", code="model_not_found")
        return json_answer(wire.write_models([name], at=self._since)["data"][0])

    # --- for the rest of the server ---

    def reader(self, order: Order) -> wire.RequestReader:
        return wire.RequestReader(order.asked["endpoint"])

    def unknown_input(self, order: Order) -> Problem:
        return wire.unknown_input(order.input_file)

    def unserved(self, model: str, number: int | None) -> Problem:
        return wire.unserved(model, number)

    def write_line(self, name: str, result: Result | None, *, order: Order, n: int) -> Line:
        return Line(*wire.write_line(name, result, order=order.id, n=n, ending=order.ending))

    def output_name(self, order: Order, *, ok: bool) -> str:
        return f"{order.id}_{'output' if ok else 'error'}.jsonl"


def _check_input(name: str, blob: Blob) -> None:
    with open(blob.path, "rb") as file:
        asking.check_input_file(name, file.read(_HEAD_BYTES), size=blob.size)


def _check_pending(status: str) -> None:
    if status != "pending":
        raise _not_pending(status)


def _not_pending(status: str) -> Refused:
    return Refused(400, f"The upload has the status '{status}': nothing can be done with it.")


def _in_a_header(text: str) -> str:
    """What others said, as a header takes it: ASCII on one line."""
    return " ".join(text.encode("ascii", "replace").decode().split())
