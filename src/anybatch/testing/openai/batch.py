"""One batch: validated, run row by row, finished; and how it is told of."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from ...core.model import Json
from ..batches.ledger import AcceptedBatch
from ..batches.life import Life, Problem
from ..batches.rows import Reader, Row
from ..batches.running import Running
from ..endpoint.service import read_call
from ..service.http1 import Extent
from .asked import WINDOW, Asked
from .check import Checked, check
from .desk import Desk
from .files import Files
from .lines import read_line, write_result

TOO_MANY_TOKENS: Final = (
    "Enqueued token limit reached for {model} in organization org-fake. Limit: {limit:,} enqueued "
    "tokens. Please try again once some in_progress batches have been completed."
)
UNKNOWN_FILE: Final = "Cannot find file {id}, or organization org-fake does not have access to it."


class Input:
    """The rows of an input file that was found to be well."""

    def __init__(self, path: Path, checked: Checked) -> None:
        self._path = path
        self._checked = checked

    def __len__(self) -> int:
        return len(self._checked.starts)

    def rows(self, places: Iterable[int]) -> Iterator[tuple[str, bytes]]:
        with self._path.open("rb") as file:
            for place in places:
                file.seek(self._checked.starts[place])
                line = read_line(file.read(self._checked.sizes[place]))
                yield line.custom_id, bytes(line.body)


class Batch(Running):
    """Belongs to the service's thread."""

    together = False

    def __init__(
        self,
        accepted: AcceptedBatch,
        asked: Asked,
        life: Life,
        desk: Desk,
        files: Files,
        rivals: "Callable[[Batch, float], int]",
    ) -> None:
        super().__init__(accepted, life, desk)
        self.asked = asked
        self.model: str | None = None
        self.tokens = 0
        """Of all prompts, where they are counted."""
        self._files = files
        self._rivals = rivals
        self._problems: list[Problem] = []
        self._checked = Checked()
        self._file_ids: dict[bool, str] = {}
        self._input: Path | None = None

    def validate(self, at: float) -> None:
        self._problems = self._validated(at)
        super().validate(at)

    def given(self) -> Input | None:
        if self._problems or self._input is None:
            return None
        return Input(self._input, self._checked)

    @property
    def reader(self) -> Reader:
        return partial(read_call, self.asked.endpoint.removeprefix("/v1"), {})

    def _validated(self, at: float) -> list[Problem]:
        if self.fate.ends == "failed":
            return list(self.fate.problems) or [Problem(code="server_error", message="Failed.")]
        file = self._files.find(self.asked.input_file_id)
        if file is None or file.purpose != "batch":
            message = UNKNOWN_FILE.format(id=self.asked.input_file_id)
            return [Problem(code="invalid_request", message=message, param="file_id")]
        quotas = self._desk.quotas
        self._checked = check(file.content, self.asked.endpoint, quotas)
        self.model, self.tokens = self._checked.model, self._checked.tokens
        # Linked to: the file may be deleted while the batch runs.
        self._input = self._desk.vault.path()
        self._input.hardlink_to(file.content.path)
        limit = quotas.enqueued_tokens
        if self._checked.problems or limit is None:
            return self._checked.problems
        if self._rivals(self, at) + self.tokens <= limit:
            return []
        message = TOO_MANY_TOKENS.format(model=self.model, limit=limit)
        return [Problem(code="token_limit_exceeded", message=message)]

    def write_row(self, row: Row, number: int) -> bytes:
        return write_result(row, id=f"{self.id[-12:]}{number:08x}")

    def finish(self, results: Extent | None, at: float) -> None:
        for ok, name, content in ((True, "output", results), (False, "error", self.errors)):
            if content is not None:
                self._file_ids[ok] = self._kept(content, name, at)
        if self._input is not None:
            self._input.unlink()
        self._checked = Checked()

    def _kept(self, content: Extent, name: str, at: float) -> str:
        return self._files.keep(
            content,
            filename=f"{self.id}_{name}.jsonl",
            purpose="batch_output",
            seconds=self.asked.kept_seconds,
            at=at,
            batch=self.id,
            late=self.fate.late_files,
        ).id

    def _file_id(self, ok: bool) -> str | None:
        absent = "" if self.fate.blank_ids and self.life.is_over else None
        return absent if self.fate.no_files else self._file_ids.get(ok, absent)

    def write(self, *, status: str | None = None) -> Json:
        """The batch as its client sees it; with `status`, under another word than its own."""
        entered = {stage: int(at) for stage, at in self.life.entered.items()}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.asked.endpoint,
            "model": self.model,
            "errors": self._errors(),
            "input_file_id": self.asked.input_file_id,
            "completion_window": WINDOW,
            "status": status or self.life.stage,
            "output_file_id": self._file_id(ok=True),
            "error_file_id": self._file_id(ok=False),
            "created_at": int(self.created_at),
            "in_progress_at": entered.get("in_progress"),
            "expires_at": int(self.life.expires),
            "finalizing_at": entered.get("finalizing"),
            "completed_at": entered.get("completed"),
            "failed_at": entered.get("failed"),
            "expired_at": entered.get("expired"),
            "cancelling_at": entered.get("cancelling"),
            "cancelled_at": entered.get("cancelled"),
            "request_counts": self._counts(),
            "usage": self._usage(),
            "metadata": self.asked.metadata,
        }

    def _errors(self) -> Json | None:
        if not self._problems:
            return None
        listed = [
            {"code": one.code, "line": one.line, "message": one.message, "param": one.param}
            for one in self._problems
        ]
        return {"object": "list", "data": listed}

    def _counts(self) -> Json:
        sums = self.sums
        counts = {"total": self.life.total, "completed": sums.completed, "failed": sums.failed}
        return counts | dict(self.fate.counts)

    def _usage(self) -> Json:
        sums = self.sums
        return {
            "input_tokens": sums.tokens_in,
            "input_tokens_details": {"cached_tokens": sums.cached},
            "output_tokens": sums.tokens_out,
            "output_tokens_details": {"reasoning_tokens": sums.reasoning},
            "total_tokens": sums.tokens,
        }
