"""What is chosen by name: settings classes with a `kind`, which build the thing themselves.

A field of such a type takes an instance, the bare kind as a string, or a mapping with "kind" and the other fields, as
JSON and YAML have them. A class of a user's own is no less: it is passed as `custom=[MyClass]` where a file is read,
for a file never imports code by itself.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError, ValidationInfo, with_config
from pydantic_core import ErrorDetails, core_schema

from shared.checks import BOUND_WORDS
from shared.errors import ConfigError

CUSTOM = "custom"
"""The key of a user's own classes in pydantic's validation context."""
_RENAMED = {"name": "kind"}
"""Keys of older files."""
_SHAPES = {
    "tuple_type": "need a list, such as [1, 2]",
    "list_type": "need a list, such as [1, 2]",
    "dict_type": "need settings by name, such as {name: value}",
    "dataclass_type": "need settings by name, such as {name: value}",
}
"""What is said of values of another shape, by pydantic's name of the error."""


def kind_of(cls: type) -> str:
    """The `kind` of a settings class.

    Raises:
        ConfigError: it has none.
    """
    kind = getattr(cls, "kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"{cls.__name__} has no kind; give it a field such as kind: str = {cls.__name__.lower()!r}")
    return kind


def check_custom(custom: Any) -> None:
    """Raise ConfigError unless these are classes of settings that each have a kind."""
    for one in custom if isinstance(custom, Sequence) and not isinstance(custom, str) else (None,):
        if not isinstance(one, type):
            raise ConfigError(f"custom={custom!r}: need a list of classes of your own, such as custom=[MyBackbone]")
        kind_of(one)


def with_kind(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a mapping in which an older key for the kind has today's name; a FutureWarning says so."""
    made = dict(value)
    for old, new in _RENAMED.items():
        if old in made and (new not in made):
            made[new] = made.pop(old)
            warnings.warn(f"{old}: {made[new]} is written {new}: {made[new]} now", FutureWarning, stacklevel=2)
    return made


@dataclass(frozen=True)
class OneOf:
    """Marks a field's type, `Annotated[Base, OneOf(Base, [A, B])]`, as one of several settings classes.

    Args:
        base: what all of them are, of which any instance is taken as it is; None takes those of any dataclass.
        known: the classes that come with the toolkit.
        default: the kind of a mapping that names none, as older files have it; None refuses such.
        names: strings that stand for themselves.
    """

    base: type | None
    known: Sequence[type]
    default: str | None = None
    names: Sequence[str] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validated)

    def chosen(self, value: Any, custom: Sequence[type] = ()) -> Any:
        """The settings object, or the name that stands for itself, that a kind, a mapping or an object stands for.

        Args:
            value: what was given.
            custom: a user's own classes besides the known ones.

        Raises:
            ConfigError: unknown kind or field, or a value out of range; or no such classes.
        """
        check_custom(custom)
        try:
            return self._adapter.validate_python(value, context={CUSTOM: custom})
        except ValidationError as error:
            raise ConfigError(told(error)) from error

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(Annotated[Any, self])

    def _validated(self, value: Any, info: ValidationInfo) -> Any:
        classes = {kind_of(cls): cls for cls in (*self.known, *((info.context or {}).get(CUSTOM) or ()))}
        if isinstance(value, type):
            raise ValueError(f"{value!r} is a class: give an object, {value.__name__}()")
        if isinstance(value, self.base) if self.base else is_dataclass(value):
            self._refuse_unnamed(value, classes)
            return value
        if isinstance(value, str):
            if value in self.names:
                return value
            value = {"kind": value}
        if not isinstance(value, Mapping):
            raise ValueError(
                f"{value!r}: need a kind ({', '.join(classes)}), alone or with its settings, or a frozen dataclass of "
                "your own that has a kind (docs/extending.md)"
            )
        given = with_kind(value)
        kind = given.get("kind", self.default)
        if not isinstance(kind, str) or kind not in classes:
            known = ", ".join(self.names or classes)
            name = repr(kind) if self.names else f"kind={kind!r}"
            raise ValueError(f"{name}: choose one of {known}; a class of your own is passed as custom=[…]")
        return settings_from(classes[kind], given, info.context)

    def _refuse_unnamed(self, value: Any, classes: Mapping[str, type]) -> None:
        """Raise ValueError for an object whose kind would not tell a saved model's reader what it was."""
        kind = getattr(value, "kind", None) if self.base else kind_of(type(value))  # laws are never saved by kind
        other = classes.get(kind, type(value)) if isinstance(kind, str) else type(value)
        if other is not type(value):
            raise ValueError(
                f"kind={kind!r} is that of {other.__name__}, which a saved model would be read as: give "
                f"{type(value).__name__} a kind of its own"
            )


def settings_from(cls: type, values: Mapping[str, Any], context: Any = None) -> Any:
    """A settings class from its fields by name, checked by pydantic; unknown names are refused.

    Raises:
        pydantic.ValidationError: a field is unknown, missing or of the wrong type.
    """
    if not inspect.signature(cls).parameters.get("kind"):  # a class may state its kind without having it as a field
        values = {name: value for name, value in values.items() if name != "kind"}
    if not is_dataclass(cls) or not cls.__dataclass_params__.init:  # type: ignore[attr-defined]
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error
    return adapter_of(cls).validate_python(dict(values), context=context)


@lru_cache(maxsize=256)
def adapter_of(cls: type) -> TypeAdapter[Any]:
    """What makes a dataclass of its fields by name, and refuses names that it has not."""
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(cls))


def told(error: ValidationError, cls: type | None = None) -> str:
    """Which settings were refused, and why, in one line; of those that `cls` has not, what may be meant."""
    return "; ".join(_told(one, cls) for one in error.errors()[:5])


def _told(error: ErrorDetails, cls: type | None) -> str:
    place, message = ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")
    context = error.get("ctx", {})
    if "expected" in context:
        message, place = f"choose one of {context['expected']}", f"{place}={error['input']!r}"
    elif bounds := BOUND_WORDS.keys() & context.keys():
        need = (f"{BOUND_WORDS[name]} {str(context[name]).removesuffix('.0')}" for name in bounds)
        message, place = f"need a number, {' and '.join(need)}", f"{place}={error['input']!r}"
    elif error["type"] == "missing":
        message = "it is missing, and has no default"
    elif error["type"] in _SHAPES:
        message, place = _SHAPES[error["type"]], f"{place}={error['input']!r}"
    elif error["type"] == "unexpected_keyword_argument":
        *before, name = error["loc"]
        names = _names_at(cls, before)
        near = get_close_matches(str(name), names, 2)
        if near:
            message += f", perhaps {' or '.join(near)}"
        elif names:
            message += f"; there are {', '.join(names)}"
    return f"{place}: {message}" if place else message


def _names_at(cls: type | None, place: Sequence[int | str]) -> list[str]:
    """The fields of a class of settings, or of what lies at a place in it; none where that is chosen by kind."""
    for name in place:
        kind = get_type_hints(cls).get(str(name)) if is_dataclass(cls) else None
        found = [one for one in (kind, *get_args(kind)) if is_dataclass(one)]
        cls = found[0] if len(found) == 1 else None  # type: ignore[assignment]
    return [field.name for field in fields(cls)] if is_dataclass(cls) else []
