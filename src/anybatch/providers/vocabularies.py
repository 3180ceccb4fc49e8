"""Which vocabulary a model reads with, where that is known, and counting by it."""

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from struct import Struct
from typing import Any, NamedTuple

from ..core.tokens import ByBytes, Counted, Counter


class Vocabulary(NamedTuple):
    """What models of a name read with."""

    models: str
    """A pattern that their names begin with, without their provider's."""
    name: str
    """As the package splintr-rs calls it."""
    factor: float = 1.0
    """So many tokens of theirs are one of this vocabulary."""
    band: float = 0.02
    """Their count is within this share of it: the words around messages are not the caller's."""


# The package carries each of these vocabularies and gives the same tokens as the providers' own
# tools do; checked against version 0.22 on 2026-11-20. Of Claude's, none was published since 2023:
# texts have been seen to take between a tenth and a third more tokens than o200k_base gives.
KNOWN = (
    Vocabulary(r"(gpt-3\.5|gpt-4(?!o|\.)|text-embedding-)", "cl100k_base"),
    Vocabulary(r"(gpt-oss)", "gpt-oss"),
    Vocabulary(r"(gpt-|o\d|chatgpt-|codex-|omni-moderation)", "o200k_base"),
    Vocabulary(r"(gemini-|gemma-)", "gemma3", band=0.03),
    Vocabulary(r"claude-", "o200k_base", factor=1.2, band=0.15),
    Vocabulary(r"(meta-)?llama-?[34]", "llama3"),
    Vocabulary(r"qwen", "qwen3"),
    Vocabulary(r"deepseek", "deepseek_v3"),
    Vocabulary(r"(mistral|ministral|pixtral|codestral|magistral)", "mistral_v3"),
    Vocabulary(r"(kimi)", "kimi"),
    Vocabulary(r"(glm)", "glm4"),
)


def vocabulary_of(model: str) -> Vocabulary | None:
    """None: nobody has said."""
    name = model.rpartition("/")[2].lower()
    return next((each for each in KNOWN if re.match(each.models, name)), None)


def counter_for(model: str) -> Counter:
    """The best way there is here to count for a model."""
    known = vocabulary_of(model)
    if known is None:
        return ByBytes()
    tokenizer = _tokenizer(known.name)
    return ByBytes() if tokenizer is None else ByVocabulary(known, tokenizer)


_TAUGHT = 0.03


class ByVocabulary:
    """Exact for texts of a model with this vocabulary; near it for one that is like it."""

    def __init__(self, vocabulary: Vocabulary, tokenizer: Any) -> None:
        self._factor = vocabulary.factor
        self._tokenizer = tokenizer
        about = "" if vocabulary.factor == 1 else f" × {vocabulary.factor:g}"
        self.counted = Counted(
            f"counted by {vocabulary.name}{about}",
            vocabulary.band,
            taught=min(vocabulary.band, _TAUGHT),
        )

    def count(self, texts: Sequence[str]) -> list[int]:
        _, places = self._tokenizer.encode_batch_flat(list(texts))
        ends = [place for (place,) in _PLACE.iter_unpack(places)]
        return [round((end - start) * self._factor) for start, end in pairwise(ends)]


_PLACE = Struct("<Q")
"""Where the tokens of a text begin among those of all."""


@cache
def _tokenizer(name: str) -> Any | None:
    """None: the extra `tokens` is not installed."""
    try:
        from splintr import Tokenizer
    except ImportError:
        return None
    return Tokenizer.from_pretrained(name)
