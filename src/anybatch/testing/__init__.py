"""Public: a manual clock, crash injection, and fakes of services with ledgers."""

from .anthropic import FakeAnthropic
from .batches.ledger import AcceptedBatch, BatchLedger, BilledRow, KeptFile
from .batches.life import Fate, Phases, Problem
from .clock import ManualClock
from .crash import Crash, CrashAt, Crossing, Watch
from .endpoint import Answer, Call, Execution, FakeEndpoint, Ledger, Script, echo
from .gemini import FakeGemini
from .openai import FakeOpenAI
from .service.exchanges import Exchange
from .service.faults import (
    BAD_GATEWAY,
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Altered,
    Cut,
    Delay,
    Fault,
    Mangled,
    Spoiled,
    Stall,
    Status,
    Unrun,
    retry_after,
)
from .service.front import Operation
from .service.script import at_random, first_of, matching

__all__ = [
    "BAD_GATEWAY",
    "EMPTY",
    "HTML_PAGE",
    "MALFORMED",
    "AcceptedBatch",
    "Altered",
    "Answer",
    "BatchLedger",
    "BilledRow",
    "Call",
    "Crash",
    "CrashAt",
    "Crossing",
    "Cut",
    "Delay",
    "Exchange",
    "Execution",
    "FakeAnthropic",
    "FakeEndpoint",
    "FakeGemini",
    "FakeOpenAI",
    "Fate",
    "Fault",
    "KeptFile",
    "Ledger",
    "Mangled",
    "ManualClock",
    "Operation",
    "Phases",
    "Problem",
    "Script",
    "Spoiled",
    "Stall",
    "Status",
    "Unrun",
    "Watch",
    "at_random",
    "echo",
    "first_of",
    "matching",
    "retry_after",
]
