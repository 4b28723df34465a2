"""Folders of recordings to score."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.speech.metrics.recordings import Folders, voice, write


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Five files in clean/, noisy/ and enhanced/, the enhanced ones with less noise."""
    for place in range(5):
        clean, noise = voice(place), voice(100 + place)
        for kind, level in (("clean", 0.0), ("noisy", 0.3 + 0.1 * place), ("enhanced", 0.1)):
            write(tmp_path / kind / f"part{place % 2}" / f"{place}.wav", clean + level * noise)
    return {kind: tmp_path / kind for kind in ("clean", "noisy", "enhanced")}
