"""Where a provider's key comes from: the environment, and nowhere else."""

from collections.abc import Mapping
from hashlib import blake2b
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..core.model import Json
from ..errors import BadSettings
from ..providers.provider import Provider


def key_for(provider: Provider, environment: Mapping[str, str]) -> str | None:
    """The key of `provider`, None if it needs none. Raises BadSettings when it is missing.

    An address on this machine is taken to need no key unless one is set.
    """
    if provider.key_env is None:
        return None
    key = environment.get(provider.key_env, "").strip()
    if not key:
        if is_on_this_machine(provider):
            return None
        raise BadSettings(
            f"provider {provider.name!r} needs a key: "
            f"set the environment variable {provider.key_env}"
        )
    if not (key.isascii() and key.isprintable()):
        raise BadSettings(
            f"the environment variable {provider.key_env} holds characters that no key has, "
            "such as a line break; set it again"
        )
    return key


def is_on_this_machine(provider: Provider) -> bool:
    """Whether `provider` answers here: in this process, or at a loopback address."""
    return provider.base_url is None or is_loopback(provider.base_url)


def is_loopback(url: str) -> bool:
    """Whether `url` leads to this machine and no further."""
    host = None
    try:
        host = urlsplit(url).hostname
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def account_of(provider: Provider, key: str | None) -> str | None:
    """A word for whose account a key opens, which does not tell the key; None without one."""
    if key is None:
        return None
    return blake2b(
        f"{provider.base_url} {key}".encode(), digest_size=4, key=b"anybatch"
    ).hexdigest()


def headers_for(provider: Provider, key: str | None, parameters: Json) -> dict[str, str]:
    """What every call carries: the key, where there is one, and what the service wants besides."""
    headers = dict(provider.headers(parameters))
    if key is not None:
        bearer = provider.auth == "authorization"
        headers[provider.auth] = f"Bearer {key}" if bearer else key
    return headers


def redacted(body: bytes, key: str | None) -> bytes:
    """`body` without the key, should a service have echoed it."""
    # Less is a stand-in for services that take any key, and may be a common word.
    if key is None or len(key) < 8:
        return body
    return body.replace(key.encode(), "…".encode())
