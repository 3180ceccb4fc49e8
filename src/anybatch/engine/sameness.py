"""What makes a run the same as another: a digest of each thing that is asked, and of all."""

from hashlib import blake2b

import msgspec

from ..core.model import Run, Spec
from ..errors import BadSettings

TOOL = "anybatch"
"""The part of a run that says which version of ours planned it. It makes it no other run."""
_ENCODER = msgspec.json.Encoder()


def parts_of(spec: Spec, data: str) -> dict[str, str]:
    """A digest for each thing that makes a run what it is. `data` is the dataset's.

    Raises BadSettings for what is no text.
    """
    said = msgspec.to_builtins(spec)
    if spec.pack == 1:
        del said["pack"]  # a run that was planned before there were packs asked the same
    return {"data": data, **{name: _digest(_encoded(name, said[name])) for name in sorted(said)}}


def _encoded(name: str, value: object) -> bytes:
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError as e:
        raise BadSettings(
            f"{name.replace('_', ' ')!r} holds {e.object[e.start]!r}, half a character, which no "
            "UTF-8 text can hold. Write it anew, or save its file as UTF-8"
        ) from e


def fingerprint(parts: dict[str, str]) -> str:
    """One digest for all the parts: equal for runs that would ask the same."""
    return _digest(_ENCODER.encode(sorted(parts.items())))


def changed(run: Run, parts: dict[str, str]) -> list[str]:
    """The names of the parts that differ from those of an earlier run."""
    names = dict.fromkeys((*parts, *run.parts.keys() & {"pack"}))
    return [name for name in names if name != TOOL and run.parts.get(name) != parts.get(name)]


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
