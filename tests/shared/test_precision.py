"""The precision of models: float32, whatever torch's default is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from shared.errors import ConfigError
from shared.samplers import sample
from shared.sde import VPSDE
from speech.model.config import SpeechConfig
from speech.model.model import SpeechModel
from tsdiff import TSDiffEstimator, TSDiffPredictor


def test_models_say_that_they_compute_in_single_precision() -> None:
    entry = {"start": pd.Period("2024-01-01", "h"), "target": np.sin(np.arange(100.0)) + 3}
    predictor = TSDiffPredictor.from_pretrained("default").adapted("h", 4)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        for use in (
            lambda: TSDiffEstimator("h", 4, 8).train([entry], progress=False),
            lambda: SpeechModel(SpeechConfig()),
        ):
            with pytest.raises(ConfigError, match=r"set_default_dtype\(torch.float64\) is in force.*set torch.float32"):
                use()
        assert sample(lambda x, t: x / 2, VPSDE(), (2, 3), dtype=torch.float32).x.dtype == torch.float32
    finally:
        torch.set_default_dtype(before)
    predictor.model.double()
    with pytest.raises(ConfigError, match=r"weights in torch.float64: it computes in float32; give model.float\(\)"):
        list(predictor.predict([entry], num_samples=2))
    predictor.model.float()
    assert len(list(predictor.predict([entry], num_samples=2))) == 1
