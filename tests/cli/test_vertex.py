"""Vertex AI from the command line: settings, credentials, a bucket; processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from anybatch.testing import FakeVertex

from ..signing import ACCOUNT, NOWHERE, VARIABLE, account_file
from ..testing.jobs import put
from .process import anybatch, report, write_rows

RUN = [
    *("run", "in.csv", "--prompt", "Say {{ text }}", "--model", "vertex/gemini-x"),
    *("--executor", "batch", "--json"),
]
NAMED = "anybatch-0ddba11e-1-0"
"""How the objects of a batch begin that no store here knows."""


@pytest.fixture
def fake() -> Iterator[FakeVertex]:
    with FakeVertex(bucket="my-bucket") as fake:
        yield fake


@pytest.fixture
def home(fake: FakeVertex, tmp_path: Path) -> Path:
    """A folder with rows, and with settings that lead to the fake."""
    write_rows(tmp_path / "in.csv", ["one", "two", "three"])
    settings = [
        "[providers.vertex]",
        f'base_url = "{fake.base_url}"',
        f'storage_url = "{fake.address}"',
        'bucket = "my-bucket/runs"',
    ]
    (tmp_path / "anybatch.toml").write_text("\n".join(settings))
    return tmp_path


def kept(fake: FakeVertex) -> list[str]:
    return [file.filename for file in fake.ledger.leftover_files]


def test_a_run_goes_through_a_folder_of_the_bucket_and_leaves_it_as_it_was(
    fake: FakeVertex, home: Path
) -> None:
    put(fake, "runs/mine.jsonl", b"{}")

    finished = anybatch(*RUN, home=home)

    assert report(finished)["counts"] == {"succeeded": 3}
    (batch,) = fake.ledger.batches
    assert str(batch.input_file).startswith("gs://my-bucket/runs/anybatch-")
    assert kept(fake) == ["runs/mine.jsonl"]


def test_what_no_run_waits_for_is_found_and_deleted_with_its_results(
    fake: FakeVertex, home: Path
) -> None:
    for name in (f"{NAMED}.jsonl", f"{NAMED}.results/p/predictions.jsonl", "mine.jsonl"):
        put(fake, f"runs/{name}", b"{}")

    listed = anybatch("gc", "--remote", "vertex", home=home)
    deleted = anybatch("gc", "--remote", "vertex", "--yes", home=home)

    assert "2 files at vertex that no run here waits for" in listed.stderr
    assert deleted.returncode == 0, deleted.stderr
    assert kept(fake) == ["runs/mine.jsonl"]


def test_the_doctor_takes_every_step_with_a_service_account(tmp_path: Path) -> None:
    with FakeVertex(accounts=(ACCOUNT,)) as fake:
        account_file(tmp_path, fake.token_uri)
        asked = ["doctor", "vertex", "--model", "gemini-x", "--yes", "--json"]
        there = {**fake.environment, VARIABLE: "key.json"}
        finished = anybatch(*asked, "--base-url", fake.base_url, home=tmp_path, **there)

        said = report(finished)
        assert (said["ok"], said["left"]) == (True, [])
        assert said["steps"][0]["said"] == "in 'key.json'"
        assert kept(fake) == []


def test_a_file_of_requests_is_checked_without_a_project(tmp_path: Path) -> None:
    line = '{"custom_id":"a","request":{"contents":[{"parts":[{"text":"hi"}]}]}}\n'
    (tmp_path / "requests.jsonl").write_text(line + line)

    finished = anybatch("check", "requests.jsonl", "--provider", "vertex", home=tmp_path)

    assert finished.returncode == 1
    assert "requests.jsonl:2: duplicate_custom_id (custom_id)" in finished.stdout


@pytest.mark.parametrize(
    ("settings", "environment", "says"),
    [
        ("", {}, "needs a project, the id of a Google Cloud project"),
        ("", {"GOOGLE_CLOUD_PROJECT": "p"}, "needs a bucket, the name of a Cloud Storage bucket"),
        ('bucket = "my-bucket"\nproject = "p"', NOWHERE, "there are no credentials of Google"),
        (
            'bucket = "my-bucket"\nproject = "p"',
            {VARIABLE: "nothing.json"},
            "'nothing.json' holds no credentials of Google",
        ),
        ('location = "x.example/"', {}, "location must be the name of a place"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(
    settings: str, environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.csv", ["one"])
    (tmp_path / "anybatch.toml").write_text(f"[providers.vertex]\n{settings}\n")

    finished = anybatch(*RUN, home=tmp_path, **environment)

    assert finished.returncode == 1
    assert says in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
