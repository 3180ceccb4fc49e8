"""What is found of our uploads, by the beginning of their names."""

from anybatch.providers import anthropic, gemini, openai
from anybatch.providers.provider import Uploaded

from .test_openai import held, ok


def test_openai_lists_files_by_the_beginning_of_their_names_on_any_page() -> None:
    first = {"data": [{"id": "f1", "filename": "anybatch-1"}], "has_more": True}
    second = {"data": [{"id": "f2", "filename": "x"}, {"id": "f3", "filename": "anybatch-2"}]}

    found, calls = held(
        openai.list_uploads("anybatch-"), ok(first), ok({**second, "has_more": False})
    )

    assert found == [Uploaded("f1", "anybatch-1"), Uploaded("f3", "anybatch-2")]
    assert [call.path for call in calls] == [
        "/files?purpose=batch&limit=1000",
        "/files?purpose=batch&limit=1000&after=f1",
    ]


def test_gemini_lists_files_by_the_beginning_of_the_names_we_gave_them() -> None:
    files = [
        {"name": "files/1", "displayName": "anybatch-1"},
        {"name": "files/2", "displayName": "mine"},
        {"name": "files/3"},
    ]

    found, _ = held(gemini.list_uploads("anybatch-"), ok({"files": files}))

    assert found == [Uploaded("files/1", "anybatch-1")]


def test_anthropic_keeps_no_uploads() -> None:
    assert anthropic.BATCHES.list_uploads is None
