"""Which prices count: what the user says, what was fetched last, what is installed."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from anybatch.engine import tariffs
from anybatch.engine.tariffs import FETCHED, keep, known_tariff, table, tariff_called, update
from anybatch.errors import AnybatchError, BadSettings, StoreUnwritable
from anybatch.providers.compatible import at
from anybatch.providers.local import LOCAL
from anybatch.settings import Settings

from .tables import published, serving

NOW = datetime.now(UTC)


def test_a_table_is_fetched_whole_and_gone_by(tmp_path: Path) -> None:
    home = tmp_path / "not there yet"
    with serving(published(a=7)) as url:
        updated = update(Settings(home=home, prices_url=url), now=NOW)

    assert table(Settings(home=home), now=NOW).source == "genai-prices, fetched"
    assert updated.before.source.startswith("genai-prices 0")
    assert {each.model for each in updated.differences if each.before is None} == {"a"}


def test_one_that_is_older_than_the_installed_one_is_not(tmp_path: Path) -> None:
    keep(published(a=7), Settings(home=tmp_path), now=NOW)
    long_ago = (NOW - timedelta(days=900)).timestamp()
    os.utime(tmp_path / FETCHED, (long_ago, long_ago))

    assert table(Settings(home=tmp_path), now=NOW).source.startswith("genai-prices 0")


def test_more_bytes_than_a_table_has_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tariffs, "_LONGEST", 1_000)
    with serving(b" " * 100_000 + published(a=7)) as url:
        settings = Settings(home=tmp_path, prices_url=url)
        with pytest.raises(AnybatchError, match=r"more than 1,000 bytes; .* stays"):
            update(settings, now=NOW)

    assert list(tmp_path.iterdir()) == []


def test_what_is_no_address_is_told(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, prices_url="ftp://somewhere")

    with pytest.raises(BadSettings, match="prices_url"):
        update(settings, now=NOW)


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serving(published(a=7)) as url:
        settings = Settings(home=tmp_path / "file", prices_url=url)
        with pytest.raises((StoreUnwritable, BadSettings)):
            update(settings, now=NOW)


def test_what_the_user_says_goes_before_any_table(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, prices={"openai/gpt-6-luna": {"input": 9, "output": 9}})

    found = tariff_called("openai/gpt-6-luna", settings, now=NOW)

    assert (found.source, found.tiers.keys()) == ("anybatch.toml", {"standard"})


def test_what_runs_on_this_machine_is_in_no_table_unless_the_user_says_so(tmp_path: Path) -> None:
    lab = at("http://127.0.0.1:1/v1", name="openrouter", key_env=None)
    said = Settings(home=tmp_path, prices={"openrouter/m": {"input": 1, "output": 1}})

    assert known_tariff(Settings(home=tmp_path), lab, "m", now=NOW) is None
    assert known_tariff(said, lab, "m", now=NOW) is not None
    assert known_tariff(said, lab, None, now=NOW) is None
    free = known_tariff(Settings(home=tmp_path), LOCAL, "smollm2", now=NOW)
    assert free is not None
    assert free.tiers["standard"].tokens_in.base == 0


WRONG: dict[str, tuple[bytes, int, int | None]] = {
    "not found": (published(a=1), 404, None),
    "a redirect": (b"", 302, None),
    "a page": (b"<html>log in</html>", 200, None),
    "half a table": (published(a=1)[:-9], 200, None),
    "a broken line": (published(a=1), 200, 10_000),
    "another table": (b'{"prices":[]}', 200, None),
    "no price": (published(), 200, None),
}


@pytest.mark.parametrize(("body", "status", "length"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_said_and_the_old_table_stays(
    body: bytes, status: int, length: int | None, tmp_path: Path
) -> None:
    old = published(a=7)
    keep(old, Settings(home=tmp_path), now=NOW)

    with serving(body, status=status, length=length) as url:
        settings = Settings(home=tmp_path, prices_url=url)
        with pytest.raises(AnybatchError, match=r"stays \(genai-prices, fetched\)") as raised:
            update(settings, now=NOW)

    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == [FETCHED]
    assert (tmp_path / FETCHED).read_bytes() == old
    assert (
        table(settings, now=NOW).tariff("openai", "a", on=NOW).tiers["standard"].tokens_in.base == 7
    )
