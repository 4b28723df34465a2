"""Forecasts on two workers of Ray, one of which is killed in the middle: the bits of one frame in one process."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.shared.scale.works import kill_one_worker
from tests.tsdiff.scale.tables import DRAWS, TOGETHER, frame, results, write
from tsdiff import TSDiffPredictor, scale

pytestmark = pytest.mark.slow


def test_a_killed_worker_changes_no_bit(tmp_path: Path):
    pytest.importorskip("ray")
    table = frame(24)
    data, out = write(tmp_path / "data", {"a": table}), tmp_path / "out"
    thread = kill_one_worker(lambda: len(results(out)) >= 2)
    report = scale.forecast(data, out, **DRAWS, sampling=TOGETHER, size=3, workers=2, progress=False)
    thread.join()
    assert (report.units, report.items, report.failed) == (8, 24, {})
    wanted = TSDiffPredictor.from_pretrained("default").predict_df(table, **DRAWS, **TOGETHER)
    pd.testing.assert_frame_equal(pd.read_parquet(out), wanted, check_exact=True)
    here = scale.forecast(data, tmp_path / "here", **DRAWS, sampling=TOGETHER, size=3, engine="local", progress=False)
    assert here.items == 24
    assert results(out) == results(tmp_path / "here")
    assert not list(out.glob(".unfinished-*"))
