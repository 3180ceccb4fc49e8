"""Reading bodies strictly: what is not understood is refused by name, so that nothing is lost."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

import msgspec

from ..core.model import Json
from .reading import MAX_MESSAGE, UNREADABLE

T = TypeVar("T")


class NotCarried(ValueError):
    """A body or an answer holds what the other api cannot say, or what its own does not allow.

    `pointer` is the JSON pointer of it, in what was given to us; `field` the name at its end.
    """

    def __init__(self, pointer: str, why: str) -> None:
        self.pointer = pointer
        self.why = why[:MAX_MESSAGE]
        super().__init__(f"{pointer or 'the body'}: {self.why}")

    @property
    def field(self) -> str:
        names = [name for name in self.pointer.split("/") if not name.isdecimal()]
        return (names or [""])[-1].replace("~1", "/").replace("~0", "~")


LEAVE_OUT = "no other api has it: leave it out, or ask an endpoint of this api"


class Harmless(NamedTuple):
    """What nobody has to read."""

    left_out: Collection[str] = ()
    """Fields that nothing depends on, whatever they say."""
    idle: Mapping[str, Collection[Any]] = {}
    """Values that ask for what is the case anyway."""

    def __contains__(self, field: object) -> bool:
        name, value = cast("tuple[str, Any]", field)
        return name in self.left_out or value in self.idle.get(name, ())


NOTHING = Harmless()


class Fields:
    """An object that is read field by field; what was not taken is refused at the `end`.

    A field that is null counts as not given.
    """

    def __init__(
        self,
        value: object,
        pointer: str = "",
        *,
        harmless: Harmless = NOTHING,
        own: Callable[[str], str] | None = None,
    ) -> None:
        """`own` gives a name as the api has it, where a service takes several spellings."""
        if not isinstance(value, dict):
            raise NotCarried(pointer, "an object is expected here")
        self.pointer = pointer
        self._harmless = harmless
        self._own = own
        self._inside: list[Fields] = []
        self._spelled = {(own(name) if own else name): name for name in value}
        if len(self._spelled) < len(value):
            raise NotCarried(pointer, "a field is given in two spellings")
        self._left = {
            name: value[spelled]
            for name, spelled in self._spelled.items()
            if value[spelled] is not None
        }

    def at(self, name: str) -> str:
        """The pointer of a field."""
        return f"{self.pointer}/{_escaped(self._spelled.get(name, name))}"

    def refuse(self, name: str, why: str) -> NoReturn:
        raise NotCarried(self.at(name), why)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def peek(self, name: str) -> Any:
        """Whatever it is, and it is still to be taken."""
        return self._left.get(name)

    def any(self, name: str) -> Any:
        """Whatever it is; None: it is not given."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        return self._take(name, (str,), "a text")

    def flag(self, name: str) -> bool | None:
        return self._take(name, (bool,), "true or false")

    def json(self, name: str) -> Json | None:
        return self._take(name, (dict,), "an object")

    def number(self, name: str) -> float | None:
        return self._take(name, (int, float), "a number")

    def count(self, name: str) -> int | None:
        found = self.number(name)
        if found is not None and found != int(found):
            self.refuse(name, "a whole number is expected here")
        return None if found is None else int(found)

    def word(self, name: str, known: Mapping[str, T], *, idle: Collection[str] = ()) -> T | None:
        """What a word stands for; None: for nothing, or it is not given."""
        found = self.text(name)
        if found is None or found in idle:
            return None
        if found not in known:
            self.refuse(name, f"{found!r} is not carried, only {', '.join(known)}")
        return known[found]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, or one that stands for itself."""
        found = self.any(name)
        listed = [found] if type(found) is str else [] if found is None else found
        if type(listed) is not list or not all(type(each) is str for each in listed):
            self.refuse(name, "texts are expected here")
        return tuple(listed)

    def inner(self, name: str) -> "Fields | None":
        """The fields of an object in this one."""
        found = self.any(name)
        return None if found is None else self._within(found, self.at(name))

    def each(self, name: str) -> "list[Fields]":
        """The objects of a list."""
        found, at = self._take(name, (list,), "a list") or [], self.at(name)
        return [self._within(each, f"{at}/{place}") for place, each in enumerate(found)]

    def some(self, name: str) -> "list[Fields]":
        """The objects of a list that has to be there and to have some."""
        if name not in self:
            self.refuse(name, "it is missing")
        return self.each(name) or self.refuse(name, "it is empty")

    def by_name(self, name: str) -> "dict[str, Fields]":
        """The objects under names that are the caller's."""
        found, at = self.json(name) or {}, self.at(name)
        return {key: self._within(each, f"{at}/{_escaped(key)}") for key, each in found.items()}

    def text_or_each(self, name: str) -> "str | list[Fields]":
        """A text, or the objects of a list; an empty text where nothing is given."""
        given = self._left.get(name, "")
        return self.text(name) or "" if isinstance(given, str) else self.each(name)

    def need(self, name: str) -> str:
        """A text that has to be there."""
        found = self.text(name)
        if found is None:
            self.refuse(name, "it is missing")
        return found

    def need_inner(self, name: str) -> "Fields":
        """An object that has to be there."""
        found = self.inner(name)
        if found is None:
            self.refuse(name, "it is missing")
        return found

    def end(self) -> None:
        """Raises NotCarried for the first field that is left, here or inside, and not harmless."""
        for each in self._inside:
            each.end()
        for field in self._left.items():
            if field not in self._harmless:
                self.refuse(field[0], LEAVE_OUT)

    def _within(self, value: object, at: str) -> "Fields":
        self._inside.append(Fields(value, at, harmless=self._harmless, own=self._own))
        return self._inside[-1]

    def _take(self, name: str, kinds: tuple[type[T], ...], what: str) -> T | None:
        found: T | None = self._left.pop(name, None)
        if found is not None and type(found) not in kinds:
            self.refuse(name, f"{what} is expected here")
        return found


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def fields_of(
    body: bytes, *, harmless: Harmless = NOTHING, own: Callable[[str], str] | None = None
) -> Fields:
    """The fields of a body. Raises NotCarried where it is no JSON object."""
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE as e:
        raise NotCarried("", f"it is no JSON: {e}") from e
    return Fields(found, harmless=harmless, own=own)
