"""A row and a prompt template -> a request body.

A template that only substitutes columns, which most do, is flattened into a byte string with holes
and never meets Jinja again; any other is rendered by Jinja's sandbox. Both give the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from unicodedata import normalize
from zlib import crc32

import jinja2
import msgspec
from jinja2 import nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import BadTemplate
from .model import Json, Row

ROW = "row"
"""The name under which a template sees the whole row: `{{ row["First name"] }}`."""

_PREFIX_WINDOW = 1024
"""Where a template is not flat, so many characters of its text stand for its prefix."""


class BadRow(ValueError):
    """This row cannot be rendered; its neighbours may."""

    def __init__(self, why: str, *, mend: str = "it") -> None:
        super().__init__(why)
        self.mend = mend
        """What the user is to mend."""


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """One request, ready to be stored."""

    body: bytes
    prefix: int
    """CRC-32 of the first text that varies: equal for rows that share a cacheable prefix."""


class Column(NamedTuple):
    """A hole in a flat template."""

    name: str


Piece = str | Column
Render = Callable[[Row], Rendered]
Shape = Callable[[str | None, str | None], Json]
"""(system text, user text) -> the body: how a wire arranges the texts."""


def _as_text(value: object) -> object:
    if callable(value) and not isinstance(value, jinja2.Undefined):
        # `{{ row.items }}` finds the method of `row` before the column.
        name = getattr(value, "__name__", type(value).__name__)
        name = "loop" if isinstance(value, LoopContext) else name
        raise TypeError(f'{name!r} is a function; write {{{{ row["{name}"] }}}} for the column')
    return "" if value is None else value


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, autoescape=False, finalize=_as_text
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A compiled template."""

    source: str
    template: jinja2.Template
    pieces: tuple[Piece, ...] | None
    """The flat form, where there is one."""
    columns: frozenset[str]
    """The columns it needs."""
    around: tuple[str, str] = ("", "")
    """What every text begins with, and what it ends with."""

    def render(self, row: Row) -> str:
        """The text for `row`. Raises BadRow."""
        try:
            return self.template.render({**row, ROW: row})
        except Exception as e:  # a template is a program of the user's: it may raise anything
            why = f"the prompt template fails on it: {_reason(e)}"
            raise BadRow(why, mend="the template or the row") from e


def _reason(e: Exception) -> str:
    """What `e` says, as a part of a sentence."""
    return str(e).rstrip(".") or type(e).__name__


def compile_prompt(source: str, *, columns: Iterable[str] | None = None) -> Prompt:
    """Compile `source`; with `columns` given, raise BadTemplate if it needs another one.

    A name that could mean a column and something else is refused: neither path guesses.
    """
    try:
        source.encode()
        tree = _ENVIRONMENT.parse(source)
        template = _ENVIRONMENT.from_string(source)
    except jinja2.TemplateSyntaxError as e:
        said = (e.message or "").rstrip(".")
        raise BadTemplate(
            f"the prompt template is not valid, line {e.lineno}: {said}. Correct it there"
        ) from e
    except (SyntaxError, ValueError, ArithmeticError, RecursionError) as e:
        raise BadTemplate(f"the prompt template is not valid: {_reason(e)}. Correct it") from e
    _refuse_forbidden(tree)
    columns = None if columns is None else tuple(columns)
    _refuse_doubtful(tree, columns or ())
    pieces = _flatten(tree)
    needed = frozenset(find_undeclared_variables(tree)) - {ROW}
    if pieces is not None:
        needed = frozenset(piece.name for piece in pieces if isinstance(piece, Column))
    if columns is not None:
        _require(needed, columns)
    return Prompt(source, template, pieces, needed, _around(tree))


def _require(needed: frozenset[str], columns: tuple[str, ...]) -> None:
    missing = sorted(needed - set(columns) - set(_ENVIRONMENT.globals))
    if not missing:
        return
    raise BadTemplate(
        f"the prompt names {', '.join(map(repr, missing))}, but the columns are "
        f"{', '.join(map(repr, columns))}. Correct the name, or write "
        '{{ row["a name"] }} for one with spaces.'
    )


_OTHERS = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_INSIDES = frozenset(name for name in (*dir(type), "__globals__") if name.startswith("__"))
"""What leads from any value into Python, which the sandbox forbids whatever the row is."""


def _refuse_forbidden(tree: nodes.Template) -> None:
    if any(tree.find_all(_OTHERS)):
        raise BadTemplate("the prompt template takes in another one. Write out what that says")
    for node in tree.find_all(nodes.Getattr):
        if node.attr in _INSIDES:
            raise BadTemplate(
                f"the prompt template names {node.attr!r}, which its sandbox forbids. Leave it out"
            )


def _refuse_doubtful(tree: nodes.Template, columns: Sequence[str]) -> None:
    names: dict[str, str] = {}
    for name in sorted({node.name for node in tree.find_all(nodes.Name)}):
        # Jinja makes variables of Python's of them, and Python tells names apart by this form only.
        other = names.setdefault(normalize("NFKC", name), name)
        if other != name:
            raise _doubtful(name, f"Jinja takes for the same as {other!r}")
    if "self" in names:
        raise _doubtful("self", "is a word of Jinja's own")
    for word in _words_printed(tree):
        if word in columns:
            raise _doubtful(word, "is a word of Jinja's own")


def _doubtful(name: str, why: str) -> BadTemplate:
    return BadTemplate(
        f'the prompt names {name!r}, which {why}. Write {{{{ row["{name}"] }}}} for the column.'
    )


def _words_printed(tree: nodes.Template) -> Iterator[str]:
    """What is printed as a value of the template's own and reads like the name of a column."""
    for output in tree.find_all(nodes.Output):
        for part in output.nodes:
            yield from _words(part)


def _words(node: Any) -> tuple[str, ...]:
    match node:
        case nodes.Filter(node=nodes.Expr() as filtered) if not isinstance(filtered, nodes.Name):
            return _words(filtered)
        case nodes.Name(name=name) if name == ROW:
            return (ROW,)
        case nodes.Const(value=bool() | int() | float() | None as value):
            return (str(value), str(value).lower())
    return ()


def _around(tree: nodes.Template) -> tuple[str, str]:
    """The constant texts at both ends of what a template makes; one that is all there is, is at the
    beginning."""
    parts: list[nodes.Node] = [
        part
        for node in tree.body
        for part in (node.nodes if isinstance(node, nodes.Output) else [node])
    ]
    begin, end = (_constant(parts[place]) if parts else "" for place in (0, -1))
    return begin, (end if len(parts) > 1 else "")


def _constant(part: nodes.Node) -> str:
    return str(part.data) if isinstance(part, nodes.TemplateData) else ""


def _flatten(tree: nodes.Template) -> tuple[Piece, ...] | None:
    """The template as constant text and columns, or None if it does more than that."""
    pieces: list[Piece] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for part in node.nodes:
            piece = _piece(part)
            if piece is None:
                return None
            pieces.append(piece)
    return tuple(pieces)


def _piece(node: nodes.Expr) -> Piece | None:
    match node:
        case nodes.TemplateData(data=text):
            return str(text)
        case nodes.Name(name=name) if name != ROW and name not in _ENVIRONMENT.globals:
            return Column(name)
        case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str() as name)):
            return Column(name)
    return None


def compile_requests(*, prompt: Prompt, system: Prompt | None, shape: Shape) -> Render:
    """How to render whole bodies: `shape` is asked once for the frame the texts are set into."""
    frame = _frame(shape, system=system is not None)
    texts = {"user": prompt, "system": system}
    if prompt.pieces is None or (system is not None and system.pieces is None):
        return _rendered_by_jinja(frame, texts)
    return _rendered_flat(_fill(frame, texts))


Frame = tuple[bytes | str, ...]
"""A body as constant bytes and the words `system` and `user` where those texts go."""


def _frame(shape: Shape, *, system: bool) -> Frame:
    """Ask for a body around marks, and cut it at the marks."""
    salt = 0
    words = ("system", "user") if system else ("user",)
    while True:
        marks = {word: f"\ue000{word}{salt}\ue001" for word in words}
        body = msgspec.json.encode(shape(marks.get("system"), marks["user"]))
        if all(body.count(mark.encode()) <= 1 for mark in marks.values()):
            return _cut(body, marks)
        salt += 1


def _cut(body: bytes, marks: dict[str, str]) -> Frame:
    found = sorted(
        (at, word, len(mark.encode()))
        for word, mark in marks.items()
        if (at := body.find(mark.encode())) >= 0
    )
    frame: list[bytes | str] = []
    start = 0
    for at, word, length in found:
        frame += [body[start:at], word]
        start = at + length
    return (*frame, body[start:])


def _fill(frame: Frame, texts: dict[str, Prompt | None]) -> list[bytes | Column]:
    filled: list[bytes | Column] = []
    for part in frame:
        if isinstance(part, bytes):
            filled.append(part)
            continue
        text = texts[part]
        for piece in (text.pieces if text is not None else None) or ():
            filled.append(piece if isinstance(piece, Column) else escaped(piece))
    return filled


def escaped(value: object) -> bytes:
    """`value` as it stands between the quotes of a JSON string; None is empty."""
    if value is None:
        return b""
    try:
        return msgspec.json.encode(value if type(value) is str else str(value))[1:-1]
    except UnicodeEncodeError as e:
        raise BadRow("it holds half a surrogate pair, which no UTF-8 text can") from e
    except (ValueError, RecursionError) as e:
        raise BadRow(f"it holds a value that has no text: {e}") from e


def _rendered_flat(parts: Sequence[bytes | Column]) -> Render:
    names = [part.name for part in parts if isinstance(part, Column)]
    pattern = b"".join(
        b"%b" if isinstance(part, Column) else part.replace(b"%", b"%%") for part in parts
    )

    def render(row: Row) -> Rendered:
        try:
            values = tuple([escaped(row[name]) for name in names])
        except KeyError as e:
            raise BadRow(f"it has no column {e.args[0]!r}") from e
        return Rendered(pattern % values, crc32(values[0]) if values else 0)

    return render


def _rendered_by_jinja(frame: Frame, texts: dict[str, Prompt | None]) -> Render:
    def render(row: Row) -> Rendered:
        rendered = {word: text.render(row) for word, text in texts.items() if text is not None}
        body = b"".join(p if isinstance(p, bytes) else escaped(rendered[p]) for p in frame)
        varying = "".join(rendered[part] for part in frame if isinstance(part, str))
        return Rendered(body, crc32(escaped(varying[:_PREFIX_WINDOW])))

    return render
