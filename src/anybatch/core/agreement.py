"""Whether two answers to one row agree, and what a sample of such pairs tells of all rows."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import comb, erfc, isclose, sqrt
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from .model import Json

Kind = Literal["exact", "number", "text", "direction"]
"""How a field is compared. `exact`: the same value, texts normalised. `number`: within a tolerance.
`text`: as `exact`, and how similar. `direction`: the cosine of two lists of numbers, or of two
objects of numbers."""

_Z = 1.959964
"""So many standard errors to either side hold 95 % of all samples."""
_NOTHING = 1e-9
"""Numbers that differ by less are the same, though one of them be 0."""
_COUNTED_TO = 1_000
"""Up to so many rows chance is reckoned exactly."""


class Interval(NamedTuple):
    """Where a figure of all rows lies, by a sample, in 95 of 100 cases."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


def interval(agreed: int, of: int) -> Interval:
    """Of the share that `agreed` of `of` is (Wilson's score interval); all there is of none."""
    if not of:
        return Interval(0.0, 1.0)
    share, spread = agreed / of, _Z * _Z / of
    middle = (share + spread / 2) / (1 + spread)
    off = sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    # At the ends the root cancels out, but for what floats leave of it.
    low = 0.0 if agreed == 0 else max(0.0, middle - off)
    return Interval(low, 1.0 if agreed == of else min(1.0, middle + off))


class Mean(NamedTuple):
    """The mean of a figure, and where that of all rows lies."""

    value: float
    interval: Interval
    least: float
    """The smallest of all."""


def mean(values: Sequence[float], *, lowest: float) -> Mean | None:
    """Of figures between `lowest` and 1, by the normal approximation; None of none."""
    if not values:
        return None
    middle = fmean(values)
    if len(values) == 1:
        return Mean(middle, Interval(lowest, 1.0), middle)
    off = _Z * stdev(values) / sqrt(len(values))
    return Mean(middle, Interval(max(lowest, middle - off), min(1.0, middle + off)), min(values))


def by_chance(only_one: int, only_other: int) -> float:
    """How often as large a difference as between these two counts comes by chance alone.

    They are the rows that one side has right and the other not, and the reverse (McNemar's test:
    exact where they are few).
    """
    both = only_one + only_other
    if not both:
        return 1.0
    if both > _COUNTED_TO:
        return erfc(max(0, abs(only_one - only_other) - 1) / sqrt(2 * both))
    fewer = min(only_one, only_other)
    one_tail: float = sum(comb(both, count) for count in range(fewer + 1)) / 2**both
    return min(1.0, 2 * one_tail)


# --- two answers ---


def kind_of(schema: Json | bool, root: Json) -> Kind:
    """How values that fit `schema` are compared, which is a part of `root`."""
    if isinstance(schema, bool):  # anything fits, or nothing does
        return "exact"
    for _ in range(len(root) + 8):  # a schema may refer to itself
        inner = _meant(schema, root)
        if inner is schema:
            break
        schema = inner
    if "enum" in schema or "const" in schema:
        return "exact"
    said = schema.get("type")
    kinds = set(said if isinstance(said, list) else [said]) - {"null"}
    if kinds == {"string"}:
        return "text"
    return "number" if "number" in kinds and kinds <= {"number", "integer"} else "exact"


def _meant(schema: Json, root: Json) -> Json:
    """What a reference leads to, and what may also be null without that; else `schema` itself."""
    name = schema.get("$ref")
    if isinstance(name, str) and name.startswith("#/"):
        found: Any = root
        for part in name.removeprefix("#/").split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else schema
    options = schema.get("anyOf")
    if isinstance(options, list):
        real = [option for option in options if option != {"type": "null"}]
        if len(real) == 1 and isinstance(real[0], dict):
            return real[0]
    return schema


def agree(one: Any, other: Any, *, kind: Kind, tolerance: float) -> bool:
    """Whether two values of a field are the same. `tolerance` is a share of the larger number."""
    if kind == "number" and _is_number(one) and _is_number(other):
        return isclose(one, other, rel_tol=tolerance, abs_tol=_NOTHING)
    return _same(one, other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal but for case and white space in their texts."""
    pairs = [(one, other)]  # not by recursion: answers nest as deep as they like
    while pairs:
        match pairs.pop():
            case (str() as left, str() as right):
                if normal(left) != normal(right):
                    return False
            case (list() as left, list() as right):
                if len(left) != len(right):
                    return False
                pairs += zip(left, right, strict=True)
            case (dict() as left, dict() as right):
                if left.keys() != right.keys():
                    return False
                pairs += ((left[name], right[name]) for name in left)
            case (left, right):
                if isinstance(left, bool) != isinstance(right, bool) or left != right:
                    return False
    return True


def normal(text: str) -> str:
    """A text without what makes no difference: case, width and composition of letters, and how
    much white space there is."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def similarity(one: Any, other: Any) -> float:
    """How alike two texts are, from 0 to 1: the pairs of neighbouring characters that they share
    (Dice's coefficient). What is no text is alike or not."""
    if not isinstance(one, str) or not isinstance(other, str):
        return float(_same(one, other))
    left, right = normal(one), normal(other)
    if left == right:
        return 1.0
    pairs = [Counter(pairwise(text)) for text in (left, right)]
    total = sum(found.total() for found in pairs)
    return 2 * (pairs[0] & pairs[1]).total() / total if total else 0.0


def cosine(one: Any, other: Any) -> float | None:
    """Of the angle between two lists of numbers, or objects of them; None where there is none."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = sorted(one.keys() | other.keys())
        one, other = ([each.get(name, 0.0) for name in names] for each in (one, other))
    if not _is_list(one) or not _is_list(other) or len(one) != len(other):
        return None
    left, right = _unit(one), _unit(other)
    if left is None or right is None:
        return None
    return max(-1.0, min(1.0, sum(x * y for x, y in zip(left, right, strict=True))))


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _unit(numbers: Sequence[float]) -> list[float] | None:
    """The same direction with the length 1; None: it has none."""
    largest = max(map(abs, numbers))
    if not largest:
        return None
    scaled = [number / largest for number in numbers]  # the squares of large ones are no floats
    length = sqrt(sum(number * number for number in scaled))
    return [number / length for number in scaled]
