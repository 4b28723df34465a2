"""Commands and Python snippets of README, docs and cards."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = tuple(path for path in sorted((ROOT / "docs" / "tutorials").glob("*.md")) if path.stem != "index")
"""Notebooks, whose cells run by themselves: test_tutorials.py."""
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md", "benchmarks/LOOKS.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *TUTORIALS,
    *sorted(path for package in ("tsdiff", "speech") for path in (ROOT / package).rglob("*.md")),
)
PROGRAMS = ("python", "make", "tsdiff", "speech", "pip", "cp")
_FENCE = re.compile(r"```([\w{}-]*)\n(.*?)```", re.DOTALL)
_INDENTED = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Found:
    """A command or a snippet.

    Attributes:
        page: where it stands, relative to the repository.
        text: the command without its comment, or the code.
    """

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"


def _blocks(text: str) -> Iterator[str]:
    for fence in _FENCE.finditer(text):
        yield fence.group(2)
    for indented in _INDENTED.finditer(_FENCE.sub("\n", text)):
        yield "\n".join(line[4:] for line in indented.group().splitlines()) + "\n"


def _is_command(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] in PROGRAMS and not re.search(r"[…|]|\bVERB\b", line)


def commands() -> list[Found]:
    """Every whole command line, in blocks and in the text; each once a page."""
    found: dict[Found, None] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for block in _blocks(text) for line in block.splitlines()]
        lines += _INLINE.findall(_FENCE.sub("\n", text))
        for line in lines:
            bare = re.sub(r"\s+#.*$", "", line).strip()
            if _is_command(bare):
                found[Found(str(page.relative_to(ROOT)), bare)] = None
    return list(found)


def arguments(command: str) -> list[str]:
    """The words of a command line, without settings of the environment before it."""
    return [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]


def snippets() -> list[Found]:
    """Every block that is Python of at least one whole statement, as it stands."""
    found = []
    for page in PAGES:
        if page.name == "extending.md" or page in TUTORIALS:  # whole programs: test_extending.py, test_tutorials.py
            continue
        for block in _blocks(page.read_text(encoding="utf-8")):
            if not re.search(r"[(=]", block) or any(_is_command(line.strip()) for line in block.splitlines()):
                continue
            try:
                tree = ast.parse(block)
            except SyntaxError:
                continue
            if any(isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.Call) for node in ast.walk(tree)):
                found.append(Found(str(page.relative_to(ROOT)), block))
    return found
