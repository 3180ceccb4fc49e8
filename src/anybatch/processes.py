"""A name for this process, and whether the process behind a name has died.

A lease runs out by itself. But whoever types the same command again after a kill should not have to
wait for that, so on the same machine we look whether the owner still lives.
"""

import os
import socket
from collections.abc import Iterable
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_process() -> str:
    """A name no other process has: where it runs, its pid, and when that pid started."""
    return f"{_where()}/{os.getpid()}/{_started(os.getpid())}"


def dead_among(owners: Iterable[str]) -> frozenset[str]:
    """Those of `owners` that certainly live no more."""
    here = _where()
    return frozenset(owner for owner in owners if _is_dead(owner, here))


def _is_dead(owner: str, here: str) -> bool:
    where, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    if where != here or not pid.isdecimal():
        return False
    return _started(int(pid)) != started


def _where() -> str:
    """Host, boot and process namespace: a pid means something only within these."""
    try:
        boot = _BOOT.read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = namespace = ""
    return f"{socket.gethostname()}:{boot}:{namespace}"


def _started(pid: int) -> str:
    """When `pid` started, so that a reused pid is not taken for its predecessor; "" if it is gone.

    Where the system does not tell, a living pid is "?".
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        return "?" if not Path("/proc/self").exists() and is_alive(pid) else ""


def is_alive(pid: int) -> bool:
    """Whether this machine has a process `pid`, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
