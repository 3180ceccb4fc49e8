"""Public: a manual clock, crash injection, and fakes of services with ledgers."""

from .anthropic import FakeAnthropic
from .batches.ledger import AcceptedBatch, BatchLedger, BilledRow, KeptFile
from .batches.life import Fate, Phases, Problem
from .clock import ManualClock
from .crash import Crash, CrashAt, Crossing, Watch
from .endpoint import Answer, Call, Execution, FakeEndpoint, Ledger, Script, echo
from .gemini import FakeGemini
from .openai import FakeOpenAI
from .packs import in_packs
from .service.exchanges import Exchange
from .service.faults import (
    BAD_GATEWAY,
    EMPTY,
    HTML_PAGE,
    MALFORMED,
    Altered,
    Cut,
    Delay,
    Drip,
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
from .vertex import FakeVertex

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
    "Drip",
    "Exchange",
    "Execution",
    "FakeAnthropic",
    "FakeEndpoint",
    "FakeGemini",
    "FakeOpenAI",
    "FakeVertex",
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
    "in_packs",
    "matching",
    "retry_after",
]
