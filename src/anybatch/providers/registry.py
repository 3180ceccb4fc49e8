"""Finding a provider by name: ours, yours from `anybatch.toml`, or any address."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..core.model import Api
from ..errors import BadSettings
from . import compatible
from .anthropic import ANTHROPIC
from .asked import check_said, said_of
from .azure import AZURE
from .compatible import DOUBLEWORD, GROQ
from .gemini import GEMINI
from .local import LOCAL
from .mistral import MISTRAL
from .openai import OPENAI
from .provider import Provider
from .together import TOGETHER
from .vertex import VERTEX

BUILT_IN: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        LOCAL,
        OPENAI,
        ANTHROPIC,
        GEMINI,
        VERTEX,
        AZURE,
        GROQ,
        TOGETHER,
        MISTRAL,
        DOUBLEWORD,
    )
}

NOTHING: Mapping[str, str] = {}
_NUMBER = (int, "a whole number above 0")
_KINDS: Mapping[str, tuple[type, str]] = {
    "base_url": (str, "a text such as 'https://host/v1'"),
    "key_env": (str, "the name of an environment variable, or '' for none"),
    "concurrency": _NUMBER,
    "rpm": _NUMBER,
    "tpm": _NUMBER,
    "batch_requests": _NUMBER,
    "parameters": (dict, "a table"),
}
"""What a [providers.NAME] table may have."""

WRITTEN_BY_US = frozenset(("model", "messages", "input", "prompt", "instructions", "stream"))
"""Fields of a body that no parameter may replace."""


def find(
    name: str,
    *,
    configured: Mapping[str, Mapping[str, Any]],
    base_url: str | None = None,
    environment: Mapping[str, str] = NOTHING,
    offline: bool = False,
) -> Provider:
    """The provider called `name`. With `base_url`, any name goes to that address.

    Raises BadSettings for a name nobody knows, and for one without an address unless all is to be
    done `offline`.
    """
    known = BUILT_IN.get(name)
    if base_url is not None:
        base_url = checked_url(base_url, where="--base-url")
        found = _at(base_url, name=name, known=known)
    elif known is not None:
        found = known
    elif name in configured and "base_url" in configured[name]:
        found = compatible.at("", name=name, key_env=_key_variable(name))
    else:
        raise BadSettings(_unknown(name, configured))
    table = configured.get(name, {})
    found = _with_settings(found, table, keep_url=base_url is not None)
    if found.placed is not None:
        where = _where(found)
        said = said_of(found.asks, table=table, where=where, environment=environment)
        found = found.placed(found, said)
    found = _by_token(found, environment)
    if not offline:
        check_said(name, found.lacks)
    return found


def _by_token(found: Provider, environment: Mapping[str, str]) -> Provider:
    """`found`, called with a token if there is one and no key, as the official SDKs have it."""
    if found.token_env is None or not environment.get(found.token_env, "").strip():
        return found
    if environment.get(found.key_env or "", "").strip():
        return found
    return replace(found, key_env=found.token_env, token_env=None, auth="authorization")


def default_api(name: str) -> Api:
    """The api that is meant where only a provider is named."""
    known = BUILT_IN.get(name)
    return OPENAI.apis[0] if known is None else known.apis[0]


def _at(base_url: str, *, name: str, known: Provider | None) -> Provider:
    """What answers at `base_url`: it speaks as `name` does, OpenAI's wire if nobody knows."""
    if known is None:
        return compatible.at(base_url, name=name, key_env=_key_variable(name))
    if known.base_url is None:
        return compatible.at(base_url, name=name, key_env=None)
    likes_prefixes = known.apis[0].startswith("openai.")
    return replace(known, base_url=base_url, groups_prefixes=likes_prefixes, schemas=None)


def _with_settings(found: Provider, table: Mapping[str, Any], *, keep_url: bool) -> Provider:
    where, asked = _where(found), {asked.name for asked in found.asks}
    unknown = sorted(table.keys() - _KINDS.keys() - asked)
    if unknown:
        known = ", ".join([*_KINDS, *sorted(asked)])
        raise BadSettings(f"{where} has {unknown[0]!r}; it may have {known}")
    changes = {key: value for key, value in table.items() if key in _KINDS}
    for key, value in changes.items():
        kind, words = _KINDS[key]
        too_small = type(value) is int and value < 1
        if type(value) is not kind or too_small:
            raise BadSettings(f"{where}: {key} must be {words}, not {value!r}")
    taken = sorted(WRITTEN_BY_US.intersection(changes.get("parameters", ())))
    if taken:
        raise BadSettings(
            f"{where}: parameters may not have {taken[0]!r}, which follows from what is asked"
        )
    if "base_url" in changes:
        changes["base_url"] = checked_url(changes["base_url"], where=where)
    if keep_url:
        changes.pop("base_url", None)
    if "key_env" in changes:
        changes["token_env"] = None  # what is named is what is meant
    if changes.get("key_env") == "":
        changes["key_env"] = None
    most = changes.pop("batch_requests", None)
    if most is not None and found.batch is not None:
        limits = replace(
            found.batch.limits, max_requests=min(most, found.batch.limits.max_requests)
        )
        changes["batch"] = replace(found.batch, limits=limits)
    return replace(found, **changes)


def _where(provider: Provider) -> str:
    return f"[providers.{provider.name}] in anybatch.toml"


def checked_url(url: str, *, where: str) -> str:
    """`url` without its last slash, if it is an HTTP address that a path can be joined to."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or any(c.isspace() or not c.isprintable() for c in url):
        raise BadSettings(f"{where}: {url!r} is not an address; write it as https://host/v1")
    if parts.username is not None:
        raise BadSettings(
            f"{where}: the address of {parts.hostname!r} has a name or password in it, which would "
            "be stored; put the key in the environment"
        )
    if parts.query or parts.fragment:
        raise BadSettings(f"{where}: {url!r} must end in its path, such as /v1, without ? or #")
    return url.rstrip("/")


def _key_variable(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.upper()) + "_API_KEY"


def _unknown(name: str, configured: Mapping[str, Any]) -> str:
    names = ", ".join([*BUILT_IN, *(n for n in configured if n not in (*BUILT_IN, name))])
    return (
        f"there is no provider {name!r}; there are {names}. For another service give --base-url, "
        f"or put its base_url under [providers.{name}] in anybatch.toml"
    )
