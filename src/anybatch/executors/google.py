"""Google's credentials: the one file that knows google-auth.

It reads what a file of credentials says, signs, and knows whom to ask for a token. The asking goes
through our own HTTP client, and away from the event loop.
"""

import asyncio
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import google.auth
from google.auth.credentials import Credentials, TokenState
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from google.auth.exceptions import TransportError as Unreached
from google.auth.transport import Request

from ..errors import BadSettings, TransportError
from ..providers.flow import Reply
from .auth import is_loopback
from .http import fetch

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_LOGGED_IN = "application_default_credentials.json"
"""What `gcloud auth application-default login` writes, in its folder."""
_METADATA = "metadata.google.internal"
"""Who tells a machine of Google's what it may do."""
_FLAVOR = {"metadata-flavor": "Google"}
_TIMEOUT = timedelta(seconds=30)
_LOOK = timedelta(seconds=2)
"""So long we wait for somebody who may not be there."""
_WAY_OUT = (
    "run `gcloud auth application-default login`, or set {variable} to the path of a service "
    "account's key file"
)


def credentials_in(
    file: str | None, environment: Mapping[str, str], *, variable: str
) -> "GoogleCredentials":
    """The credentials in `file`, which `variable` names, or else those of this machine.

    Raises BadSettings where there are none.
    """
    if file is not None:
        return _read(Path(file), where=variable)
    logged_in = _logged_in(environment)
    if logged_in is not None and logged_in.exists():
        return _read(logged_in, where="gcloud")
    host = environment.get("GCE_METADATA_HOST") or _METADATA
    if environment.get("NO_GCE_CHECK", "").lower() != "true" and _is_there(host):
        return GoogleCredentials(_OfThisMachine(host), source="this machine's own account")
    raise BadSettings(f"there are no credentials of Google: {_WAY_OUT.format(variable=variable)}")


def _logged_in(environment: Mapping[str, str]) -> Path | None:
    """Where gcloud keeps the credentials of who has logged in."""
    folder, home = environment.get("CLOUDSDK_CONFIG"), environment.get("HOME")
    if folder:
        return Path(folder) / _LOGGED_IN
    return Path(home) / ".config" / "gcloud" / _LOGGED_IN if home else None


def _read(path: Path, *, where: str) -> "GoogleCredentials":
    try:
        if not isinstance(json.loads(path.read_bytes()), dict):
            raise ValueError("it is no JSON object")
        with warnings.catch_warnings():
            # It warns of files from strangers. This one is named by whoever runs us.
            warnings.simplefilter("ignore", DeprecationWarning)
            found, _ = google.auth.load_credentials_from_file(
                str(path), scopes=_SCOPES, request=_ask
            )
    except (DefaultCredentialsError, OSError, ValueError) as e:
        raise BadSettings(f"{where}: {str(path)!r} holds no credentials of Google: {e}") from e
    return GoogleCredentials(found, source=f"{str(path)!r}")


def _is_there(host: str) -> bool:
    """Whether this is a machine of Google's."""
    try:
        reply = fetch("GET", f"http://{host}/", headers=_FLAVOR, timeout=_LOOK, direct=True)
    except TransportError:
        return False
    return reply.headers.get("metadata-flavor") == "Google"


class GoogleCredentials:
    """See `auth.Credentials`. A token is had before the last one ends, by one caller for all."""

    def __init__(self, found: Credentials, *, source: str) -> None:
        self.source = source
        self._found = found
        self._lock = asyncio.Lock()  # guards the token: one caller renews it, the others wait

    @property
    def secret(self) -> str | None:
        return self._found.token

    async def headers(self) -> Mapping[str, str]:
        async with self._lock:
            if self._found.token_state is not TokenState.FRESH:
                await asyncio.to_thread(self._renew)
        headers: dict[str, str] = {}
        self._found.apply(headers)
        return headers

    def refused(self, headers: Mapping[str, str]) -> None:
        if headers.get("authorization") == f"Bearer {self._found.token}":
            self._found.token = None

    def _renew(self) -> None:
        """Ask for a token. The present one serves as long as it holds, where nobody answers."""
        try:
            self._found.refresh(_ask)
        except GoogleAuthError as e:
            said = f"no token for the credentials in {self.source}: {e.args[0] if e.args else e}"
            passes = isinstance(e, Unreached) or e.retryable
            if not passes:
                way_out = _WAY_OUT.format(variable="GOOGLE_APPLICATION_CREDENTIALS")
                raise BadSettings(f"{said}; {way_out}") from e
            if self._found.token_state is TokenState.INVALID:
                raise TransportError(said, sent=False) from e


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply as google-auth wants it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Ask(Request):
    """Calls of google-auth's, made by our client."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> _Answer:
        raw = body.encode() if isinstance(body, str) else body
        wait = _TIMEOUT if timeout is None else timedelta(seconds=timeout)
        direct = is_loopback(url)
        try:
            reply: Reply = fetch(
                method, url, body=raw, headers=headers or {}, timeout=wait, direct=direct
            )
        except TransportError as e:
            raise Unreached(str(e)) from e
        return _Answer(reply.status, reply.headers, reply.body)


_ask = _Ask()


class _OfThisMachine(Credentials):
    """The account that a machine, pod or function of Google's runs under.

    google-auth has the same, for which it wants another HTTP client.
    """

    def __init__(self, host: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        accounts = f"http://{host}/computeMetadata/v1/instance/service-accounts"
        self._url = f"{accounts}/default/token?scopes={','.join(_SCOPES)}"

    def refresh(self, request: Request) -> None:
        try:
            reply = fetch("GET", self._url, headers=_FLAVOR, timeout=_TIMEOUT, direct=True)
        except TransportError as e:
            raise Unreached(str(e)) from e
        if not reply.ok:
            passes = reply.status >= 500 or reply.status == 429
            raise RefreshError(f"HTTP {reply.status} from {self._url}", retryable=passes)
        try:
            said = json.loads(reply.body)
            token, seconds = str(said["access_token"]), float(said["expires_in"])
        except (ValueError, LookupError, TypeError) as e:
            raise RefreshError(f"no token in the answer of {self._url}", retryable=True) from e
        self.token = token
        # google-auth's own times are in UTC and do not say so.
        self.expiry = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)
