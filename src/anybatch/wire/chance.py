"""Whether a body leaves its answer to chance: if not, an earlier answer is as good as a new one."""

import msgspec

from ..core.model import EMBEDDINGS, Api


class _Generation(msgspec.Struct, frozen=True):
    temperature: float | None = None
    seed: int | None = None


class _Body(_Generation, frozen=True):
    generation: _Generation = msgspec.field(default=_Generation(), name="generationConfig")


_BODY = msgspec.json.Decoder(_Body)


def is_settled(api: Api, body: bytes) -> bool:
    """Whether the same answer is wanted each time: numbers and findings, or a text at temperature 0
    or with a seed."""
    if api in EMBEDDINGS or api == "openai.moderations":
        return True
    if api == "openai.images":
        return False
    try:
        read = _BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    said = read.generation if api == "gemini.generate" else read
    return said.temperature == 0 or said.seed is not None
