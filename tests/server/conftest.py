"""One server and one endpoint for the tests that leave them as they found them."""

from collections.abc import Iterator

import openai
import pytest

from anybatch.server import log
from anybatch.testing import FakeEndpoint, Fault, Status
from anybatch.testing.endpoint import Call

from .world import client_of, served


def as_asked(call: Call) -> Fault | None:
    """A prompt that says so fails."""
    return Status(400, code="no_way", message="Not this one.") if "fail" in call.prompt else None


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(script=as_asked) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def url(endpoint: FakeEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("home"), endpoint) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with client_of(url) as client:
        yield client


@pytest.fixture(autouse=True)
def all_is_said() -> Iterator[None]:
    """What a test had the server say is written before the test ends."""
    yield
    log.flush()
