"""Google's credentials: found where Google's tools put them, exchanged for tokens in time."""

import asyncio
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from google.oauth2.credentials import Credentials

from anybatch.core.model import Spec
from anybatch.errors import BadSettings, MissingExtra, TransportError
from anybatch.executors.auth import account_of, key_for, redacted
from anybatch.executors.batch import BatchExecutor
from anybatch.executors.google import GoogleCredentials, credentials_in
from anybatch.executors.http import Http
from anybatch.providers.flow import Call, Reply
from anybatch.providers.provider import Provider
from anybatch.providers.registry import find
from anybatch.testing import Altered, Cut, FakeVertex, ManualClock, Status

from ..signing import ACCOUNT, NOWHERE, VARIABLE, account_file, user_file

LISTING = Call(method="GET", path="/batchPredictionJobs")


@pytest.fixture
def fake() -> Iterator[FakeVertex]:
    with FakeVertex(accounts=(ACCOUNT, "gcloud")) as fake:
        yield fake


def vertex(fake: FakeVertex) -> Provider:
    return find("vertex", configured={}, base_url=fake.base_url, environment=fake.environment)


def credentials(path: Path) -> GoogleCredentials:
    return credentials_in(str(path), {}, variable=VARIABLE)


async def listed(fake: FakeVertex, found: GoogleCredentials, *, times: int = 1) -> list[Reply]:
    async with Http(
        fake.base_url, headers={}, credentials=found, deadline=timedelta(seconds=5)
    ) as http:
        return [await http.send(LISTING) for _ in range(times)]


def tokens(fake: FakeVertex) -> int:
    """How often the fake was asked for one."""
    return fake.ledger.operations.get("token", 0)


async def test_a_service_account_signs_and_gets_a_token_for_many_calls(
    fake: FakeVertex, tmp_path: Path
) -> None:
    found = credentials(account_file(tmp_path, fake.token_uri))

    replies = await listed(fake, found, times=3)

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert tokens(fake) == 1


async def test_many_calls_at_once_wait_for_one_token(fake: FakeVertex, tmp_path: Path) -> None:
    found = credentials(account_file(tmp_path, fake.token_uri))

    headers = await asyncio.gather(*(found.headers() for _ in range(20)))

    assert len({said["authorization"] for said in headers}) == 1
    assert tokens(fake) == 1


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    with FakeVertex(accounts=(ACCOUNT,), token_seconds=120) as fake:
        found = credentials(account_file(tmp_path, fake.token_uri))
        replies = await listed(fake, found, times=2)

        assert [reply.status for reply in replies] == [200, 200]
        assert tokens(fake) == 2


async def test_a_token_that_is_refused_is_renewed_and_the_call_made_again(
    fake: FakeVertex, tmp_path: Path
) -> None:
    found = credentials(account_file(tmp_path, fake.token_uri))
    await listed(fake, found)
    fake.revoke_tokens()

    (reply,) = await listed(fake, found)

    assert reply.status == 200
    assert [one.status for one in fake.ledger.exchanges_of("list")] == [200, 200]
    assert [one.status for one in fake.ledger.exchanges_of("")] == [401]
    assert tokens(fake) == 2


async def test_a_call_that_no_token_opens_is_refused_after_two_tries(tmp_path: Path) -> None:
    with FakeVertex(accounts=(ACCOUNT,), faults={"list": [Status(401)] * 3}) as fake:
        found = credentials(account_file(tmp_path, fake.token_uri))
        (reply,) = await listed(fake, found)

        assert reply.status == 401
        assert tokens(fake) == 2


async def test_a_proxys_401_is_no_word_of_the_services(tmp_path: Path) -> None:
    page = Status(401, body=b"<html>log in</html>", executed=True)
    with FakeVertex(accounts=(ACCOUNT,), faults={"list": [page]}) as fake:
        found = credentials(account_file(tmp_path, fake.token_uri))
        (reply,) = await listed(fake, found)

        assert reply.status == 401
        assert fake.ledger.operations["list"] == 1


async def test_the_token_is_asked_for_away_from_the_event_loop(
    fake: FakeVertex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = credentials(account_file(tmp_path, fake.token_uri))
    threads: list[threading.Thread] = []
    renew = GoogleCredentials._renew

    def watched(self: GoogleCredentials) -> None:
        threads.append(threading.current_thread())
        renew(self)

    monkeypatch.setattr(GoogleCredentials, "_renew", watched)
    await listed(fake, found)

    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(
    ("variable", "folder"), [("HOME", Path(".config", "gcloud")), ("CLOUDSDK_CONFIG", Path())]
)
def test_who_has_logged_in_by_gcloud_is_found(variable: str, folder: Path, tmp_path: Path) -> None:
    path = user_file(tmp_path / folder / "application_default_credentials.json")

    found = credentials_in(None, {variable: str(tmp_path)}, variable=VARIABLE)

    assert found.source == f"{str(path)!r}"


async def test_calls_of_who_has_logged_in_say_which_project_is_charged(
    fake: FakeVertex, tmp_path: Path
) -> None:
    file = str(user_file(tmp_path / "user.json"))
    user = Credentials.from_authorized_user_file(file).with_token_uri(fake.token_uri)

    headers = await GoogleCredentials(user, source="here").headers()

    assert headers["x-goog-user-project"] == "their-project"
    assert headers["authorization"].startswith("Bearer ya29.")


async def test_a_machine_of_googles_has_an_account_of_its_own(fake: FakeVertex) -> None:
    host = fake.address.removeprefix("http://")

    found = credentials_in(None, {"GCE_METADATA_HOST": host}, variable=VARIABLE)
    replies = await listed(fake, found, times=2)

    assert [reply.status for reply in replies] == [200, 200]
    assert found.source == "this machine's own account"
    assert tokens(fake) == 2  # the look whether it is there, and the token


@pytest.mark.parametrize(
    "environment", [NOWHERE, {"NO_GCE_CHECK": "true"}, {**NOWHERE, "HOME": "/nowhere"}]
)
def test_where_there_are_none_the_way_out_is_said(environment: Mapping[str, str]) -> None:
    with pytest.raises(
        BadSettings, match=rf"run `gcloud auth application-default login`, or set {VARIABLE}"
    ):
        credentials_in(None, environment, variable=VARIABLE)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"type": "nobody"}', "not JSON"])
def test_a_file_that_holds_none_is_named_with_its_variable(content: str, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(content)

    with pytest.raises(BadSettings, match=rf"{VARIABLE}: '{path}' holds no credentials of Google"):
        credentials(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"nothing\.json' holds no credentials of Google"):
        credentials(tmp_path / "nothing.json")


def test_a_key_that_is_none_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as raised:
        credentials(account_file(tmp_path, "http://127.0.0.1:9", private_key="secret-secret"))

    assert "secret-secret" not in str(raised.value)


async def test_an_account_that_gets_no_token_stops_all_with_the_way_out(
    fake: FakeVertex, tmp_path: Path
) -> None:
    stranger = account_file(tmp_path, fake.token_uri, client_email="other@x")
    found = credentials(stranger)

    with pytest.raises(BadSettings, match=r"invalid_grant.*gcloud auth application-default login"):
        await listed(fake, found)

    assert fake.ledger.operations.get("list", 0) == 0


async def test_when_nobody_answers_nothing_was_sent(tmp_path: Path) -> None:
    found = credentials(account_file(tmp_path, "http://127.0.0.1:9/token"))

    with pytest.raises(TransportError, match="no token for the credentials") as raised:
        await found.headers()

    assert not raised.value.sent


async def test_while_a_token_holds_it_does_no_harm_that_nobody_answers(tmp_path: Path) -> None:
    lost = {"token": [None, Cut("unread"), Cut("unread"), Cut("unread")]}
    with FakeVertex(accounts=(ACCOUNT,), token_seconds=120, faults=lost) as fake:
        found = credentials(account_file(tmp_path, fake.token_uri))
        first = await found.headers()
        second = await found.headers()

    assert first == second


async def test_a_machine_that_answers_nonsense_is_asked_again_later() -> None:
    with FakeVertex(faults={"token": [None, Altered("html")]}) as fake:
        host = fake.address.removeprefix("http://")
        found = credentials_in(None, {"GCE_METADATA_HOST": host}, variable=VARIABLE)

        with pytest.raises(TransportError, match="no token in the answer"):
            await found.headers()
        assert (await found.headers())["authorization"]


# --- as the key of a provider -------------------------------------------------------------------


def test_an_address_on_this_machine_needs_none(fake: FakeVertex) -> None:
    assert key_for(vertex(fake), {}) is None


def test_a_bucket_that_is_elsewhere_needs_some(fake: FakeVertex) -> None:
    elsewhere = find("vertex", configured={}, base_url=fake.base_url)

    with pytest.raises(BadSettings, match="there are no credentials of Google"):
        key_for(elsewhere, NOWHERE)


def test_the_account_is_the_project_whoever_works_on_it(fake: FakeVertex, tmp_path: Path) -> None:
    one = credentials(account_file(tmp_path, fake.token_uri))
    other = credentials(user_file(tmp_path / "user.json"))
    here = vertex(fake)
    there = replace(here, base_url="https://aiplatform.googleapis.com/v1/projects/q")

    assert account_of(here, one) == account_of(here, other)
    assert account_of(here, one) != account_of(there, one)


async def test_a_token_that_a_service_echoes_is_blotted_out(
    fake: FakeVertex, tmp_path: Path
) -> None:
    found = credentials(account_file(tmp_path, fake.token_uri))
    before = redacted(b"ya29.", found)
    token = (await found.headers())["authorization"].removeprefix("Bearer ")

    assert before == b"ya29."
    assert redacted(f"bad token {token}".encode(), found) == "bad token …".encode()


async def test_both_hosts_get_the_token(fake: FakeVertex, tmp_path: Path) -> None:
    path = account_file(tmp_path, fake.token_uri)
    provider = vertex(fake)
    executor = BatchExecutor(
        provider,
        key=key_for(provider, {VARIABLE: str(path)}),
        spec=Spec(provider="vertex", model="gemini-x", api="gemini.generate"),
        deadline=timedelta(seconds=5),
        clock=ManualClock(),
        jitter=lambda: 0.0,
    )
    requests = tmp_path / "anybatch-run-1-0.jsonl"
    requests.write_bytes(b"{}\n")

    uri = await executor.upload(requests, name=requests.name)
    found = await executor.uploads(requests.name)
    await executor.close()

    assert [uri] == found == [f"gs://{fake.bucket}/{requests.name}"]
    assert {one.status for one in fake.ledger.exchanges} == {200}
    assert tokens(fake) == 1


def test_without_the_extra_it_is_named(
    fake: FakeVertex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "anybatch.executors.google", None)

    with pytest.raises(MissingExtra, match=r"'vertex' needs the extra 'vertex'"):
        key_for(vertex(fake), {VARIABLE: str(tmp_path / "key.json")})
