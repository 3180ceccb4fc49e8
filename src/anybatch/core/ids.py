"""The names that requests carry on a wire: ours, so that no answer can land on a wrong row."""

import re
from collections.abc import Iterable
from hashlib import blake2b

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID = re.compile(r"r([0-9a-z]{1,13})-[0-9a-f]{8}")
_PACK_ID = re.compile(r"p([0-9a-z]{1,13})-[0-9a-f]{8}")


def custom_id(run_id: str, n: int, body: bytes) -> str:
    """The name of request `n`, within `[A-Za-z0-9_-]{1,64}`: its number and a digest of its body.

    The digest is keyed by the run: an answer that belongs to another run, or to another body, does
    not fit.
    """
    digest = blake2b(body, digest_size=4, key=run_id.encode()).hexdigest()
    return f"r{_base36(n)}-{digest}"


def pack_id(run_id: str, n: int, bodies: Iterable[bytes]) -> str:
    """The name of a call that asks several requests, of which `n` is the first.

    It goes by what they are, and not by how they are put together: that may have changed between a
    submission and its results.
    """
    digest = blake2b(digest_size=4, key=run_id.encode())
    for body in bodies:
        digest.update(body)
    return f"p{_base36(n)}-{digest.hexdigest()}"


def first_in(name: str) -> int | None:
    """The number of the first request that a `pack_id` claims to name; None if it is none."""
    match = _PACK_ID.fullmatch(name)
    return int(match[1], 36) if match is not None else None


def number_in(name: str) -> int | None:
    """The number that a `custom_id` claims to name; None if it is none of ours."""
    match = _ID.fullmatch(name)
    return int(match[1], 36) if match is not None else None


def _base36(n: int) -> str:
    digits = ""
    while True:
        n, digit = divmod(n, 36)
        digits = _DIGITS[digit] + digits
        if n == 0:
            return digits
