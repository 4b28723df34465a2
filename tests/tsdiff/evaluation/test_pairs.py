"""What is given to be scored or drawn, and is something else: each answer tells what to give."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.split import split
from gluonts.model.forecast import SampleForecast

from shared.errors import DataError
from tests.tsdiff.conftest import sines
from tsdiff.evaluation.joint import joint_metrics
from tsdiff.evaluation.metrics import best_seasonal_naive, evaluate, forecasts_to_frame, seasonal_naive
from tsdiff.evaluation.plots import draw_forecasts

PAIRS = "give pairs (input entry, label entry)"
NO_PAIRS = {
    "entries": (sines(), f"item 0 of the test data is a dict and no pair; {PAIRS}"),
    "template": (split(sines(), offset=-8)[1], f"a TestTemplate is no test data; {PAIRS}"),
    "both": (split(sines(), offset=-8), "item 0 of the test data is a TrainingDataset and no pair"),
}


@pytest.mark.parametrize("kind", NO_PAIRS)
def test_what_is_no_test_data_is_told_what_to_give(kind):
    given, said = NO_PAIRS[kind]
    test = split(sines(), offset=-8)[1].generate_instances(8)
    forecasts = seasonal_naive(test, 8)
    for call in (
        lambda: evaluate(forecasts, given),
        lambda: joint_metrics(forecasts, given),
        lambda: seasonal_naive(given, 8),
        lambda: best_seasonal_naive(given, [8]),
        lambda: draw_forecasts(forecasts, given),
    ):
        with pytest.raises(DataError, match=re.escape(said)):
            call()
    for call in (
        lambda: evaluate(forecasts[0], test),
        lambda: forecasts_to_frame(forecasts[0]),
        lambda: draw_forecasts(forecasts[0], test),
    ):
        with pytest.raises(DataError, match=r"put it into a list: \[forecast\]"):
            call()


def test_a_table_of_a_forecast_of_channels_is_refused_by_its_series():
    two = SampleForecast(np.zeros((3, 8, 2)), pd.Period("2024-01-01", "h"), item_id="a")
    with pytest.raises(DataError, match=r"series 'a' is of 2 channels; write one after the other"):
        forecasts_to_frame([two])
