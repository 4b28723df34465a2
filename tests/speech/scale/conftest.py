"""A model that is loaded from its folder, as workers do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.speech.models import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("model")
    tiny_model(steps=2).save_pretrained(folder)
    return folder
