"""recipes/refine.py as its user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "recipes/refine.py"), *(str(a) for a in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_run_scores_before_and_after_and_a_bad_base_is_refused(tmp_path):
    rng, steps = np.random.default_rng(0), np.arange(160)
    frame = pd.concat(
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range("2024-01-01", periods=160, freq="h"),
                "target": 10 + 5 * np.sin(2 * np.pi * steps / 24 + k) + 0.3 * rng.normal(size=160),
            }
        )
        for k, item in enumerate("ab")
    )
    frame.to_csv(tmp_path / "data.csv", index=False)
    tiny = ["--steps", 8, "--samples", 5, "--prediction-length", 12, "--context-length", 36]
    given = ["--data", tmp_path / "data.csv", "--output", tmp_path / "out", *tiny]
    ran = run(*given, "--method", "langevin", "--refine-steps", 3)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["bases"].keys() == {"seasonal_naive", "linear"}
    for name, scores in metrics["bases"].items():
        assert np.isfinite([scores["before"]["crps"], scores["after"]["crps"]]).all()
        assert (tmp_path / f"out/{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    refined = pd.read_csv(tmp_path / "out/refined.csv")
    assert len(refined) == 2 * 2 * 12
    assert np.isfinite(refined["0.5"]).all()
    assert "seasonal naive, refined" in (tmp_path / "out/metrics.md").read_text()
    bad = run(*given, "--base", "oracle")
    assert bad.returncode == 1
    assert "error: --base oracle: take one of seasonal_naive" in bad.stdout
