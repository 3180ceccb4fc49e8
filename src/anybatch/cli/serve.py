"""`anybatch serve`: a batch API on this machine, until a signal says to stop."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from .. import loops
from ..errors import BadSettings, MissingExtra, UsageError
from ..settings import Settings, load
from .leave import leave

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = 0
_PATIENCE_S = 4.8
"""What is in flight may finish for four seconds; what hangs on longer is not waited for."""


def serve_command(
    *, host: str | None, port: int | None, config: Path | None, store: Path | None
) -> int:
    """Serve. The address is the first line on stdout; the log is on stderr."""
    try:
        from ..server.serving import serve, serving_of
    except ModuleNotFoundError as e:
        raise MissingExtra("a server", extra="server") from e
    serving = serving_of(_settings(config, store), host=host, port=port)

    def reread() -> None:
        serving.reread(lambda: _settings(config, store))

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def heed() -> None:
            if stop.is_set():
                leave(_STOPPED)  # somebody is in a hurry; what was accepted is safe
            stop.set()
            loop.call_later(_PATIENCE_S, leave, _STOPPED)

        for number in _SIGNALS:
            loop.add_signal_handler(number, heed)
        loop.add_signal_handler(signal.SIGHUP, reread)
        await serve(serving, stop=stop, ready=_say)

    try:
        loops.run(main())
    except BaseExceptionGroup as group:
        raise _first_leaf(group) from group
    return 0


def reload_command(config: Path | None, store: Path | None) -> None:
    """Have the server of this store read its routes again; its log says what came of it."""
    from ..server.alone import pid_of_server

    home = _settings(config, store).home
    pid = pid_of_server(home)
    if pid is None:
        raise UsageError(f"no server serves from {str(home)!r}; `anybatch serve` starts one")
    os.kill(pid, signal.SIGHUP)
    print(f"process {pid} reads its routes again; its log says what came of it", file=sys.stderr)


def _settings(config: Path | None, store: Path | None) -> Settings:
    if config is not None and not config.is_file():
        raise BadSettings(f"--config {str(config)!r} is not a file")
    return load(folder=Path.cwd(), environment=os.environ, store=store, file=config)


def _say(address: str) -> None:
    print(f"{address}/v1", flush=True)
    print("Ctrl-C stops it; what was accepted goes on when it is started again.", file=sys.stderr)


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first thing that went wrong: what is grouped with it followed from it."""
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first
