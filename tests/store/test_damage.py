"""Whatever befalls a file of a store: no wrong row comes out, nothing is lost without a word."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from anybatch.core.model import Row
from anybatch.engine import delivery
from anybatch.engine.events import repeated
from anybatch.errors import AnybatchError, StoreCorrupt, StoreError
from anybatch.store.sqlite import SqliteStore
from anybatch.testing import CrashAt

from ..engine.harness import CALLS, Model, World, prompt_of, spec
from ..engine.harness import rows as all_different

Damage = Callable[[bytes], bytes | None]
"""What becomes of a file's content; None: it is gone."""


class Half:
    """A run that died half way, kept so that one may go on from there again and again."""

    def __init__(self, root: Path, *, rows: list[Row] | None = None) -> None:
        self.model = Model()
        asked = all_different() if rows is None else rows
        self.world = World(root=root / "world", spec=spec(), model=self.model, rows=asked)
        self._kept = root / "kept"
        # As long as somebody has it open, the log stays beside the database.
        with closing(SqliteStore(self.store)) as elsewhere:
            assert self.world.die(CrashAt(9, only="journal.fsync"))
            shutil.copytree(self.store, self._kept)
            (self.run,) = elsewhere.runs()
        self._asked = list(self.model.asked)

    @property
    def store(self) -> Path:
        return self.world.root / "store"

    @property
    def files(self) -> list[str]:
        return sorted(str(f.relative_to(self._kept)) for f in self._kept.rglob("*") if f.is_file())

    def hurt(self, file: str, damage: Damage) -> None:
        """Go back to where it died, and damage one file."""
        shutil.rmtree(self.store)
        shutil.copytree(self._kept, self.store)
        self.model.asked[:] = self._asked
        self.change(file, damage)

    def change(self, file: str, damage: Damage) -> None:
        content = damage((self.store / file).read_bytes())
        (self.store / file).unlink()
        if content is not None:
            (self.store / file).write_bytes(content)

    def wrongs(self) -> Iterator[str]:
        """What nobody may see, whoever looks or goes on."""
        try:
            yield from self._wrong_rows()
        except AnybatchError as e:
            yield from self._bad_words(e)
        try:
            self.world.live()
            yield from self._wrong_rows(pending=False)
            yield from self._silent_losses()
        except AnybatchError as e:
            yield from self._bad_words(e)

    def _wrong_rows(self, *, pending: bool = True) -> Iterator[str]:
        with closing(self.world):
            workspace = self.world.open()
            run = workspace.store.find_run("last")
            workspace.report(run)
            columns = workspace.columns(run)
            cells = [row for chunk in workspace.joined(run) for row in chunk]
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        if [(row["topic"], row["text"]) for row in rows] != [
            (row["topic"], row["text"]) for row in self.world.rows
        ]:
            yield "the rows are not what they were"
        for row in rows:
            right = {
                "succeeded": f"echo: {prompt_of(row)}",
                **({"pending": None} if pending else {}),
            }
            if row["answer"] != right.get(row["_outcome"], "no answer"):
                yield f"{row['text']} is {row['_outcome']} with {row['answer']!r}"

    def _silent_losses(self) -> Iterator[str]:
        with closing(self.world):
            store = self.world.open().store
            if not store.has_run(self.run.id):
                strays = [path.name for path in store.strays()]
                if strays != [self.run.id]:
                    yield f"the run is forgotten, the strays are {strays}"
            elif self.model.repeated > repeated(store.events(self.run.id)):
                yield f"{self.model.repeated} calls were repeated, and nobody says so"

    def _bad_words(self, e: AnybatchError) -> Iterator[str]:
        if isinstance(e, StoreError) and str(self.store) not in str(e):
            yield f"{e} does not say where"
        if isinstance(e, StoreError) and "estore it" not in str(e):
            yield f"{e} does not say what to do"


@pytest.fixture
def half(tmp_path: Path) -> Half:
    return Half(tmp_path)


WAYS: dict[str, Damage] = {
    "gone": lambda content: None,
    "empty": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "twice as long": lambda content: content * 2,
    "all zeros": lambda content: bytes(len(content)),
}


def with_the_last_bit_changed(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


def with_a_bit_changed(at: int) -> Damage:
    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        return bytes(changed)

    return damage


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_damaged_gives_no_wrong_row_and_loses_nothing_in_silence(
    half: Half, way: str
) -> None:
    wrong: dict[str, list[str]] = {}
    for file in half.files:
        half.hurt(file, WAYS[way])
        if found := list(half.wrongs()):
            wrong[file] = found

    assert len(half.files) >= 8
    assert wrong == {}


def test_a_bit_that_changed_gives_no_wrong_row_and_loses_nothing_in_silence(half: Half) -> None:
    wrong: dict[tuple[str, int], list[str]] = {}
    for file in half.files:
        size = (half._kept / file).stat().st_size
        for at in range(0, size, max(1, size // 12)):
            half.hurt(file, with_a_bit_changed(at))
            if found := list(half.wrongs()):
                wrong[file, at] = found

    assert wrong == {}


@pytest.mark.parametrize("way", [*WAYS, "a bit changed"])
def test_where_rows_share_requests_no_damage_gives_a_row_the_answer_of_another(
    tmp_path: Path, way: str
) -> None:
    half = Half(tmp_path, rows=all_different() * 2)
    (mapped,) = (file for file in half.files if file.endswith("rows.index"))
    wrong: dict[str, list[str]] = {}
    for damage in [WAYS[way]] if way in WAYS else map(with_a_bit_changed, range(0, 100, 9)):
        half.hurt(mapped, damage)
        asked = len(half.model.asked)
        if found := list(half.wrongs()):
            wrong[mapped] = found
        assert len(half.model.asked) == asked, "something was sent"

    assert wrong == {}


def digit_changed(content: bytes) -> bytes:
    """Another number at the head of the first line, in as many bytes."""
    head, rest = content[:5], content[5:]
    return head + (b"9" if rest[:1] != b"9" else b"8") + rest[1:]


HEADS: dict[str, Damage] = {
    "a number that another row has": digit_changed,
    "no number": lambda content: content[:5] + b"?" + content[6:],
    "no line": lambda content: b"\xff" * 8 + content[8:],
    "another answer": lambda content: content.replace(b"echo", b"ECHO", 1),
    "another outcome": lambda content: content.replace(b"succeeded", b"cancelled", 1),
    "lines that changed places": lambda content: b"".join(reversed(content.splitlines(True))),
}


@pytest.mark.parametrize("head", HEADS)
def test_a_result_that_was_changed_in_as_many_bytes_is_named_before_a_row_comes_out(
    half: Half, head: str
) -> None:
    segment = next(file for file in half.files if file.endswith(".1.jsonl"))
    half.hurt(segment, HEADS[head])
    asked = len(half.model.asked)

    with closing(half.world):
        workspace = half.world.open()
        with pytest.raises(StoreCorrupt) as looking:
            next(workspace.results(half.run))
        with pytest.raises(StoreCorrupt):
            next(workspace.joined(half.run))
    with pytest.raises(StoreCorrupt) as going_on:
        half.world.live()

    for refused in (looking, going_on):
        assert str(half.store / segment) in str(refused.value)
        assert f"`anybatch rm {half.run.id}`" in str(refused.value)
    assert len(half.model.asked) <= asked + 2 * CALLS


def test_a_damaged_request_stops_the_run_once_what_was_sent_is_recorded(half: Half) -> None:
    for life in range(3):
        if not life:
            half.hurt("runs/" + half.run.id + "/requests.jsonl", with_the_last_bit_changed)
        with pytest.raises(StoreCorrupt, match="damaged at request 11"):
            half.world.live()
        with closing(half.world):
            workspace = half.world.open()
            (run,) = workspace.store.runs()
            assert workspace.progress(run).counts == {"succeeded": 11}
            calls_made_again = repeated(workspace.store.events(run.id))

    assert half.model.repeated <= calls_made_again


@pytest.mark.parametrize("way", ["gone", "empty", "cut in half", "without its last byte"])
def test_rows_that_are_missing_are_noticed_before_anything_is_sent(half: Half, way: str) -> None:
    half.hurt("runs/" + half.run.id + "/rows.jsonl", WAYS[way])
    asked = len(half.model.asked)

    with pytest.raises(StoreCorrupt, match=r"rows\.jsonl"):
        half.world.live()

    assert len(half.model.asked) == asked


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (WAYS["gone"], "is gone"),
        (WAYS["all zeros"], "was changed at the result of request 4"),
        (HEADS["lines that changed places"], "was changed at the result of request 4"),
    ],
    ids=["gone", "all zeros", "lines that changed places"],
)
def test_a_journal_that_changes_while_rows_come_out_stops_them(
    half: Half, damage: Damage, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_LOOKED_UP", 1)
    segment = next(file for file in half.files if "-1-1." in file)

    with closing(half.world):
        coming = half.world.open().results(half.run)
        came = [next(coming)]
        half.change(segment, damage)
        with pytest.raises(StoreCorrupt, match=why) as refused:
            came.extend(coming)

    assert str(half.store / segment) in str(refused.value)
    assert [result.n for result in came if result is not None] == [0, 1, 2, 3]


def test_counts_that_the_journal_does_not_have_are_noticed_before_anything_is_sent(
    half: Half,
) -> None:
    half.hurt("anybatch.db-shm", lambda content: content)
    with closing(SqliteStore(half.store)) as store:
        unfinished = [b for b in store.batches(half.run.id) if b.status != "collected"]
        store.save(replace(unfinished[0], counts={"refused": 1 + unfinished[0].answered}))

    with pytest.raises(StoreCorrupt, match=rf"{unfinished[0].id}\..* the database counts \d"):
        half.world.live()
