"""One server a store: a lock that is held as long as it lives, with its process id in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError
from ..store.files import unwritable

_LOCK = "server.lock"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the only server of this store. Raises UsageError if there is one."""
    with unwritable(home):
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise UsageError(
                f"another server serves from {str(home)!r}; stop it, or choose another --store"
            ) from e
        os.truncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(lock)


def pid_of_server(home: Path) -> int | None:
    """The process that serves from this store; None: nobody does."""
    try:
        lock = os.open(home / _LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(lock, 32, 0).strip()
        return int(said) if said.isdigit() else None
    finally:
        os.close(lock)
    return None
