"""Progress while a run is worked on: a live line on a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..engine.events import Progress

_PLAIN_EVERY_S = 5.0
_RATE_OVER_S = 15.0


class Display(Protocol):
    """What shows progress."""

    def update(self, progress: Progress) -> None:
        """Called after every commit, so it must be cheap."""
        ...

    def say(self, line: str) -> None:
        """A line that stays."""
        ...


@contextmanager
def display(stream: TextIO) -> Iterator[Display]:
    """A display fit for `stream`."""
    console = Console(file=stream)
    if console.is_terminal and not console.is_dumb_terminal:
        live = LiveDisplay(console)
        with Live(
            get_renderable=live.render, console=console, refresh_per_second=4, transient=True
        ):
            yield live
    else:
        yield PlainDisplay(stream)


class Rate:
    """Rows a second over the last quarter of a minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, done: int, *, at: float) -> None:
        self._seen.append((at, done))
        while len(self._seen) > 2 and self._seen[0][0] < at - _RATE_OVER_S:
            self._seen.popleft()

    def value(self) -> float | None:
        """None until there is something to divide."""
        if len(self._seen) < 2:
            return None
        (start, before), (end, done) = self._seen[0], self._seen[-1]
        return (done - before) / (end - start) if end > start and done > before else None


def facts(progress: Progress, rate: float | None) -> list[str]:
    """What there is to say about `progress`, most wanted first."""
    left = progress.run.total - progress.done
    said = [f"{progress.done:,}/{progress.run.total:,}"]
    if rate is not None:
        said.append(f"{rate:,.1f}/s")
        if left:
            said.append(f"{span(left / rate)} left")
    said.append(f"{progress.usage.tokens_in:,}→{progress.usage.tokens_out:,} tokens")
    if progress.run.wave > 1:
        said.append(f"wave {progress.run.wave}")
    return said


def outcomes(progress: Progress) -> str:
    """The outcome counts in words, the most frequent first."""
    ranked = sorted(progress.counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count:,} {outcome}" for outcome, count in ranked)


def span(seconds: float) -> str:
    """A duration as people say it: 40 s, 3 min 20 s, 2 h 5 min."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class LiveDisplay:
    """A bar and two lines that stay where they are."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = Rate()
        self._last: Progress | None = None

    def update(self, progress: Progress) -> None:
        self._last = progress

    def say(self, line: str) -> None:
        self._console.print(Text(line))

    def render(self) -> RenderableType:
        """The picture, four times a second."""
        progress = self._last
        if progress is None:
            return Text("starting")
        self._rate.add(progress.done, at=time.monotonic())
        line = Table.grid(padding=(0, 1), expand=False)
        bar = ProgressBar(total=progress.run.total, completed=progress.done, width=24)
        line.add_row(bar, Text(" · ".join(facts(progress, self._rate.value()))))
        below = [Text(outcomes(progress), style="dim")]
        if progress.waiting is not None:
            below.append(Text(f"waiting: {progress.waiting}", style="yellow"))
        return Group(line, *below)


class PlainDisplay:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rate = Rate()
        self._said_at = 0.0

    def update(self, progress: Progress) -> None:
        now = time.monotonic()
        over = progress.done == progress.run.total
        if now < self._said_at + _PLAIN_EVERY_S and not over:
            return
        if over and self._said_at == float("inf"):
            return
        self._said_at = float("inf") if over else now
        self._rate.add(progress.done, at=now)
        said = [*facts(progress, self._rate.value()), outcomes(progress)]
        if progress.waiting is not None:
            said.append(f"waiting: {progress.waiting}")
        self.say(f"run {progress.run.id}: " + " · ".join(filter(None, said)))

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
