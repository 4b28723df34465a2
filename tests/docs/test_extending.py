"""docs/extending.md: what users write in files of their own is trained, saved and loaded again, in another folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.recipes.harness import Ran, Recipes

_FILE = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)
FILES = dict(_FILE.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")))
PROGRAMS = [name for name, text in FILES.items() if "print(" in text]
MOST_LINES = 20
MISSING = {
    "forecast.py": "'mixer': choose one of s4d, s4, spacetime, context",
    "enhance.py": "'mask': choose one of ncsnpp, dcunet, light",
}


def run(program: str, folder: Path) -> Ran:
    return Recipes(folder).run(str(folder / program.removesuffix(".py")))


@pytest.mark.parametrize("name", sorted(set(FILES) - set(PROGRAMS)))
def test_a_part_of_ones_own_is_one_short_file(name: str) -> None:
    assert len([line for line in FILES[name].splitlines() if line.strip()]) <= MOST_LINES


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_run_and_what_is_loaded_again_answers_alike(program: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run(program, tmp_path)
    assert done.code == 0, done.err[-3000:]
    before, after = done.out.strip().splitlines()
    assert before == after


@pytest.mark.slow
def test_without_the_classes_a_saved_model_says_what_is_missing(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(re.sub(r", custom=\[.*?\]", "", text), encoding="utf-8")
    for program, message in MISSING.items():
        done = run(program, tmp_path)
        assert done.code != 0
        assert f"kind={message}; a class of your own is passed as custom=[…]" in done.err
