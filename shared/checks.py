"""The checks that settings have in common, with one wording."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import ConfigError


def one_of(choices: Sequence[object], **values: object) -> None:
    """Raise ConfigError unless each value, by its name, is among the choices."""
    for name, value in values.items():
        if value not in choices:
            raise ConfigError(f"{name}={value!r}: choose one of {', '.join(map(str, choices))}")


def at_least(least: int, **values: int | None) -> None:
    """Raise ConfigError if a value, by its name, is smaller; None is a value that was not given."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: need at least {least}")
