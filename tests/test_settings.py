"""Settings come from a file, the environment and the command line, in that order of weight."""

from datetime import timedelta
from pathlib import Path

import pytest

from anybatch.errors import BadSettings
from anybatch.settings import FILE, Settings, load


def written(folder: Path, text: str) -> Path:
    (folder / FILE).write_text(text)
    return folder


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    settings = load(folder=tmp_path, environment={})

    assert settings == Settings(home=Path.home() / ".anybatch")
    assert settings.deadline == timedelta(minutes=10)


def test_everything_can_be_said_in_the_file(tmp_path: Path) -> None:
    text = """
        home = "/data/runs"
        deadline_seconds = 1.5
        lease_seconds = 60
        search_seconds = 9
        keep_remote = true
        [providers.mine]
        base_url = "http://h/v1"
        [providers.mine.parameters]
        temperature = 0
    """

    settings = load(folder=written(tmp_path, text), environment={})

    assert settings == Settings(
        home=Path("/data/runs"),
        deadline=timedelta(seconds=1.5),
        lease=timedelta(minutes=1),
        search=timedelta(seconds=9),
        keep_remote=True,
        providers={"mine": {"base_url": "http://h/v1", "parameters": {"temperature": 0}}},
    )


@pytest.mark.parametrize(
    ("environment", "store", "home"),
    [
        ({}, None, "/from/file"),
        ({"ANYBATCH_HOME": ""}, None, "/from/file"),
        ({"ANYBATCH_HOME": "/from/environment"}, None, "/from/environment"),
        ({"ANYBATCH_HOME": "/from/environment"}, Path("/from/store"), "/from/store"),
        ({}, Path("/from/store"), "/from/store"),
    ],
    ids=["file", "empty variable", "variable", "all", "option"],
)
def test_the_option_beats_the_variable_and_that_beats_the_file(
    environment: dict[str, str], store: Path | None, home: str, tmp_path: Path
) -> None:
    folder = written(tmp_path, 'home = "/from/file"')

    settings = load(folder=folder, environment=environment, store=store)

    assert settings.home == Path(home)


def test_a_home_folder_is_expanded(tmp_path: Path) -> None:
    settings = load(folder=tmp_path, environment={"ANYBATCH_HOME": "~/runs"})

    assert settings.home == Path.home() / "runs"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("home = ", "cannot be read: .*at end of document"),
        ("hoem = 'x'", r"has 'hoem'; it may have home, keep_remote, .*\[providers\.NAME\]"),
        ("keep_remote = 1", "keep_remote is true or false, not 1"),
        ("home = 5", "home must be the path of a folder, not 5"),
        ("home = ''", "home must be the path of a folder, not ''"),
        ("providers = 5", r"write providers as \[providers\.NAME\] tables"),
        ("[providers]\nmine = 5", r"write providers as \[providers\.NAME\] tables"),
        ("deadline_seconds = 0", "deadline_seconds must be a number of seconds above 0.* not 0"),
        ("deadline_seconds = -1", "deadline_seconds must be a number"),
        ("deadline_seconds = true", "deadline_seconds must be a number"),
        ("deadline_seconds = '5'", "deadline_seconds must be a number"),
        ("deadline_seconds = nan", "deadline_seconds must be a number"),
        ("deadline_seconds = inf", "deadline_seconds must be a number"),
        ("lease_seconds = 1e300", "lease_seconds must be a number"),
        ("budgets = 5", r"write budgets as a \[budgets\] table"),
        ("[budgets]\nper_week = 5", r"'per_week'; it may have per_run, per_day, per_key"),
        ("[budgets]\nper_run = 0", r"per_run of \[budgets\] is dollars, as 25 or 0.50, not 0"),
        ("[budgets]\nper_run = true", r"per_run of \[budgets\] is dollars"),
        ("[budgets]\nper_run = inf", r"per_run of \[budgets\] is dollars"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_way_out(
    text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(BadSettings, match=rf"(?s)anybatch\.toml.*{says}") as raised:
        load(folder=written(tmp_path, text), environment={})

    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"home = '\xff\xfe'")

    with pytest.raises(BadSettings, match="cannot be read"):
        load(folder=tmp_path, environment={})


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with pytest.raises(BadSettings, match="cannot be read"):
        load(folder=tmp_path, environment={})


def test_the_environment_is_never_printed(tmp_path: Path) -> None:
    settings = load(folder=tmp_path, environment={"OPENAI_API_KEY": "sk-secret"})

    assert settings.environment["OPENAI_API_KEY"] == "sk-secret"
    assert "sk-secret" not in repr(settings)
    assert "sk-secret" not in str(settings)
