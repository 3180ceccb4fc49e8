"""Gemini's files: uploaded in parts, looked at, listed, downloaded, deleted."""

import asyncio
from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from ..core.model import Json
from ..core.served import StoredFile, Upload
from ..store.blobs import Blob
from ..wire import gemini_served as wire
from ..wire.gemini_files import MIME_TYPE, UPLOAD_ADDRESS
from ..wire.gemini_served import Refused
from .desk import Desk
from .face import Absent, caller_of
from .forms import pieces, take_body
from .origin import origin_of
from .reading import PastTheEnd, read_answer
from .repeats import Repeats, digest_of

UPLOADED, GENERATED = "gemini", "gemini_output"
"""What files are for: as the input of a batch, or as its results."""
INLINE = ""
"""What files are called that nobody asks for by name: requests that came with their batch, and what
became of them. A client's own is never called so."""
MAX_BODY_BYTES = 1 << 20
"""Of a call that carries no file."""
MAX_PARTS = 10_000
"""Of an upload. The official SDK sends 8 MiB at a time."""
_SENT = "x-goog-upload-status"
_THERE = "x-goog-upload-size-received"


def answer(body: object, **headers: str) -> Response:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(encoded, media_type="application/json; charset=UTF-8", headers=named)


def id_of(request: Request) -> str:
    return str(request.path_params["id"])


class GeminiFiles:
    """What is answered to calls about files."""

    def __init__(self, desk: Desk, repeats: Repeats, *, public_url: str | None) -> None:
        self._desk = desk
        self._repeats = repeats
        self._public_url = public_url
        # Guards the way from counting the parts to adding one: who gets no answer sends it again
        # while the first is still coming in.
        self._adding = asyncio.Lock()

    # --- uploads ---

    async def admitted(self, scope: Scope) -> str | None:
        """The owner of the upload whose address this is. Its bytes come without a key: the address
        itself is the secret."""
        if not scope["path"].startswith("/upload/"):
            return None
        secret = Request(scope).query_params.get("upload_id", "")
        upload_id, _, owner = secret.partition(".")
        try:
            return (await self._upload(upload_id, owner=owner)).owner
        except Absent:
            return None

    async def _upload(self, upload_id: str, *, owner: str) -> Upload:
        """An upload that this protocol began: of others the ids are no secrets. Raises Absent."""
        return await self._desk.upload(upload_id, owner=owner, purposes=(UPLOADED,))

    async def upload(self, request: Request) -> Response:
        """What comes to the one path of all uploads."""
        commands = {
            word.strip() for word in request.headers.get("x-goog-upload-command", "").split(",")
        }
        if "upload_id" not in request.query_params:
            if commands != {"start"}:
                raise Refused(400, "An upload begins with X-Goog-Upload-Command: start.")
            return await self._start(request)
        secret = request.query_params["upload_id"].partition(".")[0]
        upload = await self._upload(secret, owner=caller_of(request).owner)
        if upload.status != "pending":  # said twice, because the answer was lost
            return await self._told(request, upload)
        return await self._go_on(request, upload, commands)

    async def _again(self, upload: Upload) -> Upload:
        """An upload as it is by now."""
        return await self._upload(upload.id, owner=upload.owner)

    async def _start(self, request: Request) -> Response:
        asked = wire.read_start(await take_body(request, most=MAX_BODY_BYTES), request.headers)
        owner = caller_of(request).owner
        begin = partial(
            self._desk.begin_upload,
            owner=owner,
            name=asked.name,
            purpose=UPLOADED,
            mime_type=MIME_TYPE,
            size=asked.size,
            kept_seconds=int(wire.LIVES.total_seconds()),
            lives=wire.UPLOAD_LIVES,
        )
        upload = await self._repeats.once(
            request,
            digest_of(asked),
            make=lambda answers: begin(answers=answers),
            find=lambda made: self._upload(made, owner=owner),
        )
        secret = quote(f"{upload.id}.{owner}", safe="")
        address = f"{self._origin(request)}{request.url.path}?upload_id={secret}"
        headers = {UPLOAD_ADDRESS: f"{address}&upload_protocol=resumable", _SENT: "active"}
        return answer({}, **headers)

    async def _go_on(self, request: Request, upload: Upload, commands: set[str]) -> Response:
        if "cancel" in commands:
            await self._desk.cancel_upload(upload)
            return answer({}, **{_SENT: "cancelled"})
        if "upload" in commands:
            await self._take(request, upload)
        if "finalize" in commands:
            return await self._finalize(request, upload)
        return answer({}, **{_SENT: "active", _THERE: str(await self._there(upload))})

    async def _there(self, upload: Upload) -> int:
        return sum(part.size for part in await self._desk.parts(upload))

    async def _take(self, request: Request, upload: Upload) -> None:
        """Put a part behind those that are there; one that came before is there already."""
        offset = wire.number_in(request.headers, "x-goog-upload-offset")
        if offset is None:
            raise Refused(400, "The X-Goog-Upload-Offset is needed.")
        blob = self._desk.blobs.begin()
        try:
            async for piece in pieces(request):
                blob.write(piece)
                if offset + blob.size > upload.size:
                    raise Refused(400, f"More came than {upload.size} bytes, as was announced.")
            async with self._adding:
                await self._add(upload, blob, offset=offset)
        finally:
            blob.discard()

    async def _add(self, upload: Upload, blob: Blob, *, offset: int) -> None:
        if (await self._again(upload)).status != "pending":
            return  # the same part has ended it meanwhile
        parts = await self._desk.parts(upload)
        there = sum(part.size for part in parts)
        if offset + blob.size <= there:
            return
        if offset != there:
            raise Refused(400, f"The offset is {offset}, but {there} bytes are there.")
        if len(parts) >= MAX_PARTS:
            raise Refused(400, f"An upload may come in at most {MAX_PARTS} parts.")
        await self._desk.add_part(upload, blob)

    async def _finalize(self, request: Request, upload: Upload) -> Response:
        upload = await self._again(upload)
        if upload.status != "pending":
            return await self._told(request, upload)
        parts = await self._desk.parts(upload)
        size = sum(part.size for part in parts)
        if size != upload.size:
            said = f"{size} bytes came, but {upload.size} were announced."
            raise Refused(400, said)
        blob, _ = await self._desk.join([part.id for part in parts])
        try:
            completed = await self._desk.complete(upload, blob)
        finally:
            blob.discard()
        if completed is None:  # another call has ended it meanwhile
            return await self._told(request, await self._again(upload))
        return self._final(request, completed[1])

    async def _told(self, request: Request, upload: Upload) -> Response:
        """What has become of an upload that takes nothing more. Raises Refused."""
        if upload.file_id is None:
            raise wire.too_late("Upload has already been terminated.")
        return self._final(request, await self.known(upload.file_id, owner=upload.owner))

    def _final(self, request: Request, file: StoredFile) -> Response:
        return answer({"file": self._written(request, file)}, **{_SENT: "final"})

    # --- files ---

    async def known(self, file_id: str, *, owner: str) -> StoredFile:
        """A file of this protocol's. Raises Absent."""
        file = await self._desk.file(file_id, owner=owner, purposes=(UPLOADED, GENERATED))
        if file.name == INLINE:
            raise Absent("files", file_id)
        return file

    async def get(self, request: Request) -> Response:
        file = await self.known(id_of(request), owner=caller_of(request).owner)
        return answer(self._written(request, file))

    async def download(self, request: Request) -> Response:
        file = await self.known(id_of(request), owner=caller_of(request).owner)
        if file.purpose != GENERATED:
            raise Refused(400, "It was uploaded: only files that were generated are downloaded.")
        path = self._desk.blobs.file(file.id)
        try:
            return await read_answer(request, path, name=file.id, media_type=MIME_TYPE)
        except FileNotFoundError:  # it was deleted meanwhile
            raise Absent("files", file.id) from None
        except PastTheEnd as e:
            raise Refused(416, str(e)) from None

    async def delete(self, request: Request) -> Response:
        file = await self.known(id_of(request), owner=caller_of(request).owner)
        await self._desk.delete(file.id, owner=file.owner)
        return answer({})

    async def list(self, request: Request) -> Response:
        asked = wire.read_page(request.query_params, usual=10, most=100)
        found = await self._uploaded(asked, owner=caller_of(request).owner)
        page = found[: asked.size]
        more = page[-1].id if len(found) > asked.size else None
        return answer(wire.write_files([self._written(request, f) for f in page], next_page=more))

    async def _uploaded(self, asked: wire.AskedPage, *, owner: str) -> Sequence[StoredFile]:
        """A page of what clients uploaded, and one more if there is more. Raises Refused."""
        found: list[StoredFile] = []
        after, most = asked.after, asked.size + 1
        while len(found) < most:
            looked = await self._desk.files(
                owner=owner, most=most, after=after, purposes=(UPLOADED,), newest_first=True
            )
            if looked is None:
                raise wire.unknown_page()
            found += (file for file in looked if file.name != INLINE)
            if len(looked) < most:
                break
            after = looked[-1].id
        return found[:most]

    def _written(self, request: Request, file: StoredFile) -> Json:
        origin = self._origin(request)
        return wire.write_file(file, origin=origin, generated=file.purpose == GENERATED)

    def _origin(self, request: Request) -> str:
        return origin_of(request, self._public_url)
