"""Progress while a run is worked on: a live line on a terminal, plain lines elsewhere."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TextIO

from msgspec import structs
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..core.model import Usage
from ..core.states import Outcome
from ..core.timing import span
from ..engine.events import Progress

_PLAIN_EVERY_S = 5.0
_RATE_OVER_S = 15.0
_BAR_WIDTH = 24


class Display(Protocol):
    """What shows progress."""

    def update(self, progress: Progress) -> None:
        """Called after every commit, so it must be cheap."""
        ...

    def say(self, line: str) -> None:
        """A line that stays."""
        ...

    def end(self) -> None:
        """Give the terminal back as it was. May be called twice."""
        ...


@contextmanager
def display(stream: TextIO) -> Iterator[Display]:
    """A display fit for `stream`."""
    console = Console(file=stream)
    is_live = console.is_terminal and not console.is_dumb_terminal
    shown: Display = LiveDisplay(console) if is_live else PlainDisplay(stream)
    try:
        yield shown
    finally:
        shown.end()


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


class News:
    """What is to be said once: which batches take unusually long, what a trial has shown."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def of(self, progress: Progress) -> list[str]:
        """What was not said before."""
        shown = () if progress.compared is None else (progress.compared.words,)
        new = [line for line in (*progress.late, *shown) if line not in self._told]
        self._told.update(new)
        return new


def pace(progress: Progress, rate: float | None) -> list[str]:
    """How far it is and how fast it goes, most wanted first."""
    left = progress.run.total - progress.done
    said = [f"{progress.done:,}/{progress.run.total:,}"]
    if rate is not None:
        said.append(f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.1f}/s")
        if left:
            said.append(f"{span(left / rate)} left")
    if progress.run.wave > 1:
        said.append(f"wave {progress.run.wave}")
    return said


def yields(progress: Progress) -> list[str]:
    """What has come of it."""
    usage = progress.usage
    tokens = f"{usage.tokens_in:,}→{usage.tokens_out:,} tokens"
    return [tokens, outcomes(progress)] if progress.counts else [tokens]


def outcomes(progress: Progress) -> str:
    """The outcome counts in words."""
    return ", ".join(ranked(progress))


def ranked(progress: Progress) -> list[str]:
    """Each outcome with its count, the most frequent first."""
    pairs = sorted(progress.counts.items(), key=lambda pair: -pair[1])
    return [f"{count:,} {outcome}" for outcome, count in pairs]


def counted(count: int, what: str, many: str | None = None) -> str:
    """`1 row`, `1,200 rows`. `many`: where an `s` does not do."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


class LiveDisplay:
    """A bar and two lines that stay where they are."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = Rate()
        self._last: Progress | None = None
        self._news = News()
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=4, transient=True
        )
        self._live.start()

    def update(self, progress: Progress) -> None:
        self._last = progress
        for line in self._news.of(progress):
            self.say(line)

    def end(self) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        self._console.print(Text(line))

    def _render(self) -> RenderableType:
        """The picture, four times a second. A narrow terminal has no room for the bar."""
        progress = self._last
        if progress is None:
            return Text("starting")
        self._rate.add(progress.done, at=time.monotonic())
        line = Table.grid(padding=(0, 1), expand=False)
        far = _one_line(pace(progress, self._rate.value()))
        bar = ProgressBar(total=progress.run.total, completed=progress.done, width=_BAR_WIDTH)
        line.add_row(*([bar] if self._console.width > 2 * _BAR_WIDTH else []), far)
        below = [_one_line(yields(progress), style="dim")]
        if progress.waiting is not None:
            below.append(Text(f"waiting: {progress.waiting}", style="yellow", overflow="fold"))
        return Group(line, *below)


class Sums:
    """Shows several runs as one."""

    def __init__(self, show: Display, looks: Iterable[Progress]) -> None:
        self._show = show
        self._looks = {look.run.id: look for look in looks}

    def update(self, progress: Progress) -> None:
        """As `Display.update`, of any of them."""
        self._looks[progress.run.id] = progress
        self._show.update(_sum(list(self._looks.values())))


def _sum(looks: list[Progress]) -> Progress:
    """What `looks` at several runs add up to."""
    runs = [look.run for look in looks]
    counts: Counter[Outcome] = Counter()
    for look in looks:
        counts.update(look.counts)
    return replace(
        looks[-1],
        run=structs.replace(
            runs[0],
            id=" and ".join(run.id for run in runs),
            total=sum(run.total for run in runs),
            wave=max(run.wave for run in runs),
        ),
        counts=dict(counts),
        usage=sum((look.usage for look in looks), Usage()),
        waiting="; ".join(look.waiting for look in looks if look.waiting) or None,
        late=tuple(line for look in looks for line in look.late),
    )


def _one_line(said: list[str], *, style: str = "") -> Text:
    return Text(" · ".join(said), style=style, no_wrap=True, overflow="ellipsis")


class PlainDisplay:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rate = Rate()
        self._said_at = 0.0
        self._all_done = False
        self._news = News()

    def update(self, progress: Progress) -> None:
        for line in self._news.of(progress):
            self.say(f"run {progress.run.id}: {line}")
        now = time.monotonic()
        before, self._all_done = self._all_done, progress.done == progress.run.total
        is_news = self._all_done and not before
        if now < self._said_at + _PLAIN_EVERY_S and not is_news:
            return
        self._said_at = now
        self._rate.add(progress.done, at=now)
        said = [*pace(progress, self._rate.value()), *yields(progress)]
        if progress.waiting is not None:
            said.append(f"waiting: {progress.waiting}")
        self.say(f"run {progress.run.id}: " + " · ".join(said))

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def end(self) -> None:
        """There is nothing to give back."""
