"""Synthetic data sets, what they are worth to a forecaster, and how real they look."""

from tsdiff.tasks.synthesis.discriminator import Discrimination, discriminate, window_features
from tsdiff.tasks.synthesis.downstream import (
    DOWNSTREAM_MODELS,
    Downstream,
    downstream_frame,
    downstream_table,
    linear_predictive_score,
    train_on_synthetic,
)
from tsdiff.tasks.synthesis.draw import SynthesisConfig, synthesize
from tsdiff.tasks.synthesis.picture import plot_realism
from tsdiff.tasks.synthesis.realism import Realism, realism, realism_frame, realism_table
from tsdiff.tasks.synthesis.save import save_series, series_frame
from tsdiff.tasks.synthesis.surrogates import gaussian, phase_randomised
from tsdiff.tasks.synthesis.windows import WindowSet, count_windows, enough_parts, real_windows, stack_windows
