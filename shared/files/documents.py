"""JSON and YAML that anybody may have written: bounded in size, nesting and repetition; what is wrong is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from shared.errors import ConfigError, DiffusionError, first_line

MOST_JSON = 16 << 20
"""Bytes of the largest JSON document that is read; the settings of a model are a few thousand."""
MOST_YAML = 64 << 10
"""Bytes of the largest YAML document, which takes seconds to read; the settings of a training are two thousand."""
DEEPEST = 64
"""How deep lists and mappings may be nested."""
MOST_YAML_VALUES = 20_000
"""Values of a YAML document after every alias is written out."""


def read_json(path: str | os.PathLike[str], error: type[DiffusionError] = ConfigError, remedy: str = "") -> Any:
    """What a JSON file holds.

    Args:
        path: a regular file of at most `MOST_JSON` bytes.
        error: what is raised.
        remedy: what the message tells to do.

    Raises:
        DiffusionError: `error`: no such file, or it cannot be read, is too large or too deep, or is no JSON.
    """
    return parse_json(_text(path, MOST_JSON, error, remedy), str(path), error, remedy)


def parse_json(text: str, origin: str, error: type[DiffusionError] = ConfigError, remedy: str = "") -> Any:
    """The value of a JSON text; see `read_json`."""
    if len(text) > MOST_JSON:
        raise error(f"{origin} is {len(text)} characters long, more than the {MOST_JSON} that are read{_so(remedy)}")
    try:
        value = json.loads(text)
        _check(value)
    except RecursionError:
        raise error(f"{origin} is nested deeper than {DEEPEST} levels{_so(remedy)}") from None
    except ValueError as problem:
        raise error(f"{origin} is not valid JSON ({problem}){_so(remedy)}") from problem
    return value


def read_yaml_file(path: str | os.PathLike[str], reader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """What a YAML file of at most `MOST_YAML` bytes holds; see `parse_yaml`."""
    return parse_yaml(_text(path, MOST_YAML, ConfigError, ""), str(path), reader)


def parse_yaml(text: str, origin: str, reader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The plain values of a YAML text; None of an empty one. Aliases may repeat values, `MOST_YAML_VALUES` in all.

    Args:
        text: the document.
        origin: where it is from, for the message.
        reader: makes the values; one that knows tags besides the plain ones.

    Raises:
        ConfigError: it is too large or too deep, or is no YAML.
    """
    if len(text) > MOST_YAML:
        raise ConfigError(f"{origin} is {len(text)} characters long, more than the {MOST_YAML} that are read")
    try:
        loader = reader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _written_out(node, {}, 1) > MOST_YAML_VALUES:
            raise ConfigError(f"{origin} has more than {MOST_YAML_VALUES} values, its aliases written out")
        value = loader.construct_document(node)
        _check(value)
        return value
    except RecursionError:
        raise ConfigError(f"{origin} is nested deeper than {DEEPEST} levels") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError) as problem:
        if isinstance(problem, DiffusionError):
            raise
        # Values that look like a date, a number or base64 and are none raise what their constructors do.
        raise ConfigError(f"{origin} is not valid YAML ({first_line(problem)})") from problem


def _text(path: str | os.PathLike[str], most: int, error: type[DiffusionError], remedy: str) -> str:
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path} is no regular file{_so(remedy)}")
        with path.open("rb") as stream:
            content = stream.read(most + 1)
        if len(content) > most:
            raise error(f"{path} has more than the {most} bytes that are read of such a file{_so(remedy)}")
        return content.decode("utf-8")
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror or problem}){_so(remedy)}") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8 text (at byte {problem.start}){_so(remedy)}") from problem


def _so(remedy: str) -> str:
    return f"; {remedy}" if remedy else ""


def _check(value: Any) -> None:
    """Raise RecursionError where lists and mappings are nested too deep, ValueError for numbers beyond 64 bits."""
    level = [value]
    for _ in range(DEEPEST):
        if any(isinstance(inner, int) and inner.bit_length() > 64 for inner in level):
            raise ValueError("it holds a whole number of more than 64 bits")
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecursionError


def _written_out(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for; RecursionError where it is too deep, or holds itself."""
    if depth > DEEPEST:
        raise RecursionError
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_written_out(part, known, depth + 1) for part in parts)
    return known[id(node)]
