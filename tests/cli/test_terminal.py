"""What one sees on a terminal, and what one is asked there."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anybatch.testing import FakeEndpoint, Status, retry_after

from .process import anybatch, asking, write_rows
from .terminal import COLOUR, Terminal

ROWS = 100
"""From so many rows on we are asked."""
QUESTION = f"Send {ROWS} requests to far/fake-1?"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(latency=0.02) as endpoint:
        yield endpoint


@pytest.fixture
def home(tmp_path: Path, endpoint: FakeEndpoint) -> Path:
    """A folder with data, and a provider that counts as far away: no loopback address."""
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])
    far = endpoint.base_url.replace("127.0.0.1", "0.0.0.0")
    (tmp_path / "anybatch.toml").write_text(
        f'[providers.far]\nbase_url = "{far}"\nkey_env = "KEY"\n'
    )
    return tmp_path


# --- what one sees ---


def test_progress_is_live_and_the_report_stays(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = Terminal(*asking(endpoint, "--concurrency", 4), home=home)

    assert terminal.end() == 0
    assert "━" in terminal.text()
    assert "/s" in terminal.text()
    assert "left" in terminal.text()
    assert "ok  run" in terminal.text()
    assert f"{ROWS} rows = {ROWS} succeeded" in terminal.text()
    assert COLOUR.search(terminal.printed)


def test_the_cursor_comes_back(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = Terminal(*asking(endpoint), home=home)

    terminal.end()

    assert HIDE_CURSOR in terminal.printed
    assert terminal.printed.rindex(SHOW_CURSOR) > terminal.printed.rindex(HIDE_CURSOR)


def test_the_cursor_comes_back_however_one_leaves(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = Terminal(*asking(endpoint, "--concurrency", 1), home=home)
    terminal.read_until("left")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_until("once more leaves at once")
    time.sleep(0.6)  # two at once count as one
    terminal.process.send_signal(signal.SIGINT)

    assert terminal.end() == 130
    assert terminal.printed.rindex(SHOW_CURSOR) > terminal.printed.rindex(HIDE_CURSOR)


@pytest.mark.parametrize(("columns", "lines"), [(20, 5), (1, 1), (500, 3)])
def test_a_terminal_may_be_of_any_size(
    columns: int, lines: int, home: Path, endpoint: FakeEndpoint
) -> None:
    terminal = Terminal(*asking(endpoint), home=home, columns=columns, lines=lines)

    assert terminal.end() == 0
    assert "Traceback" not in terminal.text()


def test_a_narrow_terminal_is_not_wrapped(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = Terminal(*asking(endpoint, "--concurrency", 4), home=home, columns=30)

    terminal.end()

    live = [line for line in terminal.text().splitlines() if f"/{ROWS} ·" in line]
    assert live
    assert max(map(len, live)) <= 30


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Status(429, headers=retry_after(9)), "the service asked for a pause"),
        (Status(503, message="closed for tea"), "HTTP 503: closed for tea"),
    ],
    ids=["a pause", "backing off"],
)
def test_while_nothing_is_sent_the_progress_says_why(fault: Status, why: str, home: Path) -> None:
    with FakeEndpoint(script=lambda call: fault) as endpoint:
        terminal = Terminal(*asking(endpoint, "--concurrency", 2), home=home)
        terminal.read_until(f"waiting: {why}")
        terminal.process.send_signal(signal.SIGINT)

        assert terminal.end() == 130


def test_the_reason_for_waiting_is_told_to_its_end_however_narrow_the_terminal_is(
    home: Path,
) -> None:
    why = "closed for tea, and nobody can say for how long that will take"
    with FakeEndpoint(script=lambda call: Status(503, message=why)) as endpoint:
        terminal = Terminal(*asking(endpoint, "--concurrency", 2), home=home, columns=40)
        terminal.read_until("nobody can say for how long that will \ntake")
        terminal.process.send_signal(signal.SIGINT)

        assert terminal.end() == 130


def test_no_color_is_heeded(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = Terminal(*asking(endpoint), home=home, NO_COLOR="1")

    assert terminal.end() == 0
    assert not COLOUR.search(terminal.printed)


def test_a_dumb_terminal_gets_plain_lines(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = Terminal(*asking(endpoint), home=home, TERM="dumb")

    assert terminal.end() == 0
    assert "\x1b" not in terminal.printed
    assert f"{ROWS}/{ROWS} ·" in terminal.printed


def test_a_pipe_gets_plain_lines(home: Path, endpoint: FakeEndpoint) -> None:
    finished = anybatch(*asking(endpoint, "-o", "-"), home=home)

    assert "\x1b" not in finished.stderr + finished.stdout
    assert f"{ROWS}/{ROWS} ·" in finished.stderr


def test_tables_fit_the_terminal_and_keep_every_word(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)

    terminal = Terminal("runs", home=home, columns=40)

    assert terminal.end() == 0
    assert max(map(len, terminal.text().splitlines())) <= 40
    assert "…" not in terminal.text()


def test_a_shown_request_ends_its_line_on_a_terminal_only(
    home: Path, endpoint: FakeEndpoint
) -> None:
    anybatch(*asking(endpoint), home=home)

    terminal = Terminal("show-request", "last", 0, home=home, columns=500)

    assert terminal.end() == 0
    assert terminal.text().endswith("}\n")
    assert anybatch("show-request", "last", 0, home=home).stdout.endswith("}")


# --- what one is asked ---


def far(home: Path, *more: object, **extra: str) -> Terminal:
    ask = ["run", "in.csv", "--prompt", "Say {{ text }}", "--model", "far/fake-1"]
    return Terminal(*ask, *more, home=home, KEY="k", **extra)


def runs(home: Path) -> int:
    return len(json.loads(anybatch("runs", "--json", home=home).stdout))


@pytest.mark.parametrize("keys", ["n\n", "\n", "\x04"], ids=["no", "enter", "end of input"])
def test_who_does_not_agree_sends_nothing_and_the_run_is_forgotten(
    keys: str, home: Path, endpoint: FakeEndpoint
) -> None:
    terminal = far(home)
    terminal.read_until(QUESTION)
    terminal.type(keys)

    assert terminal.end() == 1
    assert "anybatch: no" in terminal.text().splitlines()[-1]
    assert endpoint.ledger.received == 0
    assert runs(home) == 0


def test_who_agrees_sends(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = far(home)
    terminal.read_until(QUESTION)
    terminal.type("y\n")

    assert terminal.end() == 0
    assert len(endpoint.ledger.executions) == ROWS


def test_one_is_asked_again_if_the_window_was_closed_at_the_question(
    home: Path, endpoint: FakeEndpoint
) -> None:
    terminal = far(home)
    terminal.read_until(QUESTION)
    terminal.process.kill()
    terminal.end()

    again = far(home)
    again.read_until(QUESTION)
    again.type("n\n")

    assert again.end() == 1
    assert endpoint.ledger.received == 0


def test_one_who_agreed_is_not_asked_when_it_goes_on(home: Path, endpoint: FakeEndpoint) -> None:
    terminal = far(home, "--concurrency", 1)
    terminal.read_until(QUESTION)
    terminal.type("y\n")
    terminal.read_until("left")
    terminal.process.send_signal(signal.SIGINT)
    terminal.end()

    again = far(home)

    assert again.end() == 0
    assert "Send" not in again.text()
    assert len(endpoint.ledger.executions) == ROWS


@pytest.mark.parametrize(
    ("more", "extra"),
    [(["--yes"], {}), (["-y"], {}), ([], {"CI": "true"})],
    ids=["--yes", "-y", "in CI"],
)
def test_nobody_is_asked_where_the_answer_is_known(
    more: list[str], extra: dict[str, str], home: Path, endpoint: FakeEndpoint
) -> None:
    terminal = far(home, *more, **extra)

    assert terminal.end() == 0
    assert "Send" not in terminal.text()
    assert len(endpoint.ledger.executions) == ROWS


def test_nobody_is_asked_about_few_rows(home: Path) -> None:
    write_rows(home / "in.csv", [f"row {n}" for n in range(ROWS - 1)])

    terminal = far(home)

    assert terminal.end() == 0
    assert "Send" not in terminal.text()


@pytest.fixture
def refused(home: Path) -> Iterator[FakeEndpoint]:
    """A run whose rows were all refused, at a service that would answer them now."""
    with FakeEndpoint(script=[Status(400)] * ROWS) as endpoint:
        far = endpoint.base_url.replace("127.0.0.1", "0.0.0.0")
        (home / "anybatch.toml").write_text(
            f'[providers.far]\nbase_url = "{far}"\nkey_env = "KEY"\n'
        )
        ask = ["run", "in.csv", "--prompt", "Say {{ text }}", "--model", "far/fake-1"]
        assert anybatch(*ask, home=home, KEY="k").returncode == 4
        yield endpoint


RETRY = ["retry", "last", "--only", "bad_request"]
RETRY_QUESTION = f"Send {ROWS} rows again to far/fake-1?"


@pytest.mark.parametrize("keys", ["n\n", "\n", "\x04"], ids=["no", "enter", "end of input"])
def test_who_does_not_agree_to_a_retry_sends_and_changes_nothing(
    keys: str, home: Path, refused: FakeEndpoint
) -> None:
    before = anybatch("status", "--json", home=home).stdout
    terminal = Terminal(*RETRY, home=home, KEY="k")
    terminal.read_until(RETRY_QUESTION)
    terminal.type(keys)

    assert terminal.end() == 1
    assert "anybatch: no" in terminal.text().splitlines()[-1]
    assert refused.ledger.received == ROWS
    assert anybatch("status", "--json", home=home).stdout == before


def test_who_agrees_to_a_retry_sends(home: Path, refused: FakeEndpoint) -> None:
    terminal = Terminal(*RETRY, home=home, KEY="k")
    terminal.read_until(RETRY_QUESTION)
    terminal.type("y\n")

    assert terminal.end() == 0
    assert len(refused.ledger.executions) == ROWS


@pytest.mark.parametrize(
    ("more", "extra"), [(["--yes"], {}), ([], {"CI": "true"})], ids=["--yes", "in CI"]
)
def test_nobody_is_asked_about_a_retry_where_the_answer_is_known(
    more: list[str], extra: dict[str, str], home: Path, refused: FakeEndpoint
) -> None:
    terminal = Terminal(*RETRY, *more, home=home, KEY="k", **extra)

    assert terminal.end() == 0
    assert "Send" not in terminal.text()
    assert len(refused.ledger.executions) == ROWS


def test_without_a_terminal_a_retry_sends_as_run_does(home: Path, refused: FakeEndpoint) -> None:
    finished = anybatch(*RETRY, home=home, KEY="k")

    assert finished.returncode == 0
    assert len(refused.ledger.executions) == ROWS


def test_rm_asks(home: Path, endpoint: FakeEndpoint) -> None:
    anybatch(*asking(endpoint), home=home)
    kept = Terminal("rm", "last", home=home)
    kept.read_until("with its answers?")
    kept.type("n\n")
    still = (kept.end(), runs(home))

    gone = Terminal("rm", "last", home=home)
    gone.read_until("with its answers?")
    gone.type("y\n")

    assert still == (1, 1)
    assert (gone.end(), runs(home)) == (0, 0)
