"""A file of the user's called shared.py, beside a script that needs ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("script", ["shared", "mine"])
@pytest.mark.parametrize("line", ["import tsdiff", "from speech import Enhancer"])
def test_a_neighbour_that_hides_shared_is_named(tmp_path: Path, script: str, line: str) -> None:
    (tmp_path / "shared.py").write_text("print('not ours')\n")
    (tmp_path / f"{script}.py").write_text(f"{line}\n")
    ran = subprocess.run(
        [sys.executable, f"{script}.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: `import shared` finds {tmp_path / 'shared.py'}, which hides the package")
    assert "rename" in last
    assert "not ours" not in ran.stdout


def test_a_folder_that_is_no_package_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    command = [sys.executable, "-c", "import speech, shared.errors; print(shared.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()) == ROOT / "shared" / "__init__.py"
