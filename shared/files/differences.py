"""In which settings two records of them differ, in words for a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Names and values of the settings that differ, "training.seed: 3 there, 4 now"; empty where none does.

    Args:
        before: by name, as JSON or YAML hold them.
        now: those that are asked for.
    """
    there, here = dict(_by_name(before)), dict(_by_name(now))
    names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    return ", ".join(f"{name}: {_short(there.get(name))} there, {_short(here.get(name))} now" for name in names)


def _by_name(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by their names, those within others by "sampling.seed", so that a message tells the one that differs."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _by_name(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
