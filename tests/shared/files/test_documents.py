"""JSON and YAML of strangers: whatever they hold, a value or one short line within a second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import LONGEST_MESSAGE, CheckpointError, ConfigError
from shared.files.documents import (
    DEEPEST,
    MOST_JSON,
    MOST_YAML,
    MOST_YAML_VALUES,
    parse_json,
    parse_yaml,
    read_json,
    read_yaml_file,
)
from shared.files.settings import change, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)

BAD_JSON = {
    "deep": ("[" * 100_000, "deeper than 64"),
    "deep and closed": ("[" * 100_000 + "]" * 100_000, "deeper than 64"),
    "deep mappings": ('{"a":' * 100_000, "deeper than 64"),
    "a little too deep": ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "deeper than 64"),
    "digits": ("9" * 5000, "not valid JSON"),
    "large": (str(2**65), "more than 64 bits"),
    "cut": ('{"a": [1', "not valid JSON"),
    "long": ('"' + "x" * MOST_JSON + '"', "more than the"),
}
BAD_YAML = {
    "deep": ("[" * 60_000, "deeper than 64"),
    "deep blocks": ("".join(" " * i + "b:\n" for i in range(300)), "deeper than 64"),
    "deep list": ("- " * 30_000, "deeper than 64"),
    "aliases of aliases": (BOMB, "aliases written out"),
    "holds itself": ("&a [*a]", "deeper than 64"),
    "a date that is none": ("a: 2001-99-99", "not valid YAML"),
    "digits": ("a: " + "9" * 5000, "not valid YAML"),
    "hexadecimal digits": ("a: 0x" + "f" * 5000, "more than 64 bits"),
    "a list as a name": ("? [a]\n: b", "not valid YAML"),
    "code": ("!!python/object/apply:os.system [ls]", "not valid YAML"),
    "a number that is none": ("a: !!int ''", "not valid YAML"),
    "a time that is none": ("!!timestamp x", "not valid YAML"),
    "zero bytes": ("\x00", "not valid YAML"),
    "two documents": ("---\na\n---\nb", "not valid YAML"),
    "long": ("x: 1\n" * MOST_YAML, "more than the"),
}


def refused(read: Callable[..., Any], *args: Any, error: type[Exception] = ConfigError) -> str:
    """The message, which comes soon and is one line."""
    started = time.process_time()
    with pytest.raises(error) as caught:
        read(*args)
    assert time.process_time() - started < 5
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= LONGEST_MESSAGE
    return message


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_is_refused(name: str, tmp_path: Path) -> None:
    text, why = BAD_JSON[name]
    assert why in refused(parse_json, text, "here")
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    message = refused(read_json, tmp_path / "x.json", CheckpointError, "copy it again", error=CheckpointError)
    assert why in message
    assert str(tmp_path) in message
    assert message.endswith("copy it again")


@pytest.mark.parametrize("name", BAD_YAML)
def test_yaml_that_is_refused(name: str, tmp_path: Path) -> None:
    text, why = BAD_YAML[name]
    assert why in refused(parse_yaml, text, "here")
    if len(text) < 10_000:  # longer ones take a second
        (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
        assert why in refused(read_yaml, tmp_path / "x.yaml")
        assert why in refused(change, f"training.max_steps={text}")


@pytest.mark.parametrize("read", [read_json, read_yaml_file])
def test_files_that_hold_no_text(read: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("a: Straße".encode("latin-1"))
    assert "is not UTF-8 text (at byte 7)" in refused(read, tmp_path / "latin")
    assert "no regular file" in refused(read, tmp_path)
    assert "cannot be read" in refused(read, tmp_path / "absent")
    assert "cannot be read" in refused(read, tmp_path / ("x" * 5000))


def test_what_is_read() -> None:
    value = {"a": [1, 2.5, None, "ß", {"b": -(2**63)}], "c": True}
    assert parse_json(json.dumps(value), "here") == value
    assert parse_yaml(yaml.safe_dump(value), "here") == value
    nested: Any = 1
    for _ in range(DEEPEST - 1):
        nested = [nested]
    assert parse_json(json.dumps(nested), "here") == nested
    assert parse_yaml("base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}", "here")["other"] == {"x": 1, "y": 3}
    assert parse_yaml("", "here") is None


def test_every_value_of_an_alias_counts_and_no_more() -> None:
    """A mapping, its two names, a list of 99 values, and a list that repeats it: to the last value."""
    base, rest = f"[{', '.join(['1'] * 99)}]", MOST_YAML_VALUES - 4 - 100
    repeats, single = divmod(rest, 100)
    text = "a: &a {}\nb: [{}]"
    most = parse_yaml(text.format(base, ", ".join(["*a"] * repeats + ["1"] * single)), "here")
    assert len(most["b"]) == repeats + single
    assert "aliases written out" in refused(
        parse_yaml, text.format(base, ", ".join(["*a"] * repeats + ["1"] * (single + 1))), "here"
    )
