"""An OpenAI-compatible endpoint that fails on demand and keeps a ledger of what it executed."""

from ..service.faults import (
    BAD_GATEWAY,
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Cut,
    Delay,
    Fault,
    Spoiled,
    Stall,
    Status,
    retry_after,
)
from ..service.script import at_random, first_of, matching
from .answers import Answer, echo
from .call import Call
from .fake import FakeEndpoint
from .ledger import Execution, Ledger
from .script import Script

__all__ = [
    "BAD_GATEWAY",
    "EMPTY",
    "HTML_PAGE",
    "MALFORMED",
    "Answer",
    "Call",
    "Cut",
    "Delay",
    "Execution",
    "FakeEndpoint",
    "Fault",
    "Ledger",
    "Script",
    "Spoiled",
    "Stall",
    "Status",
    "at_random",
    "echo",
    "first_of",
    "matching",
    "retry_after",
]
