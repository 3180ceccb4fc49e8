"""Which wire an api is of: the one place that knows, so that nobody above has to ask."""

from collections.abc import Mapping
from typing import Protocol

from ..core.model import Api, Failure, Json
from ..core.states import Outcome
from . import anthropic, gemini, openai
from .openai import Answer


class Wire(Protocol):
    """What every wire can do: each module beside this one is one."""

    def path_of(self, api: Api, model: str) -> str:
        """Where a body goes in real time, under the base URL."""
        ...

    def write_body(
        self,
        api: Api,
        *,
        model: str,
        system: str | None,
        user: str | None,
        schema: Json | None,
        parameters: Json,
    ) -> Json:
        """A body that asks `model` what `system` and `user` say."""
        ...

    def budget_of(self, api: Api, body: Json) -> int | None:
        """The most tokens that the answer to `body`, or to a run with these parameters, may have;
        None: no cap."""
        ...

    def with_budget(self, api: Api, body: bytes, *, factor: int) -> bytes:
        """`body` with every cap on the output multiplied; the same bytes for factor 1."""
        ...

    def read_answer(self, api: Api, body: bytes) -> Answer:
        """What a 2xx reply says."""
        ...

    def read_failure(self, status: int, body: bytes) -> tuple[Outcome, Failure]:
        """What a reply that is not 2xx means."""
        ...


_WIRES: Mapping[Api, Wire] = {
    "openai.chat": openai,
    "openai.responses": openai,
    "openai.embeddings": openai,
    "openai.completions": openai,
    "openai.moderations": openai,
    "openai.images": openai,
    "anthropic.messages": anthropic,
    "gemini.generate": gemini,
    "gemini.embed": gemini,
}


def wire_of(api: Api) -> Wire:
    """The wire that carries bodies of this api."""
    return _WIRES[api]


def budget_of(api: Api, parameters: Json) -> int | None:
    """The most tokens an answer may have, by the parameters of a run or a body; None: no cap."""
    return _WIRES[api].budget_of(api, parameters)


def path_of(api: Api, model: str) -> str:
    """Where a body of this api goes in real time, under the base URL of most providers."""
    return _WIRES[api].path_of(api, model)
