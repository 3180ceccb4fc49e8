"""Files and uploads of clients: taken in, found, listed, deleted, expired. No protocol is known."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from ..clock import Clock
from ..core.served import StoredFile, Upload, UploadPart, UploadStatus
from ..store.blobs import Blob, Blobs
from ..store.served import ServedStore
from .face import Absent
from .repeats import REMEMBERED, Answers, to_nobody

T = TypeVar("T")

WALKED = timedelta(days=7)
"""So long a list goes on behind what was deleted."""


def new_id() -> str:
    """96 bits of chance: nobody guesses one."""
    return secrets.token_hex(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where clients hand in files and get them back."""

    store: ServedStore
    blobs: Blobs
    clock: Clock
    new_id: Callable[[], str] = new_id

    # --- files ---

    async def keep(
        self,
        blob: Blob,
        *,
        owner: str,
        name: str,
        purpose: str,
        kept_seconds: int | None,
        answers: Answers = to_nobody,
    ) -> StoredFile:
        """Make what was written a file of `owner`'s."""
        file = self.described(
            blob, owner=owner, name=name, purpose=purpose, kept_seconds=kept_seconds
        )

        def keep() -> None:
            blob.keep(self.blobs.file(file.id))
            self.store.add_file(file, answered=answers(file.id))

        await asyncio.to_thread(keep)
        return file

    def described(
        self, blob: Blob, *, owner: str, name: str, purpose: str, kept_seconds: int | None
    ) -> StoredFile:
        """What is to be written down of a file once it is kept."""
        now = self.clock.now()
        return StoredFile(
            id=f"file-{self.new_id()}",
            owner=owner,
            name=name,
            purpose=purpose,
            size=blob.size,
            crc=blob.crc,
            created_at=now,
            expires_at=_later(now, kept_seconds),
        )

    def find(self, file_id: str, *, owner: str) -> StoredFile | None:
        return self.store.file(file_id, owner=owner, now=self.clock.now())

    async def file(
        self, file_id: str, *, owner: str, purposes: Collection[str] | None = None
    ) -> StoredFile:
        """One that is for any of `purposes`; None: for whatever. Raises Absent."""
        found = await asyncio.to_thread(self.find, file_id, owner=owner)
        if found is None or (purposes is not None and found.purpose not in purposes):
            raise Absent("File", file_id)
        return found

    async def files(
        self,
        *,
        owner: str,
        most: int,
        after: str | None,
        purposes: Collection[str],
        newest_first: bool,
    ) -> list[StoredFile] | None:
        """A page of an owner's files for any of `purposes`; None: it had none with the id
        `after`."""
        page = partial(
            self.store.files_of,
            owner,
            now=self.clock.now(),
            most=most,
            after=after,
            purposes=purposes,
            newest_first=newest_first,
        )
        return await asyncio.to_thread(page)

    async def delete(self, file_id: str, *, owner: str) -> None:
        """Raises Absent."""

        def delete() -> bool:
            there = self.find(file_id, owner=owner) is not None
            # First what is known of it: a file that nobody knows of is swept away.
            now = self.clock.now()
            if there and (there := self.store.delete_file(file_id, owner=owner, now=now)):
                self.blobs.remove_file(file_id)
            return there

        if not await asyncio.to_thread(delete):
            raise Absent("File", file_id)

    # --- uploads ---

    async def begin_upload(
        self,
        *,
        owner: str,
        name: str,
        purpose: str,
        mime_type: str,
        size: int,
        kept_seconds: int | None,
        lives: timedelta,
        answers: Answers = to_nobody,
    ) -> Upload:
        now = self.clock.now()
        upload = Upload(
            id=f"upload_{self.new_id()}",
            owner=owner,
            name=name,
            purpose=purpose,
            mime_type=mime_type,
            size=size,
            kept_seconds=kept_seconds,
            created_at=now,
            expires_at=now + lives,
        )
        await asyncio.to_thread(self.store.add_upload, upload, answered=answers(upload.id))
        return upload

    async def upload(self, upload_id: str, *, owner: str, purposes: Collection[str]) -> Upload:
        """One of a file that is for any of `purposes`. Raises Absent."""
        found = await asyncio.to_thread(self.store.upload, upload_id, owner=owner)
        if found is None or found.purpose not in purposes:
            raise Absent("Upload", upload_id)
        if found.status == "pending" and found.expires_at <= self.clock.now():
            return await self._ended(found, "expired")
        return found

    async def parts(self, upload: Upload) -> list[UploadPart]:
        return await asyncio.to_thread(self.store.parts_of, upload.id)

    async def add_part(
        self, upload: Upload, blob: Blob, *, answers: Answers = to_nobody
    ) -> UploadPart | None:
        """None: no parts are taken any more."""
        part = UploadPart(
            id=f"part_{self.new_id()}",
            upload_id=upload.id,
            size=blob.size,
            created_at=self.clock.now(),
        )

        def keep() -> bool:
            blob.keep(self.blobs.part(part.id))
            if taken := self.store.add_upload_part(part, answered=answers(part.id)):
                return taken
            self.blobs.remove_parts([part.id])
            return False

        return part if await asyncio.to_thread(keep) else None

    async def join(self, part_ids: Sequence[str]) -> tuple[Blob, str]:
        """The parts one behind the other, and the MD5 of the whole."""
        return await asyncio.to_thread(self.blobs.join, part_ids)

    async def complete(
        self, upload: Upload, blob: Blob, *, answers: Answers = to_nobody
    ) -> tuple[Upload, StoredFile] | None:
        """The upload as the file `blob`; None: it was completed or cancelled meanwhile."""
        file = self.described(
            blob,
            owner=upload.owner,
            name=upload.name,
            purpose=upload.purpose,
            kept_seconds=upload.kept_seconds,
        )

        def complete() -> bool:
            parts = self.store.parts_of(upload.id)
            blob.keep(self.blobs.file(file.id))
            answered = answers(file.id)
            if done := self.store.end_upload(upload, "completed", file=file, answered=answered):
                self.blobs.remove_parts(part.id for part in parts)
            else:
                self.blobs.remove_file(file.id)
            return done

        if not await asyncio.to_thread(complete):
            return None
        return replace(upload, status="completed", file_id=file.id), file

    async def cancel_upload(self, upload: Upload) -> Upload:
        """The upload as it stands then."""
        return await self._ended(upload, "cancelled")

    async def _ended(self, upload: Upload, status: UploadStatus) -> Upload:
        return await asyncio.to_thread(self._end, upload, status)

    def _end(self, upload: Upload, status: UploadStatus) -> Upload:
        parts = self.store.parts_of(upload.id)
        if self.store.end_upload(upload, status):
            self.blobs.remove_parts(part.id for part in parts)
        return self.store.upload(upload.id, owner=upload.owner) or upload

    # --- what is over ---

    def sweep(self) -> None:
        """Remove what a server that died has left."""
        self.blobs.sweep(files=self.store.file_ids(), parts=self.store.part_ids())

    def tidy(self) -> None:
        """Forget what has outlived its time."""
        now = self.clock.now()
        for file in self.store.outlived_files(now):
            if self.store.delete_file(file.id, owner=file.owner, now=now):
                self.blobs.remove_file(file.id)
        for upload in self.store.outlived_uploads(now):
            self._end(upload, "expired")
        self.store.forget_answers(now - REMEMBERED)
        self.store.forget_places(now - WALKED)


def _later(now: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)
