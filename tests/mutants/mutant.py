"""A mutant: a file of a package with one change."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

REMOVED = "(removed)"
"""What stands for lines that are no longer there."""


@dataclass(frozen=True)
class Mutant:
    """A file with one change.

    Attributes:
        file: its path from the root.
        line: number of the first line that differs.
        before, after: what differs, without the spaces around.
        text: of the changed file.
    """

    file: str
    line: int
    before: str
    after: str
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others while the code around it changes."""
        return self.file, self.before, self.after


def difference(file: str, before: str, after: str) -> Mutant | None:
    """The mutant of two texts of a file; None where they do not differ, or Python cannot read the second."""
    try:
        ast.parse(after)
    except SyntaxError:
        return None
    old, new = before.splitlines(), after.splitlines()
    for kind, start, stop, other_start, other_stop in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            lines, others = old[start:stop], new[other_start:other_stop]
            return Mutant(file, start + 1, _joined(lines), _joined(others) or REMOVED, after)
    return None


def _joined(lines: Sequence[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())
