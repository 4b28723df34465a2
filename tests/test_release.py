"""What a release needs beside code: types, one version everywhere, completion in a shell, files that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("package", ["shared", "tsdiff", "speech"])
def test_packages_tell_type_checkers_that_they_have_types(package):
    assert (ROOT / package / "py.typed").is_file()


def test_one_version_stands_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", PROJECT["version"]]


def test_hooks_run_what_lint_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in hooks:
        assert hook["entry"].replace(" --force-exclude", "") in makefile


def test_the_container_copies_what_the_package_is_built_from():
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {"shared", "tsdiff", "speech", "pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]} <= set(copied)


def test_the_source_archive_has_what_its_readme_and_tests_name():
    lines = [line.split() for line in (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()]
    taken = {name for verb, *names in lines if verb in ("graft", "include") for name in names}
    assert {"benchmarks", "docs", "recipes", "tests"} <= taken
    assert [name for name in taken if not list(ROOT.glob(name))] == []
    assert {"*.md", "*.cff", "constraints.txt", "Makefile", ".ci/run"} <= taken


@pytest.mark.parametrize(
    ("program", "typed", "offered"), [("tsdiff", "tsdiff fore", "forecast"), ("speech", "speech enh", "enhance")]
)
def test_a_shell_completes_verbs(program, typed, offered):
    asked = {
        f"_{program.upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": "1",
    }
    code = f"import sys; sys.argv = ['{program}']; from {program}.commands import main; main()"
    made = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert made.stdout.split() == [offered], made.stderr
