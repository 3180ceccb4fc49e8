"""Finding a provider by name: ours, yours from `anybatch.toml`, or any address."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..errors import BadSettings
from . import compatible
from .compatible import DOUBLEWORD, GROQ, MISTRAL, TOGETHER
from .local import LOCAL
from .openai import OPENAI
from .provider import Provider

BUILT_IN: Mapping[str, Provider] = {
    provider.name: provider for provider in (LOCAL, OPENAI, GROQ, TOGETHER, MISTRAL, DOUBLEWORD)
}

_SETTABLE = ("base_url", "key_env", "concurrency", "rpm", "tpm", "parameters")


def find(
    name: str, *, configured: Mapping[str, Mapping[str, Any]], base_url: str | None = None
) -> Provider:
    """The provider called `name`. With `base_url`, any name goes to that address.

    Raises BadSettings for a name nobody knows.
    """
    known = BUILT_IN.get(name)
    if base_url is not None:
        base_url = checked_url(base_url, where="--base-url")
        key_env = known.key_env if known is not None else _key_variable(name)
        found = compatible.at(base_url, name=name, key_env=key_env)
    elif known is not None:
        found = known
    elif name in configured and "base_url" in configured[name]:
        found = compatible.at("", name=name, key_env=_key_variable(name))
    else:
        raise BadSettings(_unknown(name, configured))
    return _with_settings(found, configured.get(name, {}), keep_url=base_url is not None)


def _with_settings(found: Provider, table: Mapping[str, Any], *, keep_url: bool) -> Provider:
    changes = dict(table)
    where = f"[providers.{found.name}] in anybatch.toml"
    unknown = sorted(set(changes) - set(_SETTABLE))
    if unknown:
        raise BadSettings(f"{where} has {unknown[0]!r}; it may have {', '.join(_SETTABLE)}")
    types = {field.name: field.type for field in fields(Provider)}
    for key, value in changes.items():
        if "int" in str(types[key]) and (type(value) is not int or value < 1):
            raise BadSettings(f"{where}: {key} must be a whole number above 0, not {value!r}")
    if "base_url" in changes:
        changes["base_url"] = checked_url(str(changes["base_url"]), where=where)
    if keep_url:
        changes.pop("base_url", None)
    return replace(found, **changes)


def checked_url(url: str, *, where: str) -> str:
    """`url` without its last slash, if it is an HTTP address."""
    if not url.startswith(("http://", "https://")) or len(url.split("//", 1)[1]) == 0:
        raise BadSettings(f"{where}: {url!r} is not an address; write it as https://host/v1")
    return url.rstrip("/")


def _key_variable(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.upper()) + "_API_KEY"


def _unknown(name: str, configured: Mapping[str, Any]) -> str:
    names = ", ".join([*BUILT_IN, *(n for n in configured if n not in BUILT_IN)])
    return (
        f"there is no provider {name!r}; there are {names}. For another service give --base-url, "
        f"or put its base_url under [providers.{name}] in anybatch.toml"
    )
