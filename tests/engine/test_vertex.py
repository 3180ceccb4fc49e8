"""What is Vertex AI's own in a run: credentials, a bucket beside the service, files of results."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from anybatch.core.states import Outcome
from anybatch.engine.sharing import Sharing
from anybatch.errors import AnybatchError, BadSettings
from anybatch.testing import CrashAt, FakeVertex, Fate, Mangled, Phases, Problem, Status

from ..signing import ACCOUNT, NOWHERE, VARIABLE, account_file
from .harness import HurriedClock, World, spec
from .promises import broken_promises

BUCKET = "GOOGLE_CLOUD_STORAGE_BUCKET"
REMOTE = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"


@contextmanager
def vertex(root: Path, **given: Any) -> Iterator[World]:
    """A run whose calls carry the tokens of a service account."""
    clock = HurriedClock()
    with FakeVertex(clock=clock, accounts=(ACCOUNT,), **given) as service:
        asked = spec(
            service.base_url,
            provider="vertex",
            api="gemini.generate",
            executor="batch",
            tail="batch",
        )
        root.mkdir()
        key = {VARIABLE: str(account_file(root, service.token_uri))}
        with World(
            root=root / "world",
            spec=asked,
            service=service,
            clock=clock,
            environment={**key, **service.environment},
        ) as world:
            yield world


def fake_of(world: World) -> FakeVertex:
    assert isinstance(world.service, FakeVertex)
    return world.service


@pytest.mark.parametrize("executor", ["batch", "online"])
def test_a_run_goes_through_with_a_service_account(executor: Any, scratch: Path) -> None:
    with vertex(scratch / "root") as world:
        world.spec = replace(world.spec, executor=executor)
        world.live()

        assert broken_promises(world) == []
        assert {one.status for one in fake_of(world).ledger.exchanges} <= {200, 204, 404}


def test_tokens_that_end_soon_are_renewed_all_the_time(scratch: Path) -> None:
    with vertex(scratch / "root", token_seconds=20) as world:
        world.live()

        assert broken_promises(world) == []
        assert fake_of(world).ledger.operations["token"] > 3


def test_a_creation_with_a_token_that_is_refused_is_made_once(scratch: Path) -> None:
    with vertex(scratch / "root", faults={"create": [Status(401)]}) as world:
        world.live()

        creations = fake_of(world).ledger.exchanges_of("create")
        assert broken_promises(world) == []
        assert sorted(one.status or 0 for one in creations) == [200, 200, 200, 401]


def test_an_account_that_is_closed_stops_the_run_and_the_same_command_goes_on(
    scratch: Path,
) -> None:
    with vertex(scratch / "root", phases=Phases(in_progress=60)) as world:
        there = dict(world.environment)
        closed = account_file(world.root, fake_of(world).token_uri, client_email="closed@x")
        world.environment = {**there, VARIABLE: str(closed)}
        with pytest.raises(AnybatchError, match=r"invalid_grant.*gcloud auth"):
            world.live()
        nothing_sent = fake_of(world).ledger.operations.get("start", 0) == 0
        world.environment = there
        world.live()

        assert nothing_sent
        assert broken_promises(world) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"base_url": None}, "needs a project.*GOOGLE_CLOUD_PROJECT"),
        ({BUCKET: ""}, "needs a bucket.*GOOGLE_CLOUD_STORAGE_BUCKET"),
        ({VARIABLE: "/nowhere/key.json"}, "'/nowhere/key.json' holds no credentials of Google"),
        ({VARIABLE: "", "base_url": REMOTE}, "there are no credentials of Google: run `gcloud"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_sent(
    changed: dict[str, Any], says: str, scratch: Path
) -> None:
    with vertex(scratch / "root") as world:
        given = {"base_url": world.spec.base_url, **world.environment, **NOWHERE, **changed}
        world.spec = replace(world.spec, base_url=given.pop("base_url"))
        world.environment = given

        with pytest.raises(BadSettings, match=says):
            world.live()

        assert fake_of(world).ledger.exchanges == ()


def test_without_a_bucket_rows_are_answered_in_real_time(scratch: Path) -> None:
    with vertex(scratch / "root") as world:
        world.environment = {**world.environment, BUCKET: ""}
        world.spec = replace(world.spec, executor="online")
        world.live()

        assert broken_promises(world) == []
        assert fake_of(world).ledger.batches == ()


def test_a_bucket_that_is_not_there_stops_the_run_by_its_name(scratch: Path) -> None:
    with vertex(scratch / "root") as world:
        world.environment = {**world.environment, BUCKET: "nobodys"}
        run = world.live()
        workspace = world.open()
        report = workspace.report(run)
        workspace.store.close()

        assert run.state == "stopped"
        assert "gs://nobodys: HTTP 404: The specified bucket does not exist." in report.errors[0][0]
        assert fake_of(world).ledger.batches == ()


def test_a_run_does_not_go_on_in_another_project(scratch: Path) -> None:
    with vertex(scratch / "root") as world:
        assert world.die(CrashAt(1, only="upload.write"))
        workspace = world.open()
        run = workspace.store.find_run("last")
        elsewhere = f"{fake_of(world).address}/v1/projects/another/locations/us-central1"
        moved = replace(run, spec=replace(run.spec, base_url=elsewhere))

        workspace.check_account(run)
        with pytest.raises(BadSettings, match=f"run {run.id} has batches at 'vertex'"):
            workspace.check_account(moved)


@pytest.mark.parametrize("shards", [1, 5])
@pytest.mark.parametrize("told", [True, False])
def test_results_are_read_from_every_file_wherever_they_were_told_to_be(
    told: bool, shards: int, scratch: Path
) -> None:
    fates = [Fate(no_files=not told)] * 3

    with vertex(scratch / "root", shards=shards, batches=fates) as world:
        world.live()

        assert broken_promises(world) == []
        assert len(fake_of(world).ledger.batches) == 3


def test_a_result_that_has_lost_its_name_is_told_by_its_request(scratch: Path) -> None:
    with vertex(scratch / "root", rows=lambda call: Mangled("unnamed")) as world:
        run = world.live()
        workspace = world.open()
        report = workspace.report(run)
        workspace.store.close()

        assert broken_promises(world) == []
        assert (report.set_aside, fake_of(world).ledger.executed) == (0, 12)


def test_requests_that_are_alike_may_have_each_others_answer(scratch: Path) -> None:
    with vertex(scratch / "root", rows=lambda call: Mangled("unnamed")) as world:
        alike = [{"topic": "ships", "text": "the same"}] * 4
        world.rows, world.wishes = alike, {"sharing": Sharing(dedupe=False)}
        world.use(world.root / "alike.jsonl")
        (world.root / "alike.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(alike))
        world.live()

        assert broken_promises(world, repeats=12) == []
        assert fake_of(world).ledger.executed == 4


@pytest.mark.parametrize("ends", ["expired", "cancelled"])
def test_of_a_job_that_ended_early_only_the_rest_is_run_again(ends: Any, scratch: Path) -> None:
    with vertex(scratch / "root", batches=[None, Fate(ends=ends, done=3)]) as world:
        world.live()

        assert broken_promises(world) == []
        assert fake_of(world).ledger.executed == 12


@pytest.mark.parametrize(
    ("code", "outcome"), [("PERMISSION_DENIED", "auth"), ("INVALID_ARGUMENT", "bad_request")]
)
def test_a_job_that_the_service_refuses_says_why(
    code: str, outcome: Outcome, scratch: Path
) -> None:
    failed = Fate(ends="failed", problems=[Problem(code=code, message="the service agent")])

    with vertex(scratch / "root", batches=lambda number: failed) as world:
        run = world.live()
        workspace = world.open()
        (said, count), *_ = workspace.report(run).errors
        workspace.store.close()

        assert (said, count) == (f"{outcome}: the service agent", 12)
        assert fake_of(world).ledger.billed == 0
