"""Imports of the packages point one way: no circle of modules, no circle of folders, those for types included."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("shared", "tsdiff", "speech")
Arrows = dict[str, set[str]]


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def imported(path: Path) -> set[str]:
    """Modules of the packages that a file imports, in functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in MODULES else node.module for name in whole}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(MODULES)


def folder(module: str) -> str:
    """The stage: the folder of a package, or a module at its top."""
    return ".".join(module.split(".")[:2])


def circle(arrows: Arrows) -> list[str]:
    """A way from some place back to it; empty where there is none."""
    done: set[str] = set()

    def walk(place: str, way: list[str]) -> list[str]:
        if place in way:
            return [*way[way.index(place) :], place]
        if place in done:
            return []
        for other in sorted(arrows.get(place, ())):
            if found := walk(other, [*way, place]):
                return found
        done.add(place)
        return []

    return next((found for place in sorted(arrows) if (found := walk(place, []))), [])


@cache
def by_module() -> Arrows:
    """What each module imports, but itself."""
    return {name: imported(path) - {name} for name, path in MODULES.items()}


def test_no_circle_of_modules() -> None:
    assert circle(by_module()) == []


def test_no_circle_of_folders() -> None:
    arrows: Arrows = {}
    for name, others in by_module().items():
        if name not in PACKAGES and not name.endswith("__main__"):  # a package's own names are made on first use
            arrows.setdefault(folder(name), set()).update(folder(other) for other in others - set(PACKAGES))
    assert circle({place: others - {place} for place, others in arrows.items()}) == []


@pytest.mark.parametrize(
    ("package", "other"), [("tsdiff", "speech"), ("speech", "tsdiff"), ("shared", "tsdiff"), ("shared", "speech")]
)
def test_the_core_knows_of_no_domain_and_domains_not_of_each_other(package: str, other: str) -> None:
    seen = {to for name, others in by_module().items() if name.split(".")[0] == package for to in others}
    assert not {to for to in seen if to.split(".")[0] == other}


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
