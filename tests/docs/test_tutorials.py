"""docs/tutorials: the cells of each notebook run one after another, in an empty folder, as `make docs` runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import TUTORIALS

_CELL = re.compile(r"^```\{code-cell\}\n(.*?)^```", re.DOTALL | re.MULTILINE)
QUICK = "own_sde"


@pytest.fixture
def in_a_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty folder, pictures that nobody sees, and what a notebook changes put back."""
    import matplotlib.pyplot as plt

    import shared.console.progress

    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    yield
    plt.close("all")
    shared.console.progress.set_quiet(False)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem == QUICK else [pytest.mark.slow]) for path in TUTORIALS],
)
@pytest.mark.usefixtures("in_a_notebook")
def test_a_tutorial_runs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "from IPython" in text:
        pytest.importorskip("IPython", reason="of the extra docs")
    cells = _CELL.findall(text)
    assert len(cells) >= 4
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell, str(path), "exec"), names)
