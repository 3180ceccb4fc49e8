"""What no file of the repository may hold: a registry's address, a path of one machine."""

import re
import shutil
import subprocess

import pytest

from .source import ROOT

REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|https?://\S+/simple\b", re.IGNORECASE)
MACHINE = re.compile(r"(?<![\w.~)}-])/(?:root|work|(?:home|Users)/\w+)/")


def text_of(file: str) -> str:
    try:
        return (ROOT / file).read_text("utf-8")
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
        return ""


def repository_files() -> list[str]:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    return sorted(listed.decode().split("\0")[:-1])


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE], ids=["registry", "machine"])
def test_no_file_names_a_registry_or_a_machines_path(pattern: re.Pattern[str]):
    found = {file: match for file in repository_files() if (match := pattern.search(text_of(file)))}

    assert found == {}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRY, "https://packages.example/".join(("--index-" + "url ", "simple"))),
        (REGISTRY, "https://files.python" + "hosted.org/packages/1e/02"),
        (MACHINE, "# via -r /" + "home/me/requirements.in"),
        (MACHINE, "'/" + "root/.cache'"),
    ],
)
def test_an_address_or_a_path_is_noticed(pattern: re.Pattern[str], text: str):
    assert pattern.search(text)


def test_every_locked_requirement_has_a_hash():
    for file in (ROOT / "requirements").glob("*.txt"):
        listed = re.split(r"\n(?=[a-z0-9])", file.read_text("utf-8"))

        assert [each for each in listed[1:] if "--hash=sha256:" not in each] == [], file.name
