"""Docstrings as reStructuredText, which Sphinx takes them for.

They are plain text with code in single backticks and, before their sections, indented displays of formulas and tables:
displays are kept as they are, and signs that mean something to reStructuredText alone (|x|, *, x_) mean themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sphinx.application import Sphinx

_SECTION = re.compile(r"(Args|Arguments|Attributes|Raises|Returns|Yields|Note|Example)s?:\s*$")
_CODE = re.compile(r"(`+[^`]+`+)")

_FIELD = "Alias for field number "
"""What Python says of a field of a named tuple; its class says more."""


def converted(lines: list[str]) -> list[str]:
    """The lines of a docstring for Sphinx."""
    return list(_converted(lines))


def _converted(lines: list[str]) -> Iterator[str]:
    in_display = in_sections = False
    before = ""
    for line in lines:
        in_sections = in_sections or bool(_SECTION.match(line))
        if line.startswith("    ") and not in_sections:
            if not in_display and not before:
                yield from ("::", "")
                in_display = True
        elif line:
            in_display = False
        yield line if in_display else _escaped(line)
        before = line


def _escaped(line: str) -> str:
    parts = _CODE.split(line)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = f"{part}\\ " if re.match(r"\w", parts[place + 1]) else part
        else:
            parts[place] = re.sub(r"([|*]|(?<=\w)_(?!\w))", r"\\\1", part)
    return "".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; before the extension that reads sections."""

    def process(app: Sphinx, what: str, name: str, it: object, options: object, lines: list[str]) -> None:
        lines[:] = converted(lines)

    def skip(app: Sphinx, what: str, name: str, it: object, skipped: bool, options: object) -> bool | None:
        return True if (it.__doc__ or "").startswith(_FIELD) else None

    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
