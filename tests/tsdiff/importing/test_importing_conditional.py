"""Published checkpoints of conditional models: known by their features, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.torch.util import lagged_sequence_values
from torch import Tensor

from shared.errors import ConfigError
from tests.tsdiff.conftest import windows_of
from tests.tsdiff.importing.test_importing import CONFIG
from tests.tsdiff.published import published_state
from tsdiff import TSDiff, TSDiffPredictor, import_checkpoint
from tsdiff.importing import PUBLISHED_LAGS

COND: dict[str, Any] = {**CONFIG, "model": "conditional", "use_lags": True, "noise_observed": True}


def published_features(target: np.ndarray, context: int, horizon: int) -> tuple[Tensor, float]:
    """What the published TSDiff-Cond shows its network of a series to forecast, (1, length, 12), and the scale."""
    past = torch.from_numpy(np.nan_to_num(target).astype(np.float32))[None]
    seen = torch.from_numpy(~np.isnan(target))[None]
    scale = float(past[:, -context:].abs().sum() / seen[:, -context:].sum())
    shown = torch.cat([past / scale, torch.zeros(1, horizon)], dim=1)
    lags = lagged_sequence_values(
        list(PUBLISHED_LAGS["h"]), shown[:, : -context - horizon], shown[:, -context - horizon :], dim=1
    )
    mask = torch.cat([seen[:, -context:].float(), torch.zeros(1, horizon)], dim=1)
    return torch.cat([lags, shown[:, -context - horizon :, None], mask[..., None]], dim=-1), scale


def test_a_conditional_model_sees_what_the_published_one_sees(saved: Callable[[Any], Path]) -> None:
    rng = np.random.default_rng(0)
    target = 5 + rng.normal(size=800)
    target[[300, 700, 790]] = np.nan
    model = import_checkpoint(saved(published_state(features=12)), COND)
    assert model.config.conditional
    assert model.config.known_lags == PUBLISHED_LAGS["h"]
    entry = {"start": pd.Period("2024-01-01", "h"), "target": target, "item_id": "a"}
    window = windows_of(entry, model.config, model.statistics)
    expected, scale = published_features(target, 18, 6)
    torch.testing.assert_close(window.inputs["known"], expected, rtol=1e-5, atol=1e-6)
    assert window.scale == pytest.approx([scale], rel=1e-6)
    same = window.observing(window.values, window.observed)
    assert torch.equal(same.inputs["known"], window.inputs["known"])
    for settings in ({"method": "ddpm"}, {"steps": 4}):
        (forecast,) = TSDiffPredictor(model).with_sampling(**settings).predict([entry], num_samples=3)
        assert np.isfinite(forecast.samples).all()


def test_a_conditional_model_is_known_by_its_features(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    bare = {name: value for name, value in CONFIG.items() if name != "use_lags"}
    with pytest.warns(UserWarning, match="model='conditional'"):
        model = import_checkpoint(saved(published_state(features=2)), bare)
    assert model.config.conditional
    assert model.config.known_lags == ()
    model.save_pretrained(tmp_path / "model")
    again = TSDiff.from_pretrained(tmp_path / "model").config
    assert (again.conditional, again.known_lags) == (True, ())
    untold = {"context_length": 18, "prediction_length": 6}
    with pytest.warns(UserWarning, match="conjugates"):  # lags of days or business days; skip and pairs are tried
        model = import_checkpoint(saved(published_state(features=14)), untold)
    assert (model.config.freq, len(model.config.known_lags)) == ("D", 12)
    unconditional = {**bare, "model": "unconditional"}
    assert not import_checkpoint(saved(published_state(features=2)), unconditional).config.conditional


@pytest.mark.parametrize(
    ("features", "change", "message"),
    [
        (8, {}, "the published ones of freq='h' are 10"),
        (12, {"use_lags": False}, "use_lags=False"),
        (12, {"use_features": True}, "nor can the published code build it"),
        (12, {"noise_observed": False}, "noise_observed=False"),
        (1, {}, "1 channel and 1 feature;"),
        (12, {"model": "other"}, "give conditional or unconditional"),
    ],
)
def test_what_is_no_conditional_model_is_refused(
    saved: Callable[[Any], Path], features: int, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        import_checkpoint(saved(published_state(features=features)), {**COND, **change})
