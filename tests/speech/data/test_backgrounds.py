"""WSJ0-CHiME3's noise is the part of the background that the table names, or there is none that is long enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recipes.speech_pairs.wsj0 import prepare_wsj0_chime3
from shared.errors import DataError
from speech.data.pairs import pairs
from tests.speech.trees import RATE, hiss, put, speech_like


def folders(root: Path, background: np.ndarray) -> tuple[Path, Path]:
    for part in ("si_tr_s", "si_dt_05", "si_et_05"):
        put(root / "wsj0" / part / "01a" / f"{part[3]}0ac0200.wav", 0.3 * speech_like(1.0))
    put(root / "chime/backgrounds/BGD.CH1.wav", background)
    return root / "wsj0", root / "chime"


def test_the_noise_is_the_background_from_the_step_that_the_table_names(tmp_path: Path) -> None:
    background = hiss(3.0, 2)
    prepared = prepare_wsj0_chime3(*folders(tmp_path, background), tmp_path / "out", progress=False)
    starts = []
    for row in prepared.rows:
        ((_, clean, noisy),) = pairs(tmp_path / "out", row["split"])
        start = row["noise_start"]
        assert np.corrcoef(noisy - clean, background[start : start + RATE])[0, 1] > 0.99
        starts.append(start)
    assert max(starts) > RATE  # anywhere in the background, not in its beginning alone


@pytest.mark.parametrize("missing", [1, RATE // 2])
def test_a_background_that_is_shorter_than_the_speech_is_named(tmp_path: Path, missing: int) -> None:
    short = hiss(1.0, 2)[:-missing]
    with pytest.raises(DataError, match=r"BGD.CH1.wav is shorter than .*\.wav; leave it out"):
        prepare_wsj0_chime3(*folders(tmp_path, short), tmp_path / "out", progress=False)
