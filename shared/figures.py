"""Pictures: figures written whole, and what their font lacks told once."""

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


def write_figure(figure: Figure, path: str | os.PathLike[str], dpi: int) -> None:
    """Write a figure atomically, its format by the path's suffix; characters that its font lacks are told in one note.

    Raises:
        ValueError: a suffix that matplotlib does not write.
        OSError: it cannot be written.
    """
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
    if lacking:
        tell(
            f"{os.path.basename(path)}: its font has no {''.join(lacking)}, which boxes stand for; name a font that "
            "has, as font.family in a file matplotlibrc"
        )
