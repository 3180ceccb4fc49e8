"""Looking at the input of an order: what is wrong with it, or the runs that it becomes.

One pass: each good line goes straight into the run of the place where it will be answered. The
first few models have a run each, so that none of them waits for a slower one; the others of a place
share one, however many they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from msgspec.structs import replace

from ..core.model import Run, Spec
from ..core.served import Declined, Order, Problem, Ready
from ..datasets.jsonlines import raw_lines
from ..engine.defaults import executor_of
from ..engine.intake import forget
from ..engine.readymade import DeclinedRun, ReadyRun
from ..errors import UsageError
from ..providers.provider import Provider
from ..store.served import ServedStore
from .carry import carried, target_of
from .face import Face
from .routes import EMBEDDED, Place, Route, find
from .shared import ServingWorkspace

MAX_LINE_BYTES = 32 * 1024 * 1024
"""What is longer is cut, and then it cannot be read: so no line takes all memory."""
_BLOCK_BYTES = 1 << 20
_AT_ONCE = 256
_KEPT_PROBLEMS = 1_000
"""So many are told one by one."""
MAX_RUNS = 32
"""An order may have so many runs: each has three files open while its requests come in, and a task
and a thread while it is under way. So this limits models where they cannot share a run."""
OWN_RUNS = 4
"""So many models of an order have a run of their own where they could share one."""
_PLACES = MAX_RUNS + 1
"""One more is for what is declined."""
_TOO_MANY = (
    f"what answers takes one model at a time, and of such places and models a batch may name "
    f"{MAX_RUNS}; send the others in another batch"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checking:
    """What looking at an order takes."""

    workspace: ServingWorkspace
    store: ServedStore
    routes: Sequence[Route]
    faces: Mapping[str, Face]


def check(on: Checking, order: Order, path: Path | None) -> Order:
    """`order` with its runs, or with what is wrong with it. `path` is where its input lies.

    Leaves no run behind where something is wrong.
    """
    _forget_earlier(on, order)
    face = on.faces[order.face]
    if path is None:
        return _failed(order, [face.unknown_input(order)])
    with ExitStack() as left:
        sorted_out = _Sorted(on, order, left)
        try:
            problems, total = sorted_out.read(path)
        except FileNotFoundError:
            return _failed(order, [face.unknown_input(order)])
        if problems:
            return _failed(order, problems)
        runs = sorted_out.finish()
    return replace(
        order,
        total=total,
        model=sorted_out.model,
        runs=tuple(run.id for run in runs),
    )


def _failed(order: Order, problems: list[Problem]) -> Order:
    return replace(order, total=0, problems=tuple(problems))


def run_id(order: Order, place: int) -> str:
    """The id of one of its runs: the same whenever it is looked at, so that what was left by a
    server that died is found."""
    return f"{order.id.rpartition('_')[2]}-{place}"


def _forget_earlier(on: Checking, order: Order) -> None:
    """Remove what was planned by a server that died before it could say so.

    Nobody else plans under these ids, so it need not be known to be dead: it may have been on
    another machine, or in another container. It may have removed some of them before it died.
    """
    for place in range(_PLACES):
        name = run_id(order, place)
        if on.store.has_run(name):
            on.store.delete(name)
        forget(on.store.folder(name))


_RunKey = tuple[str | None, ...]


def _key(spec: Spec) -> _RunKey:
    """What tells the runs of an order apart: the place, and the model that has it to itself."""
    return (spec.provider, spec.base_url, spec.executor, spec.model)


def _mixes(spec: Spec, provider: Provider) -> bool:
    """Whether the requests of one run may name different models there.

    Not where a batch API answers, most of which take one model a batch and have limits for each;
    nor where the address names the model.
    """
    if spec.api not in provider.apis or executor_of(spec, provider) != "online":
        return False
    return provider.path_of(spec.api, "a") == provider.path_of(spec.api, "b")


@dataclass(slots=True)
class _Going:
    """A run, and the requests that it gets next."""

    run: ReadyRun
    requests: list[Ready] = field(default_factory=list)

    def flush(self) -> None:
        if self.requests:
            self.run.add(self.requests)
            self.requests.clear()


class _Sorted:
    """The requests of one input, each in the run of the place where it is answered."""

    def __init__(self, on: Checking, order: Order, left: ExitStack) -> None:
        self._on = on
        self._order = order
        self._left = left
        self._face = on.faces[order.face]
        self._runs: dict[_RunKey, _Going] = {}
        self._places: dict[str, Place] = {}
        """By the patterns of their routes."""
        self._own_runs = 0
        """Of models that could share one."""
        self._problems: list[Problem] = []
        self._more = 0
        self._way_of = lru_cache(maxsize=1024)(self._found)
        self._declined: DeclinedRun | None = None
        self._declines: list[Declined] = []
        self._first: str | None = None
        """The first model that is answered."""
        self._is_mixed = False

    @property
    def model(self) -> str | None:
        """The model of all requests; None: there are several."""
        return None if self._is_mixed else self._first

    def read(self, path: Path) -> tuple[list[Problem], int]:
        """What is wrong, and how many requests there are."""
        reader, total = self._face.reader(self._order), 0
        with open(path, "rb", buffering=_BLOCK_BYTES) as file:
            for number, line, _ in raw_lines(file, most=MAX_LINE_BYTES):
                read = reader.read(number, line)
                if read is None:
                    continue
                total += 1
                match read:
                    case Problem():
                        self._note(read)
                    case Declined():
                        self._decline(read)
                    case _:
                        self._add(read, number)
        problem = reader.end()
        if problem is not None:
            self._note(problem)
        return self._told(), total

    def _add(self, request: Ready, number: int) -> None:
        place = self._way_of(request.model)
        if isinstance(place, str):
            self._refuse(request, number, place)
            return
        self._first = request.model if self._first is None else self._first
        self._is_mixed = self._is_mixed or request.model != self._first
        if self._problems:
            return  # nothing of it will run; the rest is looked at all the same
        sent = carried(request, source=self._order.api, target=place.api)
        if isinstance(sent, Declined):
            self._decline(sent)
            return
        going = self._going(place, request, number)
        if going is None:
            return
        going.requests.append(sent)
        if len(going.requests) >= _AT_ONCE:
            going.flush()

    def _found(self, model: str) -> Place | str:
        """Where a model is answered; or why nowhere."""
        route = find(self._on.routes, model)
        if route is None:
            return ""
        try:
            if route.model not in self._places:
                self._places[route.model] = self._place_of(route)
            return self._places[route.model]
        except UsageError as e:
            return f" {e}"

    def _place_of(self, route: Route) -> Place:
        spec = route.spec(None, self._order.api)
        provider = self._on.workspace.provider_of(spec)
        spec = replace(spec, api=target_of(spec.api, provider.apis))
        return Place(route=route, api=spec.api, mixes=_mixes(spec, provider))

    def _going(self, place: Place, request: Ready, number: int) -> _Going | None:
        """The run that a request goes into; None: there is none."""
        spec = place.route.spec(request.model, place.api)
        going = self._runs.get(_key(spec))
        if going is not None:
            return going
        is_own = not place.mixes or self._own_runs < OWN_RUNS
        if not is_own:
            spec = replace(spec, model=None)
            going = self._runs.get(_key(spec))
        going = going or self._begin(spec, request, number)
        self._own_runs += going is not None and is_own and place.mixes
        return going

    def _begin(self, spec: Spec, request: Ready, number: int) -> _Going | None:
        if len(self._runs) == MAX_RUNS:
            self._refuse(request, number, f" ({_TOO_MANY})", status=400)
            return None
        name = self._next_id()
        try:
            run = self._on.workspace.ready_made(spec, run_id=name, source=self._order.id)
        except UsageError as e:
            self._refuse(request, number, f" {e}")
            return None
        going = _Going(self._left.enter_context(run))
        self._runs[_key(spec)] = going
        return going

    def _next_id(self) -> str:
        """Of the next run; one of the `_PLACES` that are cleared before."""
        return run_id(self._order, len(self._runs) + (self._declined is not None))

    def _refuse(
        self, request: Ready, number: int, why: str = "", *, status: int | None = None
    ) -> None:
        """Nothing answers for it here."""
        said = self._face.unserved(request.model, number)
        if isinstance(said, Declined):
            named = replace(said, name=request.name, status=status or said.status)
            self._decline(replace(named, message=said.message + why))
        else:
            self._note(replace(said, message=said.message + why))

    def _decline(self, request: Declined) -> None:
        if self._problems:
            return
        if self._declined is None:
            run = self._on.workspace.declined(run_id=self._next_id())
            self._declined = self._left.enter_context(run)
        self._declines.append(request)
        if len(self._declines) >= _AT_ONCE:
            self._declined.add(self._declines)
            self._declines.clear()

    def _note(self, problem: Problem) -> None:
        if len(self._problems) < _KEPT_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more += 1

    def _told(self) -> list[Problem]:
        if not self._more:
            return self._problems
        more = replace(self._problems[-1], line=None, param=None)
        return [*self._problems, replace(more, message=f"{self._more:,} more lines are wrong.")]

    def finish(self) -> list[Run]:
        """Write down the runs."""
        return list(self._finished())

    def _finished(self) -> Iterator[Run]:
        now = self._on.workspace.clock.now()
        for going in self._runs.values():
            going.flush()
            yield going.run.finish(now=now)
        if self._declined is not None:
            self._declined.add(self._declines)
            spec = Spec(provider=EMBEDDED.provider, model=None, api=self._order.api)
            yield self._declined.finish(spec, source=self._order.id, now=now)
