"""Several rows in one prompt: each comes out once with its own answer, none is paid for twice."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from anybatch.core.model import Batch, Request, Result, Row, Run, Spec, Usage
from anybatch.core.packing import Compared
from anybatch.core.plan import Limits
from anybatch.core.schema import from_labels
from anybatch.engine.packing import known
from anybatch.engine.sameness import fingerprint, parts_of
from anybatch.errors import BadSettings
from anybatch.providers.flow import Reply
from anybatch.store.journal import committed_lines
from anybatch.testing import (
    Answer,
    Call,
    CrashAt,
    FakeAnthropic,
    FakeEndpoint,
    FakeGemini,
    FakeOpenAI,
    Fault,
    Spoiled,
    Status,
    echo,
    in_packs,
    matching,
)
from anybatch.testing.service.faults import Unrun
from anybatch.wire.apis import wire_of
from anybatch.wire.jsonl import read_result
from anybatch.wire.translate import write_text

from .harness import Model, World, rows, spec
from .promises import broken_promises
from .test_crash import broken, crossings, every_death
from .test_rescue import by
from .test_rescue import world_of as rescued
from .test_vertex import vertex

PACK = 3
PACKS = 4
"""Of all twelve rows."""
PROMPT = "Say {{ topic }}: {{ text }}"
TWO_CALLS = Limits(max_requests=2)
NewWorld = Callable[[str], AbstractContextManager[World]]


def says(row: Row) -> str:
    return f"echo: Say {row['topic']}: {row['text']}"


def packed(**changes: Any) -> Spec:
    return spec(**{"pack": PACK, "prompt": PROMPT, **changes})


@contextmanager
def online(root: Path, *, canary: int = 0, **given: Any) -> Iterator[World]:
    asked = {name: given.pop(name) for name in ("output_schema", "parameters") if name in given}
    with FakeEndpoint(**{"answer": in_packs(echo), **given}) as endpoint:
        found = packed(base_url=endpoint.base_url, **asked)
        with World(root=root, spec=found, endpoint=endpoint, canary=canary, says=says) as world:
            yield world


class Kind(NamedTuple):
    """A provider with a batch API."""

    fake: Any
    provider: str
    api: Any


KINDS = {
    "openai.chat": Kind(FakeOpenAI, "openai", "openai.chat"),
    "openai.responses": Kind(FakeOpenAI, "openai", "openai.responses"),
    "anthropic.messages": Kind(FakeAnthropic, "anthropic", "anthropic.messages"),
    "gemini.generate": Kind(FakeGemini, "gemini", "gemini.generate"),
}


@contextmanager
def by_batch(
    root: Path, kind: Kind = KINDS["openai.chat"], *, canary: int = 0, **given: Any
) -> Iterator[World]:
    """Two calls a batch."""
    with kind.fake(**{"answer": in_packs(echo), **given}) as service:
        found = packed(
            base_url=service.base_url,
            provider=kind.provider,
            api=kind.api,
            executor="batch",
            tail="batch",
        )
        distinct = kind.provider == "anthropic"
        limits = Limits(max_requests=3, distinct_sizes=True) if distinct else TWO_CALLS
        with World(
            root=root, spec=found, service=service, canary=canary, says=says, limits=limits
        ) as world:
            yield world


def prompts(world: World) -> list[str]:
    assert world.endpoint is not None
    return [execution.prompt for execution in world.endpoint.ledger.executions]


def looked_at(world: World) -> tuple[Run, list[Batch]]:
    workspace = world.open()
    run = workspace.store.find_run("last")
    batches = workspace.store.batches(run.id)
    workspace.store.close()
    return run, batches


def journalled(world: World) -> list[Result]:
    workspace = world.open()
    run = workspace.store.find_run("last")
    folder = workspace.store.folder(run.id)
    found = [
        read_result(line)
        for batch in workspace.store.batches(run.id)
        for _, _, line in committed_lines(folder, batch.id, batch.journal)
    ]
    workspace.store.close()
    return found


# --- every way there is ---------------------------------------------------------------------------


def test_calls_ask_several_rows_at_once(scratch: Path) -> None:
    with online(scratch / "w") as world:
        world.live()

        assert broken_promises(world) == []
        assert world.executions == PACKS


@pytest.mark.parametrize("api", KINDS)
def test_so_do_the_lines_of_a_batch(api: str, scratch: Path) -> None:
    with by_batch(scratch / "w", KINDS[api]) as world:
        world.live()

        assert broken_promises(world) == []
        assert world.service is not None
        assert world.service.ledger.billed == PACKS


def test_so_do_lines_that_come_back_without_their_names(scratch: Path) -> None:
    with vertex(scratch / "w", answer=in_packs(echo)) as world:
        world.spec = replace(world.spec, pack=PACK, prompt=PROMPT)
        world.says, world.canary, world.limits = says, 0, TWO_CALLS
        world.live()

        assert broken_promises(world) == []
        assert world.service is not None
        assert world.service.ledger.billed == PACKS


@dataclass
class PackedModel(Model):
    """A model in this process that answers several inputs."""

    def reply(self, request: Request) -> Reply:
        self.asked.append(request.body)
        prompt = msgspec.json.decode(request.body)["messages"][-1]["content"]
        json = msgspec.json.decode(request.body)
        call = Call(
            number=1,
            attempt=1,
            path="",
            api="openai.chat",
            headers={},
            body=request.body,
            sha="",
            json=json,
            model="m",
            prompt=prompt,
            tokens_in=1,
        )
        said = in_packs(echo)(call)
        text = said.text if isinstance(said, Answer) else said
        usage = Usage(tokens_in=1, tokens_out=1)
        body = write_text("openai.chat", text, usage=usage, model="m", id="x")
        return Reply(status=200, body=body)


def test_so_does_a_model_in_this_process(scratch: Path) -> None:
    model = PackedModel()
    with World(root=scratch / "w", spec=packed(), model=model, canary=0, says=says) as world:
        world.live()

        assert broken_promises(world) == []
        assert model.executions == PACKS


def test_a_schema_holds_for_each_answer(scratch: Path) -> None:
    labels = from_labels(["a", "b"])
    with online(scratch / "w", output_schema=labels) as world:
        world.says = None
        world.live()

        assert broken_promises(world) == []
        assert world.executions == PACKS
        out = [msgspec.json.decode(line) for line in world.out.read_bytes().splitlines()]
        assert {row["label"] for row in out} == {"a", "b"}


def test_rows_are_shown_as_if_they_had_been_asked_alone(scratch: Path) -> None:
    with online(scratch / "w") as world:
        world.live()
        found = journalled(world)

        for result in found:
            answer = wire_of("openai.chat").read_answer("openai.chat", bytes(result.body))
            assert (answer.outcome, answer.usage) == ("succeeded", result.usage)
            assert result.model == "fake-1"
        assert world.endpoint is not None
        paid = world.endpoint.ledger.executions
        assert sum(result.usage.tokens_in for result in found) == sum(p.tokens_in for p in paid)
        assert sum(result.usage.tokens_out for result in found) == sum(p.tokens_out for p in paid)


def test_budgets_grow_with_the_rows(scratch: Path) -> None:
    with online(scratch / "w", parameters={"max_tokens": 16}) as world:
        world.live()

        assert broken_promises(world) == []
        assert world.executions == PACKS


def test_packs_go_by_the_tier_that_a_deadline_chose(scratch: Path) -> None:
    tiers: list[object] = []

    def answer(call: Call) -> Answer | str:
        tiers.append(call.json.get("service_tier"))
        return in_packs(echo)(call)

    with rescued(scratch / "w", answer=answer) as world:
        assert world.service is not None
        world.spec = replace(world.spec, executor=None, base_url=None, pack=4)
        world.providers = {"openai": {"base_url": world.service.base_url}}
        world.terms, world.canary = by(world, timedelta(hours=2)), 0
        world.live()
        _, (batch,) = looked_at(world)

        assert broken_promises(world) == []
        assert (batch.tier, batch.pack) == ("flex", 4)
        assert tiers == ["flex"] * (len(world.rows) // 4)


# --- what a model may do to several rows ----------------------------------------------------------


def altered(change: Callable[[list[Any]], list[Any]]) -> Callable[[Call], Answer | str]:
    """Packs are answered with a list that was changed; what is asked alone is answered well."""

    def answer(call: Call) -> Answer | str:
        said = in_packs(echo)(call)
        if isinstance(said, Answer):
            return said
        items = msgspec.json.decode(said)["answers"]
        return msgspec.json.encode({"answers": change(items)}).decode()

    return answer


CHANGES: dict[str, tuple[Callable[[list[Any]], list[Any]], int]] = {
    "in another order": (lambda items: items[::-1], 0),
    "one twice, the same": (lambda items: [*items, items[0]], 0),
    "one for nobody": (lambda items: [*items, {"id": "none", "answer": "x"}], 0),
    "one left out": (lambda items: items[1:], 1),
    "one under a wrong id": (lambda items: [{**items[0], "id": "none"}, *items[1:]], 1),
    "one twice, and not the same": (lambda items: [*items, {**items[0], "answer": "x"}], 1),
    "none": (lambda items: [], PACK),
}
"""What is done to each list, and how many of its rows are then asked alone."""


@pytest.mark.parametrize("how", CHANGES)
def test_whoever_has_no_answer_of_his_own_is_asked_alone(how: str, scratch: Path) -> None:
    change, alone = CHANGES[how]
    with online(scratch / "w", answer=altered(change)) as world:
        world.live()

        assert broken_promises(world) == []
        assert world.executions == PACKS + PACKS * alone


@pytest.mark.parametrize(
    ("fault", "alone"),
    [
        (Spoiled("refused"), PACK),
        (Spoiled("filtered"), PACK),
        (Spoiled("off_schema"), PACK),
        (Spoiled("truncated"), 2),  # half of three is one whole answer
        (Status(400), PACK),
        (Status(413), PACK),
    ],
    ids=str,
)
def test_what_befalls_a_pack_is_not_held_against_its_rows(
    fault: Fault, alone: int, scratch: Path
) -> None:
    with online(scratch / "w", script=matching(r"row 004.*row 005", fault)) as world:
        world.live()

        assert broken_promises(world) == []
        charged = 0 if isinstance(fault, Status) else 1
        assert world.executions == PACKS - 1 + charged + alone


def test_a_row_that_is_refused_alone_is_refused(scratch: Path) -> None:
    with online(scratch / "w", script=matching("row 004", Spoiled("refused"))) as world:
        world.live()

        assert broken_promises(world, outcomes={"succeeded": 11, "refused": 1}) == []
        assert world.executions == PACKS + PACK


def test_an_answer_that_does_not_fit_is_asked_for_alone(scratch: Path) -> None:
    def wrong_once(items: list[Any]) -> list[Any]:
        return [{**items[0], "answer": {"label": "neither"}}, *items[1:]]

    labels = from_labels(["a", "b"])
    with online(scratch / "w", answer=altered(wrong_once), output_schema=labels) as world:
        world.says = None
        world.live()

        assert broken_promises(world) == []
        assert world.executions == PACKS + PACKS


def test_what_was_never_run_goes_packed_once_more(scratch: Path) -> None:
    seen: set[str] = set()

    def expires_once(call: Call) -> Fault | None:
        first = call.prompt not in seen
        seen.add(call.prompt)
        return Unrun("expired") if first else None

    with by_batch(scratch / "w", rows=expires_once) as world:
        world.live()
        _, batches = looked_at(world)

        assert broken_promises(world) == []
        assert world.service is not None
        assert world.service.ledger.billed == PACKS
        assert {(batch.wave, batch.pack) for batch in batches} == {(1, PACK), (2, PACK)}


def test_a_row_of_a_pack_that_is_lost_goes_alone_in_the_next_batch(scratch: Path) -> None:
    with by_batch(scratch / "w", answer=altered(lambda items: items[1:])) as world:
        world.live()
        _, batches = looked_at(world)

        assert broken_promises(world) == []
        assert {(b.wave, b.pack, b.attempt) for b in batches} == {(1, PACK, 1), (2, 1, 1)}


def test_one_refused_call_is_one_error_however_many_rows_it_asks(scratch: Path) -> None:
    script = matching(r"row 004.*row 005", Status(401), times=1)
    with online(scratch / "w", script=script) as world:
        run = world.live()

        assert run.state == "ended"


# --- the trial ------------------------------------------------------------------------------------

MANY = 60
TRIED = 36


def differently(share: int) -> Callable[[Call], Answer | str]:
    """In packs, one row in so many is told something else."""

    def change(items: list[Any]) -> list[Any]:
        return [
            {**item, "answer": "else"} if int(item["answer"][-3:]) % share == 0 else item
            for item in items
        ]

    return altered(change)


@contextmanager
def trial(root: Path, how: str, **given: Any) -> Iterator[World]:
    new = online if how == "online" else by_batch
    with new(root, canary=TRIED, **given) as world:
        world.rows = rows(MANY)
        world.use(_written(root / "many.jsonl", world.rows))
        world.limits = Limits(max_requests=10)
        yield world


def _written(path: Path, rows: Sequence[Row]) -> Path:
    path.write_bytes(msgspec.json.Encoder().encode_lines(rows))
    return path


def told(world: World) -> Compared | None:
    workspace = world.open()
    run = workspace.store.find_run("last")
    found = known(workspace.store, run)
    assert found == workspace.report(run).progress.compared
    workspace.store.close()
    return found


@pytest.mark.parametrize("how", ["online", "batch"])
def test_some_rows_are_tried_both_ways_and_then_the_others_go(how: str, scratch: Path) -> None:
    with trial(scratch / "w", how) as world:
        world.live()
        compared = told(world)
        _, batches = looked_at(world)

        assert broken_promises(world) == []
        assert compared is not None
        assert (compared.rows, compared.packed, compared.alone) == (TRIED, TRIED, TRIED)
        assert [(f.name, f.agreed, f.of) for f in compared.fields] == [("answer", TRIED, TRIED)]
        assert compared.tokens_packed > 0
        assert compared.tokens_alone > 0
        calls = TRIED + MANY // PACK
        billed = world.service.ledger.billed if world.service else world.executions
        assert billed == calls
        assert sum(batch.size for batch in batches if batch.trial) == TRIED


@pytest.mark.parametrize("how", ["online", "batch"])
def test_where_they_do_not_agree_the_others_are_not_sent(how: str, scratch: Path) -> None:
    with trial(scratch / "w", how, answer=differently(6)) as world:
        stopped = world.live()
        before = told(world)
        world.canary = 0
        with_the_rest = reopened(world, canary=0)

        assert stopped.state == "stopped"
        assert stopped.why is not None
        assert "answer: 83.3% of 36 rows" in stopped.why
        assert before is not None
        assert before.fields[0].agreed == 30
        assert with_the_rest.state == "ended"


def test_less_may_be_asked_for(scratch: Path) -> None:
    with trial(scratch / "w", "online", answer=differently(6)) as world:
        world.live()

        assert reopened(world, agreement=0.5).state == "ended"


def reopened(world: World, **wishes: Any) -> Run:
    """What the command does that is typed once more, with other wishes."""
    original = world.open

    def opened(*args: Any, **given: Any) -> Any:
        workspace = original(*args, **given)
        run = workspace.store.find_run("last")
        workspace.reopen(run, **wishes)
        return workspace

    world.open = opened  # type: ignore[method-assign]
    return world.live()


def test_the_answers_given_alone_are_the_ones_that_count(scratch: Path) -> None:
    with trial(scratch / "w", "online", answer=differently(6)) as world:
        world.live()
        out = scratch / "out.jsonl"
        workspace = world.open()
        results = list(workspace.results(workspace.store.find_run("last")))
        workspace.store.close()

        assert not out.exists()
        answered = [r for r in results if r is not None]
        assert len(answered) == TRIED
        assert all(b"else" not in bytes(result.body) for result in answered)


def test_all_rows_of_a_small_run_are_compared(scratch: Path) -> None:
    with online(scratch / "w", answer=differently(3)) as world:
        world.canary = None
        run = world.live()
        compared = told(world)

        assert run.state == "ended"
        assert broken_promises(world) == []
        assert compared is not None
        assert (compared.rows, compared.fields[0].agreed) == (12, 8)


def test_who_comes_after_a_crash_knows_what_was_shown(scratch: Path) -> None:
    with trial(scratch / "w", "online", answer=differently(6)) as world:
        first = world.live()
        second = world.live()
        events = [e.name for e in events_of(world)]

        assert (first.state, second.state) == ("stopped", "stopped")
        assert second.why == first.why
        assert events.count("packs.compared") == 1


def events_of(world: World) -> list[Any]:
    workspace = world.open()
    found = workspace.store.events(workspace.store.find_run("last").id)
    workspace.store.close()
    return found


# --- crashes --------------------------------------------------------------------------------------


def left_out(items: list[Any]) -> list[Any]:
    """What packs are answered, without the first row of each."""
    return items[1:]


WORLDS: dict[str, Callable[[Path], AbstractContextManager[World]]] = {
    "calls": lambda root: online(root, answer=altered(left_out)),
    "batches": lambda root: by_batch(root, answer=altered(left_out)),
    "a trial by calls": lambda root: online(root, canary=12),
    "a trial by batches": lambda root: by_batch(root, canary=12),
}


@pytest.mark.gauntlet
@pytest.mark.parametrize("what", WORLDS)
def test_packs_die_anywhere(what: str, scratch: Path) -> None:
    deaths = every_death(lambda name: WORLDS[what](scratch / name))

    assert broken(deaths) == {}
    assert set(deaths) >= crossings("http.send", "http.receive", "journal.fsync")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", WORLDS)
def test_the_recovery_of_packs_dies_too(what: str, seed: int, scratch: Path) -> None:
    chance = random.Random(f"{what} {seed}")

    with WORLDS[what](scratch / "w") as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(1, 150)))
        world.live()

        assert broken_promises(world) == []


@pytest.mark.parametrize("seed", range(4))
def test_lost_submissions_of_packs_are_found_by_their_names(seed: int, scratch: Path) -> None:
    chance = random.Random(seed)
    with by_batch(scratch / "w", KINDS["anthropic.messages"]) as world:
        for _ in range(3):
            world.die(CrashAt(chance.randint(1, 150)))
        world.live()

        assert broken_promises(world) == []


# --- what cannot be packed ------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an api without texts": ({"api": "openai.embeddings"}, "answers one row a call"),
    "a system prompt of each row's own": ({"system": "Be {{ topic }}"}, "rows in one prompt share"),
    "an end of an answer": ({"parameters": {"stop": "x"}}, "--set stop does not go with --pack"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_asked_together_is_refused(what: str, scratch: Path) -> None:
    changes, why = REFUSED[what]
    with online(scratch / "w") as world:
        world.spec = replace(world.spec, **changes)

        with pytest.raises(BadSettings, match=why):
            world.live()


def test_a_trial_that_can_show_nothing_is_refused(scratch: Path) -> None:
    why = "--canary 11 rows cannot show an agreement of 90%"
    with online(scratch / "w", canary=11) as world, pytest.raises(BadSettings, match=why):
        world.live()


def test_packing_makes_another_run_and_not_packing_is_what_it_was() -> None:
    alone, together = (parts_of(packed(pack=rows), "data") for rows in (1, 3))

    assert "pack" not in alone
    assert fingerprint(alone) != fingerprint(together)
    assert {n: d for n, d in together.items() if n != "pack"} == alone
