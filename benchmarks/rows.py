"""A CSV of made-up questions, the same every time."""

from pathlib import Path

_WORDS = (
    *("card", "transfer", "account", "balance", "refund", "charge"),
    *("limit", "pin", "travel", "app", "fee", "salary"),
)


def write_csv(path: Path, rows: int) -> Path:
    """`rows` rows of `id` and a `text` of about sixty characters."""
    with open(path, "w") as file:
        file.write("id,text\n")
        for n in range(rows):
            a, b, c = (_WORDS[(n * k) % len(_WORDS)] for k in (1, 5, 7))
            file.write(f"{n},Why does my {a} show a {b} when I asked for a {c} in branch {n}?\n")
    return path
