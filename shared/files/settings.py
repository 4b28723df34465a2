"""Settings as typed dataclasses in YAML files: read, changed from a command line, written, checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from shared.errors import CheckpointError, ConfigError, DiffusionError
from shared.files.documents import parse_yaml, read_yaml_file
from shared.kinds import CUSTOM, adapter_of, check_custom, told, with_kind

T = TypeVar("T")


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings by name that a file holds.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    values = read_yaml_file(path) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} does not hold settings by name, such as training: {{max_steps: 500}}")
    return values


def settings_file(path_or_name: str | os.PathLike[str], bundled: Path) -> Path:
    """The file of settings of that name among those that come with a package, or at that path.

    Raises:
        ConfigError: there is neither; the message tells the names.
    """
    wanted = os.fspath(path_or_name)
    names = sorted(path.relative_to(bundled).with_suffix("").as_posix() for path in bundled.rglob("*.yaml"))
    if wanted in names:
        return bundled / f"{wanted}.yaml"
    if os.path.isfile(wanted):  # False for what no file system takes as a name
        return Path(wanted)
    raise ConfigError(f"{wanted} is no file, and none of the settings that come with the package: {', '.join(names)}")


def write_yaml(settings: Any) -> str:
    """The YAML of a dataclass."""
    return yaml.safe_dump(plain(settings), sort_keys=False, allow_unicode=True)


def number(name: str, value: Any, example: float) -> float:
    """A real number, of whichever kind; the value itself.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, (str, bytes)):
        raise ConfigError(f"{name}={value!r} is text: need a number, such as {name}={example}")
    try:
        float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}={value!r}: need a number, such as {name}={example}") from None
    return value


def change(text: str) -> dict[str, Any]:
    """What "section.name=value" changes, the value as YAML.

    Raises:
        ConfigError: it is not written so.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{text!r} is no change; write it as section.name=value, such as training.max_steps=500")
    made: Any = parse_yaml(value, repr(text))
    for part in reversed(name.strip().split(".")):
        made = {part: made}
    return dict(made)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says instead, section by section; a section with another `kind` replaces the whole."""
    result = dict(base)
    for name, value in over.items():
        inner = result.get(name)
        if isinstance(inner, dict) and "kind" in inner and isinstance(value, Mapping):
            value = with_kind(value)
        # A backbone or a process of another kind shares no field with the one before it.
        part = isinstance(inner, dict) and isinstance(value, dict) and "kind" not in value
        result[name] = merged(dict(inner or {}), value) if part else value
    return result


def plain(settings: Any) -> dict[str, Any]:
    """A dataclass as dictionaries and lists."""

    def lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: lists(inner) for name, inner in value.items()}
        return [lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    return lists(asdict(settings))


def dataclass_from(
    cls: type[T],
    values: Mapping[str, Any],
    origin: str,
    error: type[DiffusionError] = CheckpointError,
    custom: Sequence[type] = (),
) -> T:
    """A typed dataclass from settings by name, checked by pydantic; names that it has not are refused, at any depth.

    Args:
        cls: the dataclass.
        values: as JSON or YAML hold them.
        origin: of the values, for the message.
        error: what to raise: of a model's settings by default, `ConfigError` of those that a user wrote.
        custom: a user's own classes of settings that are chosen by `kind` (`shared.kinds`).

    Raises:
        CheckpointError: or `error`; names the settings that are unknown, missing or of the wrong type.
        ConfigError: `custom` has what is no class with a kind.
    """
    check_custom(custom)
    adapter: TypeAdapter[T] = adapter_of(cls)  # type: ignore[arg-type]
    remedy = "correct these settings, or write them again"
    try:
        made = adapter.validate_python(dict(values), context={CUSTOM: custom})
    except ValidationError as problem:
        raise error(f"{origin}: {told(problem, cls)}; {remedy}") from problem
    if counted := next(_counted_truths(values, made), None):
        raise error(f"{origin}: {counted}: need a number; {remedy}")
    return made


def _counted_truths(given: Any, made: Any, place: str = "") -> Iterator[str]:
    """Where a number was made of true or false, which pydantic takes for 1 and 0: "training.max_steps=True"."""
    if isinstance(given, bool) and type(made) in (int, float):
        yield f"{place}={given}"
    elif isinstance(given, Mapping):
        for name, value in given.items():
            inner = made.get(name) if isinstance(made, Mapping) else getattr(made, str(name), None)
            yield from _counted_truths(value, inner, f"{place}.{name}".lstrip("."))
    elif isinstance(given, list | tuple) and isinstance(made, list | tuple):
        for number, (value, inner) in enumerate(zip(given, made, strict=False)):
            yield from _counted_truths(value, inner, f"{place}.{number}")
