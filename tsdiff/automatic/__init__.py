"""A forecaster chosen, or pooled, by backtests on the caller's own series within a time (`tsdiff.auto`)."""

from tsdiff.automatic.predictor import AutoPredictor
from tsdiff.automatic.search import auto
from tsdiff.automatic.settings import AutoSettings
