"""Runs of true values."""

from __future__ import annotations

import numpy as np
import pytest

from shared.runs import runs


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("", []),
        ("..", []),
        ("xx", [[0, 2]]),
        (".x.", [[1, 2]]),
        ("xx..x.x", [[0, 2], [4, 5], [6, 7]]),
    ],
)
def test_runs_begin_and_end_where_flags_change(flags, found):
    given = np.array([each == "x" for each in flags], dtype=bool)
    assert runs(given).tolist() == found
    assert runs(given.astype(float)).tolist() == found
    assert runs(given).shape == (len(found), 2)
