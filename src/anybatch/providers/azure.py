"""Azure OpenAI: OpenAI's Batch API at an address of your own, in its new and its classic form.

A model is named by its deployment. An upload has to be read by the service before a batch may be
made of it, and a batch that is late is not given up. The classic form says the version of the API
with every call.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from msgspec import structs

from ..core.model import Api, Failure
from ..wire import openai_batch as lines
from ..wire.apis import path_of
from ..wire.batch import RemoteBatch
from ..wire.openai import read_failure
from . import openai
from .asked import Asked
from .flow import Call, Flow, Refused, Upload, changed, read
from .openai import BATCHES, OPENAI
from .openai_rules import rules_under
from .provider import Provider, Submission, Tiers

P = ParamSpec("P")
T = TypeVar("T")

_READ = "processed"
_UNREADABLE = frozenset(("error", "failed", "cancelled", "deleted"))
_PAUSES = (0, 1, 2, 4, 8, 15, 15, 15)
"""Seconds before each look at an upload, until the service has read it."""


def upload(file: Upload) -> Flow[str]:
    """Send the requests, and wait a minute at most for the service to read them; their id."""
    sent = yield from openai.upload(file)
    for pause in _PAUSES:
        if (yield from _status(sent, pause=pause)) is None:
            break
    return sent


def create(submission: Submission, *, root: str = lines.ROOT) -> Flow[RemoteBatch]:
    """Submit what was uploaded, if the service has read it by now."""
    assert submission.file is not None
    status = yield from _status(submission.file)
    if status is not None:
        why = Failure(message=f"the service has not read the upload yet: it is {status!r}")
        raise Refused("server_error", why, status=200)
    return (yield from openai.create(submission, root=root))


def _status(file: str, *, pause: int = 0) -> Flow[str | None]:
    """How far the service is with an upload, in its own word; None: it has read it.

    Raises Refused where it never will.
    """
    path = f"/files/{quote(file, safe='')}"
    reply = yield Call(method="GET", path=path, pause=timedelta(seconds=pause))
    status = read(reply, lines.read_file_status, failure=read_failure)
    if status in _UNREADABLE:
        why = Failure(message=f"the service cannot use the upload: it is {status!r}")
        raise Refused("bad_request", why, status=reply.status)
    return None if status == _READ else status


# --- where it is, and in which form ---------------------------------------------------------------

_RESOURCE = Asked(
    name="resource_url",
    form=r"https?://[A-Za-z0-9.\[\]:-]+/?",
    words="the address of your resource, such as 'https://mine.openai.azure.com'",
    variable="AZURE_OPENAI_ENDPOINT",
)
_VERSION = Asked(
    name="api_version",
    form=r"20\d\d-\d\d-\d\d(-preview)?",
    words="a version of the classic API, such as '2024-10-21'",
    variable="OPENAI_API_VERSION",
)
"""Variables as the official SDK 3.51 has them, checked 2026-11-20."""

_BLANK = "https://RESOURCE.openai.azure.com/openai/v1"


def placed(found: Provider, said: Mapping[str, str]) -> Provider:
    """`found` where its caller says it is, in the classic form if a version is said."""
    address, version = said.get(_RESOURCE.name), said.get(_VERSION.name)
    if version is not None:
        found = _classic(found, version)
    if found.base_url != _BLANK:
        return replace(found, lacks=())
    if address is None:
        return found
    tree = "/openai" if version is not None else "/openai/v1"
    return replace(found, base_url=address.rstrip("/") + tree, lacks=())


_FLOWS = (
    *("upload", "find_upload", "list_uploads", "list_results", "listed", "find"),
    *("poll", "fetch", "cancel", "delete"),
)


def _classic(found: Provider, version: str) -> Provider:
    assert found.batch is not None
    flows: dict[str, Any] = {
        name: _versioned(getattr(found.batch, name), version) for name in _FLOWS
    }
    batch = replace(
        found.batch,
        **flows,
        create=_versioned(partial(create, root=""), version),
        write_request=partial(lines.write_request, root=""),
        rules=rules_under(""),
    )
    return replace(found, path_of=partial(classic_path_of, version=version), batch=batch)


def _versioned(flow: Callable[P, Flow[T]], version: str) -> Callable[P, Flow[T]]:
    """The same conversation, with the version behind every address."""

    def talk(*given: P.args, **named: P.kwargs) -> Flow[T]:
        return (yield from changed(flow(*given, **named), partial(_with_version, version=version)))

    return talk


def _with_version(call: Call, version: str) -> Call:
    joint = "&" if "?" in call.path else "?"
    return structs.replace(call, path=f"{call.path}{joint}api-version={version}")


def classic_path_of(api: Api, model: str, *, version: str) -> str:
    """Where a body goes in real time: most apis stand under the deployment."""
    path = path_of(api, model)
    if api != "openai.responses":
        path = f"/deployments/{quote(model, safe='')}{path}"
    return f"{path}?api-version={version}"


AZURE = replace(
    OPENAI,
    name="azure",
    base_url=_BLANK,
    key_env="AZURE_OPENAI_API_KEY",
    auth="api-key",
    batch=replace(
        BATCHES,
        window=None,
        retention=None,
        source="learn.microsoft.com, batch how-to and REST reference of v1, checked 2026-11-20",
        upload=upload,
        create=create,
    ),
    tiers=Tiers(
        names=frozenset(("standard", "batch")),
        source="learn.microsoft.com, kinds of deployments, checked 2026-11-20",
    ),
    asks=(_RESOURCE, _VERSION),
    placed=placed,
    lacks=(_RESOURCE,),
)
"""50,000 rows a batch, as the REST reference says; the how-to says 100,000. A resource holds 500
files that have no date to expire at, so ours are deleted as soon as their results are here."""
