"""What comes from outside, names of files and series above all, as a terminal may show it: nothing in it moves the
cursor, changes colours, breaks the line or turns the direction of writing."""

from __future__ import annotations

import unicodedata

_ACTING = {"Cc", "Cf", "Zl", "Zp"}
"""Categories of Unicode: controls, formats (among them those of direction), separators of lines and paragraphs."""
_JOINERS = "\u200c\u200d"
"""Formats without which names in some scripts are written wrongly."""


def harmless(text: str) -> str:
    """The text with what acts on a terminal escaped as Python does: a line break is \\n, an escape \\x1b."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(letter: str) -> str:
    acts = unicodedata.category(letter) in _ACTING and letter not in _JOINERS
    return letter.encode("unicode_escape").decode() if acts else letter
