"""What commands and recipes tell goes to the right stream: only `shared/command.py` knows of streams."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

SOURCES = [
    path for folder in ("tsdiff/commands", "speech/commands", "recipes") for path in (ROOT / folder).glob("*.py")
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.parent.name}-{path.name}")
def test_results_notes_and_errors_are_told_by_show_note_and_fail(path) -> None:
    source = path.read_text()
    for direct in ("console.print(", "console.status(", "\nprint(", " print(", "tqdm"):
        assert direct not in source
