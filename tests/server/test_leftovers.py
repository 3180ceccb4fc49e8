"""What an order leaves behind that could not be written down whole, and what becomes of it then."""

import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from anybatch.core.model import Row, Run
from anybatch.core.served import Declined, Order, Problem, Ready
from anybatch.engine.intake import forget, sweep
from anybatch.errors import StoreUnwritable
from anybatch.server.check import MAX_RUNS, OWN_RUNS, Checking, check, run_id
from anybatch.server.routes import routes_of, with_routes
from anybatch.server.shared import ServingWorkspace
from anybatch.settings import Settings
from anybatch.store.requests import RequestFile
from anybatch.store.rows import read_rows
from anybatch.store.served import ServedStore

from .test_check import HERE, ORDER, Plain, folders

DEAD = "elsewhere:1:1/1/1"


def there(provider: str) -> dict[str, Any]:
    return {"provider": provider, "base_url": HERE, "api_key_env": ""}


class Lenient(Plain):
    """Of a model that nothing answers for, its request says so, and the others run."""

    def read(self, number: int, line: bytes) -> Ready | Problem | None:
        read = super().read(number, line)
        if not isinstance(read, Ready):
            return read
        asked = {"model": read.model, "messages": [{"role": "user", "content": "hi"}]}
        return replace(read, body=json.dumps(asked).encode())

    def unserved(self, model: str, number: int | None) -> Any:
        return Declined(name="", status=404, message=f"not {model}.")


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Checking]:
    (tmp_path / "own.gguf").touch()
    given = (
        {"model": "local-*", "provider": f"local/{tmp_path / 'own.gguf'}"},
        {"model": "gpt-*", "executor": "batch", **there("openai")},
        {"model": "gemini-*", "executor": "online", **there("gemini")},
        {"model": "*", "provider": "one", "base_url": HERE, "api_key_env": ""},
    )
    settings = Settings(home=tmp_path / "home", routes=given)
    routes = routes_of(settings)
    with closing(ServedStore(settings.home)) as store:
        workspace = ServingWorkspace(settings=with_routes(settings, routes), store=store)
        faces = {"plain": Lenient()}
        yield Checking(workspace=workspace, store=store, routes=routes, faces=faces)


def look(on: Checking, models: list[str]) -> Order:
    path = on.store.root.parent / "input"
    path.write_text("".join(f"{n} {model}\n" for n, model in enumerate(models)))
    return check(on, ORDER, path)


@contextmanager
def open_files(more: int) -> Iterator[None]:
    """No more than so many more may be open within the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Those that are free below the last one count as well.
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    free = (n for n in range(before[0]) if n not in taken)
    last = [next(free) for _ in range(more)][-1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# --- models ---


def rows_of(on: Checking, run: Run) -> list[Row]:
    return list(read_rows(on.store.folder(run.id), count=run.total))


def test_models_that_share_a_place_share_a_run_however_many_they_are(on: Checking) -> None:
    models = [f"m{n}" for n in range(5_000)]

    with open_files(3 * (OWN_RUNS + 1) + 10):
        order = look(on, models + models[:2] + models[-2:])

    runs = [on.store.run(run_id) for run_id in order.runs]
    names = [[row["custom_id"] for row in rows_of(on, run)] for run in runs]
    assert (order.total, order.model) == (5_004, None)
    assert [run.spec.model for run in runs] == [*models[:OWN_RUNS], None]
    assert names[:3] == [["0", "5000"], ["1", "5001"], ["2"]]
    assert names[-1] == [*map(str, range(OWN_RUNS, 5_000)), "5002", "5003"]
    with RequestFile(on.store.folder(runs[-1].id)) as requests:
        (request,) = requests.read([4_000 - OWN_RUNS])
    assert json.loads(request.body)["model"] == "m4000"


@pytest.mark.parametrize("kind", ["gpt", "gemini"])
def test_models_that_cannot_share_a_run_are_few_and_the_others_are_told(
    on: Checking, kind: str
) -> None:
    """By a batch API that takes one model a batch, and where the address names the model."""
    models = [f"{kind}-{n}" for n in range(500)]

    with open_files(3 * MAX_RUNS + 10):
        order = look(on, models)

    runs = [on.store.run(run_id) for run_id in order.runs]
    declined = rows_of(on, runs[-1])
    assert [run.spec.model for run in runs[:-1]] == models[:MAX_RUNS]
    assert [row["custom_id"] for row in declined] == [str(n) for n in range(MAX_RUNS, 500)]
    said = declined[0]["declined"]
    assert (said["status"], f"may name {MAX_RUNS}" in said["message"]) == (400, True)
    assert order.total == 500


def test_what_shares_a_run_is_taken_beside_as_many_models_as_cannot(on: Checking) -> None:
    shared = [f"m{n}" for n in range(100)]

    order = look(on, [*shared, *(f"gpt-{n}" for n in range(MAX_RUNS)), *shared])

    runs = [on.store.run(run_id) for run_id in order.runs]
    named = [run.spec.model for run in runs[OWN_RUNS + 1 : -1]]
    assert named == [f"gpt-{n}" for n in range(MAX_RUNS - OWN_RUNS - 1)]
    assert runs[OWN_RUNS].total == 2 * (100 - OWN_RUNS)
    assert runs[-1].total == OWN_RUNS + 1


def test_routes_that_lead_to_one_place_share_a_run_there(tmp_path: Path) -> None:
    models = [f"m{n}" for n in range(2 * MAX_RUNS)]
    given = tuple({"model": model, **there("one")} for model in models)
    settings = Settings(home=tmp_path / "home", routes=given)
    routes = routes_of(settings)
    with closing(ServedStore(settings.home)) as store:
        workspace = ServingWorkspace(settings=with_routes(settings, routes), store=store)
        faces = {"plain": Lenient()}
        on = Checking(workspace=workspace, store=store, routes=routes, faces=faces)
        order = look(on, models)
        runs = [store.run(run_id) for run_id in order.runs]

    assert [run.spec.model for run in runs] == [*models[:OWN_RUNS], None]
    assert sum(run.total for run in runs) == len(models)


def test_names_of_one_model_in_this_process_are_one_run(on: Checking) -> None:
    order = look(on, [f"local-{n}" for n in range(2 * MAX_RUNS)])

    (run,) = (on.store.run(run_id) for run_id in order.runs)
    assert run.total == 2 * MAX_RUNS


# --- what is left ---


def test_an_order_for_which_no_file_is_left_is_looked_at_again(on: Checking) -> None:
    models = [f"gpt-{n}" for n in range(20)]

    with open_files(18), pytest.raises(StoreUnwritable, match="oo many open files"):
        look(on, models)
    order = look(on, models)

    assert len(order.runs) == 20
    assert folders(on) == sorted(order.runs)


def test_what_is_left_is_found_behind_a_gap(on: Checking) -> None:
    for place in (1, 5, MAX_RUNS):
        folder = on.store.folder(run_id(ORDER, place))
        folder.mkdir()
        (folder / "rows.jsonl").touch()
    on.store.folder(run_id(ORDER, 3)).with_suffix(".planning").write_text(DEAD)

    order = look(on, ["m"])

    assert folders(on) == list(order.runs)


def test_what_could_not_be_removed_stays_marked_and_is_swept_later(
    on: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = on.store.folder("left")
    folder.mkdir()
    mark = folder.with_name("left.planning")
    here = on.workspace.owner.partition("/")[0]
    mark.write_text(f"{here}/0/1")  # nobody has that pid

    with monkeypatch.context() as refusing:
        refusing.setattr(shutil, "rmtree", lambda *given, **more: None)
        forget(folder)
        sweep(on.store)
    assert (folder.exists(), mark.exists()) == (True, True)
    sweep(on.store)

    assert folders(on) == []


def test_an_order_is_looked_at_where_another_stands_beside_it(on: Checking) -> None:
    """Nothing of an order whose id begins alike is taken for what this one has left."""
    other = replace(ORDER, id="batch_x-0")
    path = on.store.root.parent / "input"
    path.write_text("1 m\n")
    first = check(on, other, path)

    second = look(on, ["m"])

    assert folders(on) == sorted((*first.runs, *second.runs))
