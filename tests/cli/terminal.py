"""Running the real command line on a terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import NoReturn

from .process import LIMIT_S, command, environment

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A process on a terminal of its own: what it prints is kept, and it can be typed to."""

    def __init__(
        self, *words: object, home: Path, columns: int = 100, lines: int = 30, **extra: str
    ) -> None:
        self._screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        env = environment(home, **{"TERM": "xterm-256color", **extra})
        del env["COLUMNS"]
        self.process = subprocess.Popen(
            command(*words), cwd=home, env=env, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.printed = ""

    def read_until(self, wanted: str) -> None:
        """Read on until `wanted` has been printed; fail if it never is."""
        end = time.monotonic() + LIMIT_S
        while wanted not in self.text():
            if time.monotonic() > end or not self._read():
                self._give_up(f"{wanted!r} never came")

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def end(self) -> int:
        """Read all that is left; the exit code."""
        while self._read():
            pass
        os.close(self._screen)
        return self.process.wait(timeout=LIMIT_S)

    def text(self) -> str:
        """What was printed, without the codes for a terminal; what was overwritten included."""
        return CONTROL.sub("", self.printed).replace("\r\n", "\n").replace("\r", "\n")

    def _read(self) -> bool:
        """Take in what is printed next; False once the other side has closed."""
        if not select.select([self._screen], [], [], LIMIT_S)[0]:
            self._give_up("nothing is printed any more")
        try:
            got = os.read(self._screen, 65536)
        except OSError:  # Linux says so that nobody has the other side open
            return False
        self.printed += got.decode(errors="replace")
        return bool(got)

    def _give_up(self, why: str) -> NoReturn:
        self.process.kill()
        self.process.wait(timeout=LIMIT_S)
        raise AssertionError(f"{why}: {self.printed!r}")
