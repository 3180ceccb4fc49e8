"""A few rows first: what the command line says and takes."""

from pathlib import Path

from anybatch.testing import FakeOpenAI

from .process import anybatch, write_rows


def words(service: FakeOpenAI, *more: object) -> list[object]:
    model = ["--model", "openai/fake-1", "--base-url", service.base_url, "--executor", "batch"]
    return ["run", "in.csv", "--prompt", "Say {{ text }}", "--labels", "a,b", *model, *more]


def test_invalid_first_rows_stop_the_command_and_no_canary_goes_on(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.csv", [f"row {n}" for n in range(30)])

    with FakeOpenAI(answer=lambda call: "?") as service:
        stopped = anybatch(*words(service, "--canary", 5), home=tmp_path)
        billed = service.ledger.billed
        going = anybatch(*words(service, "--no-canary"), home=tmp_path)
        all_billed = service.ledger.billed

    assert (stopped.returncode, billed) == (4, 5)
    said = stopped.stderr
    assert "5 of the first 5 rows have no valid answer" in said
    assert "mend the prompt or the schema, which makes a new run" in said
    assert "The same command alone stops here again; with --no-canary run" in said
    assert "Mend that and run the same command again" not in said
    assert going.returncode == 4
    assert all_billed > 25
