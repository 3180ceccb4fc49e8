"""Where a provider's key comes from: the environment, and nowhere else."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from ..core.model import Spec
from ..errors import BadSettings, MissingExtra
from ..providers.provider import Provider


class Credentials(Protocol):
    """A key that is made anew now and then: a token that holds for an hour."""

    source: str
    """Where they are from, for people."""

    @property
    def secret(self) -> str | None:
        """The present token; None: there is none yet."""

    async def headers(self) -> Mapping[str, str]:
        """What a call carries now. Raises TransportError, or BadSettings where nobody can help."""

    def refused(self, headers: Mapping[str, str]) -> None:
        """A service did not take these: the next call gets others."""


Key = str | Credentials


def key_for(provider: Provider, environment: Mapping[str, str]) -> Key | None:
    """The key of `provider`, None if it needs none. Raises BadSettings when it is missing.

    An address on this machine is taken to need no key unless one is set.
    """
    if provider.key_env is None:
        return None
    key = environment.get(provider.key_env, "").strip()
    if provider.auth == "google":
        return _from_google(provider, key, environment)
    if not key:
        if is_on_this_machine(provider):
            return None
        token = f", or {provider.token_env}" if provider.token_env is not None else ""
        raise BadSettings(
            f"provider {provider.name!r} needs a key: "
            f"set the environment variable {provider.key_env}{token}"
        )
    if not (key.isascii() and key.isprintable()):
        raise BadSettings(
            f"the environment variable {provider.key_env} holds characters that no key has, "
            "such as a line break; set it again"
        )
    return key


def _from_google(
    provider: Provider, file: str, environment: Mapping[str, str]
) -> Credentials | None:
    """The credentials in `file`, else those that Google's tools have left on this machine."""
    if not file and is_on_this_machine(provider):
        return None
    try:
        from .google import credentials_in
    except ImportError as e:
        raise MissingExtra(f"provider {provider.name!r}", extra="vertex") from e
    return credentials_in(file or None, environment, variable=provider.key_env or "")


def renewable(key: Key | None) -> Credentials | None:
    """`key`, if each call has to ask it what to carry."""
    return None if isinstance(key, str) else key


def is_on_this_machine(provider: Provider) -> bool:
    """Whether `provider` answers here: in this process, or at loopback addresses."""
    if provider.base_url is None:
        return True
    return all(map(is_loopback, (provider.base_url, *provider.hosts.values())))


def is_loopback(url: str) -> bool:
    """Whether `url` leads to this machine and no further."""
    host = None
    try:
        host = urlsplit(url).hostname
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def account_of(provider: Provider, key: Key | None) -> str | None:
    """Words for whose account a key opens, which do not tell the key; None where nothing says it.

    Where keys are made anew, the account is the project that the address names: whoever may use it
    sees the same batches. What else says whose it is stands behind, such as `organization=org-1`.
    """
    scope = [f"{name}={value}" for name, value in provider.scope.items()]
    if key is None:
        return " ".join([_NO_KEY, *scope]) if scope else None
    said = key if isinstance(key, str) else ""
    opened = blake2b(
        f"{provider.base_url} {said}".encode(), digest_size=4, key=b"anybatch"
    ).hexdigest()
    return " ".join([opened, *scope])


_NO_KEY = "none"


def differing(one: str | None, other: str | None) -> str:
    """In what two accounts differ, for people: with what it is in `one` and in the `other`."""
    before, present = _parts(one), _parts(other)
    names = [name for name in (*before, *present) if before.get(name) != present.get(name)]
    return " and ".join(
        f"{_WORDS.get(name, name)} ({before.get(name, _NO_KEY)}; the present one is "
        f"{present.get(name, _NO_KEY)})"
        for name in dict.fromkeys(names)
    )


_WORDS: Mapping[str, str] = {"key": "key, or at another address"}


def _parts(account: str | None) -> dict[str, str]:
    """What an account is made of, by name."""
    opened, *scope = (account or _NO_KEY).split(" ")
    return {"key": opened, **dict(part.split("=", 1) for part in scope)}


def headers_for(provider: Provider, key: Key | None, spec: Spec | None = None) -> dict[str, str]:
    """What every call carries: a key that stays, and what the service wants besides for what a run
    asks, if the calls are one's."""
    parameters = {} if spec is None else spec.parameters
    is_ready_made = spec is not None and spec.prompt is None
    headers = {**provider.headers(None if is_ready_made else parameters), **provider.scope_headers}
    if isinstance(key, str):
        bearer = provider.auth == "authorization"
        headers[provider.auth] = f"Bearer {key}" if bearer else key
    return headers


def redacted(body: bytes, key: Key | None) -> bytes:
    """`body` without the key, should a service have echoed it."""
    secret = _secret_of(key)
    return body if secret is None else body.replace(secret.encode(), "…".encode())


def holds_key(body: bytes, key: Key | None) -> bool:
    """Whether any text in a JSON body has the key in it, however it is escaped there."""
    secret = _secret_of(key)
    return secret is not None and any(secret in text for text in _texts(msgspec.json.decode(body)))


def _secret_of(key: Key | None) -> str | None:
    secret = key if key is None or isinstance(key, str) else key.secret
    # Less is a stand-in for services that take any key, and may be a common word.
    return None if secret is None or len(secret) < 8 else secret


def _texts(value: object) -> Iterator[str]:
    """All texts in a JSON value, and those that are JSON in their turn once more."""
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield text
                if text[:1] in ("{", "[", '"'):
                    with suppress(ValueError, RecursionError):
                        left.append(msgspec.json.decode(text))
            case dict(fields):
                left += [*fields, *fields.values()]
            case list(items):
                left += items
