"""What settings declare in the types of their fields, checked by one function, with one wording.

    method: Literal["ode", "elbo"] = "ode"        one of these
    steps: Annotated[int, Ge(1), Le(1000)] = 16   a whole number of whichever kind but True, kept as an int
    step_size: Positive = 1.0                     a range; what has bounds on both sides is finite
    lags: tuple[Count, ...] = ()                  each of them; a list is kept as a tuple
    counts: bool = False                          True or False; a text or a list, which are true, is none of them
    sde: Annotated[SDE, OneOf(SDE, SDES)]         a kind, a mapping or an object, kept as the object (`shared.kinds`)

`X | None` takes None besides. A text among the marks, `Annotated[Positive, "…"]`, is what the message adds. All other
types are taken as they are.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf

from shared.errors import ConfigError

Positive = Annotated[float, Gt(0), Lt(math.inf)]
"""A finite number above 0."""
NonNegative = Annotated[float, Ge(0), Lt(math.inf)]
"""A finite number from 0."""
Finite = Annotated[float, Gt(-math.inf), Lt(math.inf)]
"""A number that is neither infinite nor NaN."""
Duration = Annotated[float, Gt(0)]
"""A time that may be without end."""
Chance = Annotated[float, Ge(0), Le(1)]
"""A share from nothing to all."""
Portion = Annotated[float, Ge(0), Lt(1)]
"""A share that leaves something."""
Level = Annotated[float, Gt(0), Lt(1)]
"""A share that takes something and leaves something."""
Share = Annotated[float, Gt(0), Le(1)]
"""A share that takes something, or all."""
Count = Annotated[int, Ge(1)]
"""A whole number from 1."""
Several = Annotated[int, Ge(2)]
"""A whole number from 2."""
Natural = Annotated[int, Ge(0)]
"""A whole number from 0."""
Even = Annotated[int, Ge(2), MultipleOf(2)]
"""An even number from 2."""


@dataclass(frozen=True)
class Such:
    """A mark beside bounds: in words, what a value needs to be besides, and whether it is.

    Pydantic leaves it to `Checked`.
    """

    words: str
    met: Callable[[Any], bool]


RISING = Such("none below the one before", lambda values: all(low <= high for low, high in pairwise(values)))
"""Values in order, each at least the one before."""
DISTINCT = Such("each only once", lambda values: len(set(values)) == len(values))
"""Values of which no two are equal."""

_BOUNDS: dict[type, tuple[str, str, Callable[[Any, Any], bool]]] = {
    Gt: ("gt", "above", operator.gt),
    Ge: ("ge", "at least", operator.ge),
    Lt: ("lt", "below", operator.lt),
    Le: ("le", "at most", operator.le),
    MultipleOf: ("multiple_of", "a multiple of", lambda value, step: value % step == 0),
}
"""Name, words and test of a bound."""
BOUND_WORDS = {name: words for name, words, _ in _BOUNDS.values()}
"""How messages say a bound, by pydantic's name of it."""


class Checked:
    """Base of frozen dataclasses whose values are what their types declare.

    Raises:
        ConfigError: one is not; the message names it and what is needed.
    """

    def __post_init__(self) -> None:
        for name, declared in _declared(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            taken = declared.taken(self._spoken(name), value)
            if taken is not value:
                object.__setattr__(self, name, taken)
        self._related()

    def _related(self) -> None:
        """For relations between fields: raise ConfigError where one is not met, by `_require`."""

    def _require(self, met: object, names: str, need: str) -> None:
        """Raise ConfigError unless a relation between the fields `names`, which are parted by spaces, is met."""
        require(met, need, **{self._spoken(name): getattr(self, name) for name in names.split()})

    @staticmethod
    def _spoken(name: str) -> str:
        """What users call a field."""
        return name


def require(met: object, need: str, **values: object) -> None:
    """Raise ConfigError unless `met`: the message names the values and what they need to be."""
    if not met:
        named = (f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}" for name, value in values.items())
        raise ConfigError(f"{', '.join(named)}: {need}")


def checked(hint: Any, **values: Any) -> Any:
    """The value of that name as a field of the type `hint` keeps it; a list of them where there are several.

    Raises:
        ConfigError: it is none of that type.
    """
    declared = _of(hint)
    taken = [declared.taken(name, value) for name, value in values.items()]
    return taken[0] if len(taken) == 1 else taken


@dataclass(frozen=True)
class _Declared:
    """A type as a check: what it needs in words, how a value is kept (or refused by an error), what it has to pass."""

    words: str
    keep: Callable[[Any], Any] = lambda value: value
    tests: Sequence[Callable[[Any], bool]] = ()
    remedy: str = ""
    optional: bool = False

    def take(self, value: Any) -> Any:
        if value is None and self.optional:
            return value
        kept = self.keep(value)
        if not all(test(kept) for test in self.tests):
            raise ValueError
        return kept

    def taken(self, name: str, value: Any) -> Any:
        try:
            return self.take(value)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
        except (TypeError, ValueError):
            verb = "choose" if self.words.startswith("one of") else "need"
            require(False, f"{verb} {self.words}{', or None' * self.optional}{self.remedy}", **{name: value})


@cache
def _declared(cls: type) -> dict[str, _Declared]:
    """The checks of a class of settings, by field."""
    hints = _hints(cls)
    found = {field.name: _parsed(hints.get(field.name)) for field in fields(cls) if field.init}
    return {name: declared for name, declared in found.items() if declared is not None}


def _hints(cls: type) -> dict[str, Any]:
    """Types of the fields; without those of a user's class that are written as text and cannot be told from outside."""
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError:
        known = {name: hint for base in reversed(cls.__bases__) for name, hint in _hints(base).items()}
        return {name: hint for name, hint in known.items() if name not in inspect.get_annotations(cls)}


@cache
def _of(hint: Any) -> _Declared:
    found = _parsed(hint)
    if found is None:
        raise TypeError(f"{hint} declares nothing that could be checked")
    return found


def _parsed(hint: Any, marks: Sequence[Any] = ()) -> _Declared | None:
    """The check of a type, with marks from around it."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _parsed(parts[0], (*parts[1:], *marks))
    for mark in marks:
        if hasattr(mark, "chosen"):  # OneOf
            return _Declared("", mark.chosen)
    if origin in (Union, UnionType):
        others = [part for part in parts if part is not NoneType]
        found = _parsed(others[0], marks) if len(others) == 1 < len(parts) else None
        return found and replace(found, optional=True)
    if origin is Literal:
        found = _Declared(f"one of {', '.join(map(str, parts))}", tests=[lambda value: value in parts])
    elif origin is tuple:
        found = _several(parts, marks)
    elif hint is bool:
        found = _Declared("True or False", _truth)
    else:
        found = _number(hint, [mark for mark in marks if type(mark) in _BOUNDS]) if hint in (int, float) else None
    such = [mark for mark in marks if isinstance(mark, Such)]
    return found and replace(
        found,
        words=", ".join([found.words, *(mark.words for mark in such)]),
        tests=[*found.tests, *(mark.met for mark in such)],
        remedy="".join(f"; {mark}" for mark in marks if isinstance(mark, str)),
    )


def _truth(value: Any) -> bool:
    """True or False, of NumPy, or 1 or 0, too."""
    if value not in (True, False):
        raise ValueError
    return bool(value)


def _no_truth(value: Any) -> Any:
    """A number as it is; True and False, which Python counts with, are none."""
    if isinstance(value, bool):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    """A whole number of whichever kind."""
    return operator.index(_no_truth(value))


def _number(base: type, marks: Sequence[Any]) -> _Declared | None:
    bounds = [(*_BOUNDS[type(mark)], getattr(mark, _BOUNDS[type(mark)][0])) for mark in marks]
    noun = "a whole number" if base is int else "a number"
    said = {name: f"{words} {bound}" for name, words, _, bound in bounds if abs(bound) < math.inf}
    if not said:
        words = "a finite number" if bounds else noun
    elif base is float and list(said.values()) == ["above 0"]:
        words = "a positive number"
    elif said.keys() == {"ge", "le"}:
        words = f"{noun} from {said['ge'].split()[-1]} to {said['le'].split()[-1]}"
    else:
        words = f"{noun}, {' and '.join(said.values())}"
    tests = [lambda value, test=test, bound=bound: test(value, bound) for _, _, test, bound in bounds]
    if base is int:
        return _Declared(words, _whole, tests)
    return _Declared(words, _no_truth, tests) if bounds else None


def _several(parts: Sequence[Any], marks: Sequence[Any]) -> _Declared | None:
    """Of a tuple: of any length, `(X, ...)`, within its marks, or one type for each place."""
    fixed = parts[-1] is not ...
    each = [_parsed(part) for part in (parts if fixed else parts[:1])]
    least = len(each) if fixed else next((mark.min_length for mark in marks if isinstance(mark, MinLen)), 0)
    most = len(each) if fixed else next((mark.max_length for mark in marks if isinstance(mark, MaxLen)), math.inf)
    if not any(each) and not marks:
        return None
    count = f"{least} " if fixed else f"{least} to {most} " if most < math.inf else "one or more " if least else ""

    def keep(values: Any) -> tuple[Any, ...]:
        values = tuple(values)
        takers = each if fixed else each * len(values)
        return tuple(one.take(value) if one else value for one, value in zip(takers, values, strict=True))

    words = f"{count}values" + (f", each {each[0].words}" if each[0] and each[0].words else "")
    return _Declared(words, keep, [lambda values: least <= len(values) <= most])
