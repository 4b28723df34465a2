"""The pages of the reference, one a folder of a package, from the public names."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from docs.builder.docstrings import converted
from docs.builder.names import PACKAGES, ROOT, Name, modules, public_names

LONGEST_VALUE = 160
"""Characters of a constant's value that the reference shows."""


def page_of(module: str) -> str:
    """The page on which a module stands: a package, or a folder right below one."""
    while module not in PACKAGES and not (modules()[module].is_package and module.count(".") == 1):
        module = module.rpartition(".")[0]
    return module


def write_pages(folder: Path) -> None:
    """Write a page of MyST for each, and their index; files that are as they should be are not touched."""
    folder.mkdir(exist_ok=True)
    by_page = {page: list(names) for page, names in groupby(sorted(public_names(), key=_place), key=_page)}
    texts = {f"{page}.md": _page_text(page, names) for page, names in by_page.items()}
    texts["index.md"] = _index_text(by_page)
    for old in folder.glob("*.md"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(name: Name) -> str:
    return page_of(name.home)


def _place(name: Name) -> tuple[int, str, str]:
    """Packages as they are listed, pages and modules by the alphabet, names as they are defined."""
    return PACKAGES.index(name.home.split(".")[0]), page_of(name.home), name.home


def _index_text(pages: Iterable[str]) -> str:
    """The list of the pages, a package after another."""
    lines = ["# Python reference", "", INDEX, ""]
    for package, found in groupby(pages, key=lambda page: page.split(".")[0]):
        within = list(found)
        lines += [f"## {package}", "", "| | |", "|---|---|"]
        lines += [f"| [`{page}`]({page}.md) | {_summary(page)} |" for page in within]
        lines += ["", "```{toctree}", ":hidden:", "", *within, "```", ""]
    return "\n".join(lines)


INDEX = (
    "Every public name, from its docstring. What stands under the name of a package is imported from the package "
    "(`from tsdiff.data import load_dataset`), the rest from its module. What `tsdiff` and `speech` themselves offer, "
    "and what the other pages name, is what most programs need."
)


def _summary(module: str) -> str:
    text = ast.get_docstring(modules()[module].tree) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _page_text(page: str, names: Iterable[Name]) -> str:
    lines = [f"# `{page}`", ""]
    taken = {name.path for name in public_names()}
    for home, found in groupby(names, key=lambda name: name.home):
        if home != page:
            lines += [f"## `{home}`", ""]
        path = modules()[home].path.relative_to(ROOT).as_posix()
        lines += [f"Source: `{path}`", "", "```{eval-rst}", f".. automodule:: {home}"]
        lines += ["   :no-index:", ""] if home in taken else [""]  # a function that is called as its module is
        for name in found:
            lines += [*_entry(name), ""]
        lines += ["```", ""]
    return "\n".join(lines)


def _entry(name: Name) -> list[str]:
    """The directive of a name. Of constants Sphinx finds the text only in the module that defines them."""
    if name.kind == "class":
        return [f".. autoclass:: {name.path}", "   :members:"]
    if name.kind == "function":
        return [f".. autofunction:: {name.path}"]
    assert isinstance(name.node, ast.Assign | ast.AnnAssign)
    value = ast.unparse(name.node.value) if name.node.value else ""
    shown = [f"   :value: {value}"] if 0 < len(value) <= LONGEST_VALUE else []
    return [f".. py:data:: {name.path}", *shown, "", *(f"   {line}" for line in converted(name.text.split("\n")))]
