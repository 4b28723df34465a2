"""Pictures: figures written whole, with other fonts for characters that theirs lacks, and what none has told once."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

from shared.console.notes import tell
from shared.files.io import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LACKING = re.compile(r"Glyph (\d+) .* missing from (?:current )?font")
_NO_LETTERS = "Last Resort High-Efficiency"
"""A font of matplotlib's that has a box for every character."""


def write_figure(figure: Figure, path: str | os.PathLike[str], dpi: int) -> None:
    """Write a figure atomically, its format by the path's suffix. Characters that its font lacks are taken from other
    fonts of the machine, as those of Chinese names are; what none has is told in one note.

    Raises:
        ValueError: a suffix that matplotlib does not write.
        OSError: it cannot be written.
    """
    lacking = _written(figure, path, dpi)
    if lacking and (fonts := _fonts_with(lacking)):
        _give(figure, fonts)
        lacking = _written(figure, path, dpi)
    if lacking:
        tell(f"{os.path.basename(path)}: the fonts here have no {lacking}, which boxes stand for; install one that has")


def _written(figure: Figure, path: str | os.PathLike[str], dpi: int) -> str:
    """Write it, and return the characters that its fonts lack."""
    with atomic_path(path) as temporary, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(temporary, dpi=dpi)
    lacking: dict[str, None] = {}
    for one in caught:
        glyph = _LACKING.match(str(one.message))
        if glyph is None:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        else:
            lacking[chr(int(glyph.group(1)))] = None
    return "".join(lacking)


def _fonts_with(characters: str) -> list[str]:
    """Names of fonts of the machine which have some of these characters, as few as are needed in the order found."""
    from matplotlib.font_manager import fontManager  # takes a while to load
    from matplotlib.ft2font import FT2Font

    lacking, found = {ord(one) for one in characters}, {_NO_LETTERS}
    for font in fontManager.ttflist:
        if not lacking:
            break
        if font.style != "normal" or font.name in found:
            continue
        try:
            here = lacking & FT2Font(font.fname).get_charmap().keys()
        except (OSError, RuntimeError):  # gone since fonts were looked for, or none that can be read
            continue
        if here:
            found.add(font.name)
            lacking -= here
    return sorted(found - {_NO_LETTERS})


def _give(figure: Figure, fonts: list[str]) -> None:
    """Let all texts of a figure fall back on these fonts."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily([*text.get_fontfamily(), *fonts])
