"""pyproject.toml: whatever is imported is declared, the tests' own needs in the extra that installs them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = {"shared", "tsdiff", "speech", "tests", "recipes", "benchmarks", "docs"}
OWN |= {"default_forecaster", "free_sources", "page", "speech_pairs", "upper_band"}
"""The last five are folders of recipes."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
COMES_WITH = ("pydantic-core",)
"""Parts of a dependency, of the one version that it asks for."""

MAKERS = ("tests/golden/make_", "tests/mutants/", "recipes/synthetic_voices.py")
"""Run by hand, with what they say they need."""


def names(requirements: list[str]) -> set[str]:
    """Normalised names of requirements."""
    return {re.split(r"[\s\[<>=!~;]", text)[0].lower().replace("_", "-") for text in requirements}


installed = cache(packages_distributions)
"""The distributions that each module comes from; all of their lists of files are read for it."""


def imported(path: Path) -> Iterator[str]:
    """Top-level names of modules that a file imports from elsewhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found = [node.module]
        for name in found:
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top not in OWN:
                yield top


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("shared", ["hub", "onnx", "scale", "tensorboard"]),
        ("tsdiff", ["all"]),
        ("speech", ["all"]),
        ("recipes", ["all", "app"]),
        ("docs", ["docs"]),
        pytest.param("tests", ["dev", "browser"], marks=pytest.mark.slow),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: list[str]) -> None:
    """In the dependencies, or in an extra of the folder."""
    within = [name for extra in extras for name in EXTRAS[extra]]
    for text in within:  # which grows by what its own name brings in
        if text.startswith(f"{PROJECT['name']}["):
            within += [name for each in text[:-1].split("[")[1].split(",") for name in EXTRAS[each]]
    declared, distributions = names([*PROJECT["dependencies"], *COMES_WITH, *within]), installed()
    missing = {
        f"{place}: {module}"
        for path in (ROOT / folder).rglob("*.py")
        if not (place := path.relative_to(ROOT).as_posix()).startswith(MAKERS)
        for module in imported(path)
        if not names([module, *distributions.get(module, [])]) & declared
    }
    assert not missing
