"""One server and one endpoint for the tests that leave them as they found them."""

import sys
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


class WhileTestsRun:
    """Where the log goes: to stderr, but between tests nowhere. A server that serves a module of
    tests has the last word then, and pytest would show it among its own."""

    def __init__(self) -> None:
        self.stderr = self.buffer = self
        self.is_heard = False

    def write(self, text: bytes) -> None:
        if self.is_heard:
            sys.stderr.buffer.write(text)

    def flush(self) -> None:
        sys.stderr.buffer.flush()


HEARD = WhileTestsRun()


@pytest.fixture(scope="package", autouse=True)
def heard() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "sys", HEARD)
        yield


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> Iterator[None]:
    """What a test had the server say is written before the test ends."""
    HEARD.is_heard = True
    try:
        yield
    finally:
        log.flush()
        HEARD.is_heard = False
