"""Pictures whose texts have characters that no single font has."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from shared.console.notes import Note
from shared.figures import write_figure

COMBINED = "a\u1d81b"
"""Its middle is in STIX, which comes with matplotlib, and not in DejaVu Sans, the default."""
NOWHERE = "\U000100a0"


def pixels(path: Path, title: str, fonts: list[str] | None = None) -> np.ndarray:
    figure = Figure(figsize=(3, 2))
    figure.suptitle(title, fontfamily=fonts)
    write_figure(figure, path, dpi=80)
    return np.asarray(imread(path))


def test_characters_that_a_font_lacks_are_taken_from_another(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = pixels(tmp_path / "made.png", COMBINED)
    wanted = pixels(tmp_path / "wanted.png", COMBINED, ["DejaVu Sans", "STIXGeneral"])
    np.testing.assert_array_equal(made, wanted)


def test_only_what_no_font_has_is_told(tmp_path: Path) -> None:
    with pytest.warns(Note, match=re.escape(f"title.png: the fonts here have no {NOWHERE},")) as told:
        pixels(tmp_path / "title.png", COMBINED + NOWHERE)
    assert len(told) == 1
