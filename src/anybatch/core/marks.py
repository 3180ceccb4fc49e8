"""Our mark on what we upload: by its name we know it again, whatever became of who sent it."""

PREFIX = "anybatch-"
"""How the name of every upload of ours begins."""
_ENDING = ".jsonl"


def upload_name(batch_id: str) -> str:
    """What the requests of a batch are called where they are uploaded."""
    return f"{PREFIX}{batch_id}{_ENDING}"


def batch_in(name: str) -> str | None:
    """The id of the batch whose upload has this name; None if it is none of ours."""
    batch_id = name.removeprefix(PREFIX).removesuffix(_ENDING)
    return batch_id if batch_id and name == upload_name(batch_id) else None
