"""Vertex AI: addresses, limits and the conversations of batch prediction over a bucket.

Requests and results are objects in a bucket of the caller's own, and that is another service at
another host. What we put there is `anybatch-….jsonl`; the job that is made of it writes to the
folder beside it, `anybatch-….results`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

from msgspec import structs

from ..core.marks import batch_in
from ..core.model import Api, Failure
from ..core.plan import Limits
from ..core.states import Outcome
from ..wire import gcs, gemini
from ..wire import vertex_batch as lines
from ..wire.batch import RemoteBatch
from ..wire.gcs import Place
from ..wire.gemini import read_failure
from . import schemas
from .asked import Asked
from .flow import (
    BEGUN_ANEW,
    SLACK,
    Call,
    Flow,
    ReadFailure,
    Refused,
    Reply,
    Upload,
    accept,
    paged,
    read,
)
from .provider import BatchApi, Provider, Submission, Tiers, Uploaded
from .vertex_rules import RULES

_STORAGE = "storage"
"""What the bucket's host is called here."""
_PART = 128 * gcs.GRAIN
"""So many bytes of an upload are sent at a time: what is lost is no more than that."""
_GONE = (404, 410)
"""Refusals of bytes, where the upload they are for is not known any more."""
_OVER = (400, 404, 409)
"""Refusals to cancel what has ended."""
_RESULTS = ".results"
_OVERHEAD = 96
"""Bytes that a line adds to its body at most: its name, its braces, an embedding's settings."""
_LABEL = "anybatch"
"""Under this label a job bears our mark in the project's bills, too."""


# --- the bucket ---------------------------------------------------------------------------------


def upload(folder: Place, file: Upload) -> Flow[str]:
    """Announce the requests, then send them part by part; where they lie.

    Bytes that are sent again after a lost answer are passed over by the service, and one that has
    all of them already says so.
    """
    place = Place(folder.bucket, folder.name + file.name)
    size = file.path.stat().st_size
    sent = yield from _sent(file, place, size)
    for _ in range(BEGUN_ANEW):
        if sent.status in _GONE:
            sent = yield from _sent(file, place, size)
    kept = read(sent, gcs.read_object, failure=_about(place.uri))
    if kept.size is not None and kept.size != size:
        said = Failure(message=f"{place.uri} has {kept.size:,} bytes of {size:,}")
        raise Refused("server_error", said, status=sent.status)
    return place.uri


def _sent(file: Upload, place: Place, size: int) -> Flow[Reply]:
    """The reply to the last part of an upload that was begun for it."""
    announced = yield Call(
        method="POST",
        path=gcs.start_path(place),
        host=_STORAGE,
        body=b"{}",
        headers=gcs.start_headers(size),
    )
    accept(announced, failure=_about(f"gs://{place.bucket}"))
    address = announced.headers.get(gcs.UPLOAD_ADDRESS)
    if address is None:
        said = Failure(message="the bucket does not say where to upload to")
        raise Refused("server_error", said, status=announced.status)
    start = 0
    for _ in range(2 * (size // _PART + 1)):
        length = max(0, min(_PART, size - start))
        reply = yield Call(
            method="PUT",
            path=address,
            host=_STORAGE,
            upload=structs.replace(file, start=start, length=length),
            headers=gcs.part_headers(start=start, length=length, size=size),
        )
        if reply.status != gcs.INCOMPLETE:
            return reply
        start = gcs.received(reply.headers)
    said = Failure(message=f"{place.uri} takes no more bytes after {start:,} of {size:,}")
    raise Refused("server_error", said, status=gcs.INCOMPLETE)


def find_upload(folder: Place, name: str) -> Flow[list[str]]:
    """Where the object lies that we called so, if it does."""
    return [file.id for file in (yield from list_uploads(folder, name)) if file.name == name]


def list_uploads(folder: Place, prefix: str) -> Flow[list[Uploaded]]:
    """All objects whose name begins so; what a job wrote goes by the name of its upload."""
    kept = yield from _objects(Place(folder.bucket, folder.name + prefix))
    return [Uploaded(place.uri, _upload_of(place.name[len(folder.name) :])) for place in kept]


def _upload_of(name: str) -> str:
    upload, in_results, _ = name.partition(f"{_RESULTS}/")
    return f"{upload}.jsonl" if in_results else name


def _objects(prefix: Place) -> Flow[list[Place]]:
    listed = yield from paged(
        partial(gcs.list_path, prefix),
        gcs.read_objects,
        failure=_about(f"gs://{prefix.bucket}"),
        host=_STORAGE,
    )
    return [found.place for found in listed]


def fetch(uri: str, to: Path) -> Flow[None]:
    """Download an object."""
    path = gcs.content_path(_place(uri))
    reply = yield Call(method="GET", path=path, host=_STORAGE, download=to)
    accept(reply, failure=_about(uri))


def delete(uri: str) -> Flow[None]:
    """Delete an object, and with an upload what its job has written beside it."""
    place = _place(uri)
    if batch_in(place.name.rpartition("/")[2]) is not None:
        for result in (yield from _objects(Place(place.bucket, f"{_stem(place.name)}/"))):
            yield from _deleted(result)
    yield from _deleted(place)


def _deleted(place: Place) -> Flow[None]:
    reply = yield Call(method="DELETE", path=gcs.object_path(place), host=_STORAGE)
    if reply.status != 404:
        accept(reply, failure=_about(place.uri))


def _stem(name: str) -> str:
    """The folder beside an upload."""
    return name.removesuffix(".jsonl") + _RESULTS


def _place(uri: str) -> Place:
    place = gcs.read_uri(uri)
    if place is None:
        said = Failure(message=f"{uri!r} is no object in a bucket")
        raise Refused("server_error", said, status=200)
    return place


def _about(what: str) -> ReadFailure:
    """Reads refusals and says of what: a project has many buckets, which are easily mistaken."""

    def failure(status: int, body: bytes) -> tuple[Outcome, Failure]:
        outcome, said = read_failure(status, body)
        return outcome, structs.replace(said, message=f"{what}: {said.message}")

    return failure


# --- the jobs -----------------------------------------------------------------------------------


def create(submission: Submission) -> Flow[RemoteBatch]:
    """Submit what was uploaded."""
    assert submission.file is not None
    assert submission.model is not None
    asked = lines.Create(
        intent=submission.intent,
        model=lines.resource_of(submission.model),
        input_file=submission.file,
        output_prefix=_stem(submission.file),
        labels={_LABEL: submission.intent},
    )
    reply = yield Call(method="POST", path=lines.PATH, body=lines.write_create(asked), once=True)
    return read(reply, lines.read_batch, failure=read_failure)


def listed(since: datetime) -> Flow[list[RemoteBatch]]:
    """All jobs made since."""
    moment = (since - SLACK).astimezone(UTC).isoformat(timespec="seconds")
    return (yield from _listed(f'create_time>="{moment.replace("+00:00", "Z")}"'))


def find(submission: Submission, since: datetime) -> Flow[list[RemoteBatch]]:
    """All jobs that bear our mark as their name."""
    seen = yield from _listed(f'display_name="{submission.intent}"')
    return [batch for batch in seen if batch.intent == submission.intent]


def _listed(wanted: str) -> Flow[list[RemoteBatch]]:
    path = f"{lines.PATH}?pageSize=100&filter={quote(wanted, safe='')}"

    def page(token: str | None) -> str:
        return path if token is None else f"{path}&pageToken={quote(token, safe='')}"

    return (yield from paged(page, lines.read_batches, failure=read_failure))


def poll(name: str) -> Flow[RemoteBatch]:
    """How the job is; once it has ended, with all objects that hold its results."""
    reply = yield Call(method="GET", path=_job(name))
    job = read(reply, lines.read_batch, failure=read_failure)
    return structs.replace(job, results=(yield from _results(job)))


def _results(job: RemoteBatch) -> Flow[tuple[str, ...]]:
    """The objects in the folder of a job's results. Raises Refused where there should be some.

    A job that failed may have done so for want of the bucket.
    """
    folder = gcs.read_uri(f"{job.results[0].rstrip('/')}/") if job.results else None
    if folder is None:
        return ()
    try:
        kept = yield from _objects(folder)
    except Refused:
        if job.problems:
            return ()
        raise
    found = [place.uri for place in kept if place.name.endswith(".jsonl")]
    if not found and job.status.endswith("SUCCEEDED"):
        said = Failure(message=f"the job has succeeded, and there is nothing in {folder.uri}")
        raise Refused("missing_result", said, status=404)
    return tuple(sorted(found, key=_is_partial))


def _is_partial(uri: str) -> tuple[bool, str]:
    """Whether a file may hold less than others: of two answers to a row the first counts."""
    return not uri.rpartition("/")[2].startswith("predictions"), uri


def cancel(name: str) -> Flow[RemoteBatch]:
    """Ask for an end; how the job is now. One that is over already is simply that."""
    reply = yield Call(method="POST", path=f"{_job(name)}:cancel", body=b"{}")
    if reply.status not in _OVER:
        accept(reply, failure=read_failure)
    return (yield from poll(name))


def _job(name: str) -> str:
    """The address of a job, whose name may give the project's number instead of its id."""
    return f"{lines.PATH}/{quote(name.rpartition('/')[2], safe='')}"


# --- where it is --------------------------------------------------------------------------------

_PROJECT = Asked(
    name="project",
    form=r"[a-z0-9][a-z0-9.:-]{0,62}",
    words="the id of a Google Cloud project",
    variable="GOOGLE_CLOUD_PROJECT",
)
_LOCATION = Asked(
    name="location",
    form=r"[a-z][a-z0-9-]{0,62}",
    words="the name of a place such as 'us-central1', or 'global'",
    variable="GOOGLE_CLOUD_LOCATION",
)
_BUCKET = Asked(
    name="bucket",
    form=r"(gs://)?[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[\w.=-]+)*/?",
    words="the name of a Cloud Storage bucket (a folder in it may follow behind a /)",
    variable="GOOGLE_CLOUD_STORAGE_BUCKET",
)
_STORAGE_URL = Asked(
    name="storage_url",
    form=r"(https?://)?[A-Za-z0-9.\[\]:-]+",
    words="the address of Cloud Storage, such as 'https://storage.googleapis.com'",
    variable="STORAGE_EMULATOR_HOST",
)
"""Variables as Google's own SDKs and samples have them, checked 2026-11-20."""

_BLANK = "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION"
_MULTI_REGIONS = ("us", "eu")


def placed(found: Provider, said: Mapping[str, str]) -> Provider:
    """`found` where its caller says it is."""
    address = _address(said) if found.base_url == _BLANK else found.base_url
    storage = said.get(_STORAGE_URL.name)
    hosts = found.hosts if storage is None else {_STORAGE: _with_scheme(storage)}
    batch = None if found.batch is None else _in_bucket(found.batch, said.get(_BUCKET.name))
    return replace(
        found,
        base_url=address or _BLANK,
        hosts=hosts,
        batch=batch,
        lacks=() if address is not None else (_PROJECT,),
    )


def _address(said: Mapping[str, str]) -> str | None:
    """The base URL for a project and a location; None without a project."""
    project, location = said.get(_PROJECT.name), said.get(_LOCATION.name, "global")
    if project is None:
        return None
    return f"https://{_host(location)}/v1/projects/{project}/locations/{location}"


def _host(location: str) -> str:
    """As the official SDK has it, which takes `global` where no location is said."""
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


def _in_bucket(batch: BatchApi, said: str | None) -> BatchApi:
    if said is None:
        return batch
    bucket, _, folder = said.removeprefix("gs://").rstrip("/").partition("/")
    place = Place(bucket, f"{folder}/" if folder else "")
    return replace(
        batch,
        upload=partial(upload, place),
        find_upload=partial(find_upload, place),
        list_uploads=partial(list_uploads, place),
        lacks=(),
    )


def path_of(api: Api, model: str) -> str:
    """Where a body goes in real time."""
    return gemini.path_of(api, lines.resource_of(model))


_NOWHERE = Place("BUCKET", "")

BATCHES = BatchApi(
    apis=frozenset(("gemini.generate", "gemini.embed")),
    limits=Limits(max_requests=200_000, max_bytes=1_000_000_000, overhead=_OVERHEAD),
    window=timedelta(hours=96),
    retention=None,
    source="docs.cloud.google.com, batch prediction with Gemini, checked 2026-11-20",
    framing=(b"", b"\n", b"\n"),
    write_request=lines.write_request,
    read_line=lines.read_line,
    echo_of=lines.echo_of,
    upload=partial(upload, _NOWHERE),
    find_upload=partial(find_upload, _NOWHERE),
    create=create,
    listed=listed,
    find=find,
    poll=poll,
    fetch=fetch,
    cancel=cancel,
    delete=delete,
    list_uploads=partial(list_uploads, _NOWHERE),
    rules=RULES,
    lacks=(_BUCKET,),
)
"""A job may wait 72 hours and run for 24. The bucket is the caller's: nothing in it goes by
itself."""

VERTEX = Provider(
    name="vertex",
    base_url=_BLANK,
    hosts={_STORAGE: "https://storage.googleapis.com"},
    key_env="GOOGLE_APPLICATION_CREDENTIALS",
    apis=("gemini.generate", "gemini.embed"),
    auth="google",
    path_of=path_of,
    schemas=schemas.GEMINI,
    batch=BATCHES,
    tiers=Tiers(
        names=frozenset(("standard", "flex", "priority", "batch")),
        field="serviceTier",
        source="the official SDK 3.4, which sends `serviceTier` there too, checked 2026-11-20",
    ),
    asks=(_PROJECT, _LOCATION, _BUCKET, _STORAGE_URL),
    placed=placed,
    lacks=(_PROJECT,),
)
"""Hosts and variables as in the official SDK 3.4, checked 2026-11-20. What we use of its `v1beta1`
is in `v1` as well."""
