"""The names of our uploads."""

import pytest

from anybatch.core.marks import PREFIX, batch_in, upload_name


@pytest.mark.parametrize("batch_id", ["1a2b3c4d-1-0", "1a2b3c4d-2-0-deadbeef", "doctor-00c0ffee"])
def test_the_name_of_an_upload_tells_its_batch(batch_id: str) -> None:
    name = upload_name(batch_id)

    assert name.startswith(PREFIX)
    assert batch_in(name) == batch_id


@pytest.mark.parametrize(
    "name",
    ["", "mine.jsonl", "anybatch-.jsonl", "anybatch-x", "anybatch-x.json", "x-anybatch-1.jsonl"],
)
def test_what_others_named_is_none_of_ours(name: str) -> None:
    assert batch_in(name) is None
