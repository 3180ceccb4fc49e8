"""Leaving the process."""

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from ..errors import UsageError
from .streams import Unread

INTERRUPTED = 130


def heed_signals() -> None:
    """Have SIGTERM, and the end of our terminal, do what Ctrl-C does: raise KeyboardInterrupt.

    A loop that had handlers of its own leaves the system's, which end the process on the spot:
    call it again after one.
    """
    for number in heeded():
        if number != signal.SIGINT:
            signal.signal(number, signal.default_int_handler)


def heeded() -> list[signal.Signals]:
    """The signals that interrupt us; the end of our terminal unless we were to ignore it."""
    is_to_end = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if is_to_end else [])]


def leave(code: int) -> NoReturn:
    """Exit at once, with everything said.

    Python's own way out waits for nobody, but tears down what native threads still use: an HTTP
    client's runtime, or a model in the middle of an answer that nobody waits for any more.
    """
    for stream in (sys.stdout, sys.stderr):
        # Closed, or what was not taken before: that has been told.
        with suppress(OSError, ValueError, UsageError, Unread):
            stream.flush()
    os._exit(code)
