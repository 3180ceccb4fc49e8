"""Our mark on what we upload: by its name we know it again, whatever became of who sent it."""

import re

PREFIX = "anybatch-"
"""How the name of every upload of ours begins."""
_ENDING = ".jsonl"
_BATCH_ID = re.compile(r"[0-9A-Za-z_-]{8,}-\d+-\d+(-[0-9a-f]{8})?(-\d+)*")


def upload_name(batch_id: str) -> str:
    """What the requests of a batch are called where they are uploaded."""
    return f"{PREFIX}{batch_id}{_ENDING}"


def batch_in(name: str) -> str | None:
    """The id of the batch whose upload has this name; None if it is none of ours."""
    batch_id = name.removeprefix(PREFIX).removesuffix(_ENDING)
    return batch_id if batch_id and name == upload_name(batch_id) else None


def looks_like_ours(batch_id: str) -> bool:
    """Whether a name may be the id of a batch of ours; others may call theirs so, too."""
    return _BATCH_ID.fullmatch(batch_id) is not None
