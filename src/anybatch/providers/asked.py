"""What only its caller can say of a service: its settings, or variables of the environment."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import BadSettings


class Asked(NamedTuple):
    """Something that only its caller can say of a service."""

    name: str
    """What it is called in the service's table in `anybatch.toml`."""
    form: str
    """A regular expression that all of it fits."""
    words: str
    """What it is, for people."""
    variable: str
    """The environment variable that says it where the table does not."""


def said_of(
    asks: Iterable[Asked],
    *,
    table: Mapping[str, Any],
    where: str,
    environment: Mapping[str, str],
) -> dict[str, str]:
    """What is said in `table`, which is to be found `where`, or in the environment, by its name.

    Raises BadSettings for what cannot be.
    """
    said: dict[str, str] = {}
    for asked in asks:
        value = table.get(asked.name)
        place = where
        if value is None:
            value, place = environment.get(asked.variable, "").strip(), asked.variable
        if value == "" and asked.name not in table:
            continue
        if not isinstance(value, str) or not re.fullmatch(asked.form, value):
            raise BadSettings(f"{place}: {asked.name} must be {asked.words}, not {value!r}")
        said[asked.name] = value
    return said


def check_said(provider: str, lacks: Iterable[Asked]) -> None:
    """Raise BadSettings for the first thing that nobody has said, with the way out."""
    for asked in lacks:
        raise BadSettings(
            f"provider {provider!r} needs a {asked.name}, {asked.words}: put it under "
            f"[providers.{provider}] in anybatch.toml, or set the environment variable "
            f"{asked.variable}"
        )
