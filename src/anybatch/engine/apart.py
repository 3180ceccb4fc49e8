"""Where prompts differ that could begin alike: a cache keeps nothing of what stands behind that."""

from collections.abc import Sequence
from functools import reduce
from itertools import chain

from ..core.model import Spec
from ..core.template import Column, Piece, compile_prompt
from ..store.requests import RequestFile
from ..wire.breakpoints import begin_of, common
from .heads import Caching

_SAMPLE = 64
_SHOWN = 24
"""So much of each prompt is shown."""
_LINE = 20
"""A shorter line may be the same by chance."""
_NEAR = 64
"""So many characters more may be alike by chance."""


def remark(requests: RequestFile, spec: Spec, caching: Caching) -> str | None:
    """What keeps these requests from a cache, and how to mend it; None: nothing that is known."""
    step = max(1, requests.count // _SAMPLE)
    numbers = sorted({*range(0, requests.count, step), requests.count - 1})
    bodies = [request.body for request in requests.read(numbers)]
    return remark_on(bodies, spec, caching)


def remark_on(bodies: Sequence[bytes], spec: Spec, caching: Caching) -> str | None:
    """The same, of some requests that stand for all."""
    begins = [begin_of(spec.api, body) for body in bodies]
    texts = ["\n".join(said.text for said in each.texts) for each in begins]
    if len(bodies) < 2 or not texts[0]:
        return None
    floor = caching.cache.floor(spec.model or "").tokens
    needed = floor * len(texts[0]) / max(1, caching.counter.count(texts[:1])[0])
    shared = reduce(common, begins).chars
    same = max(_constant(spec), _same_lines(texts))
    if shared >= needed or same - shared < needed:
        return None
    at, one, other = _first_difference(bodies)
    column = _column_at(spec, shared)
    named = "What comes first there" if column is None else f"{{{{ {column} }}}}"
    return (
        f"these prompts begin alike for {shared:,} characters only, though {same:,} are the same "
        f"in all: at byte {at:,} of the request one has {one!r}, another {other!r}. {named} keeps "
        "a prompt cache from all that follows; put it behind that"
    )


def _first_difference(bodies: Sequence[bytes]) -> tuple[int, str, str]:
    """The first byte in which some of them differ, and what two of them have there."""
    first, last = min(bodies), max(bodies)
    pairs = enumerate(zip(first, last, strict=False))
    at = next((at for at, (a, b) in pairs if a != b), min(len(first), len(last)))
    one, other = (body[at : at + _SHOWN].decode(errors="replace") for body in (first, last))
    return at, one, other


def _pieces(spec: Spec) -> tuple[Piece, ...]:
    """The texts and columns of its templates, in order, as far as they only put columns in."""
    templates = [text for text in (spec.system, spec.prompt) if text is not None]
    return tuple(chain.from_iterable(compile_prompt(text).pieces or () for text in templates))


def _constant(spec: Spec) -> int:
    """So many characters of a prompt are the template's."""
    return sum(len(piece) for piece in _pieces(spec) if not isinstance(piece, Column))


def _column_at(spec: Spec, chars: int) -> str | None:
    """The first column, if it stands where prompts begin to differ."""
    before = 0
    for piece in _pieces(spec):
        if isinstance(piece, Column):
            return piece.name if before <= chars <= before + _NEAR else None
        before += len(piece)
    return None


def _same_lines(texts: Sequence[str]) -> int:
    """The characters in lines that all of them have."""
    lines = [{line for line in text.splitlines() if len(line) >= _LINE} for text in texts]
    return sum(map(len, set.intersection(*lines)))
