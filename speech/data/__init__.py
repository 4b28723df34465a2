"""Data to train and measure speech models on: mixtures on the fly, pair folders, fixed validation sets."""

from speech.data.mixing import PRESETS, MixConfig, Mixer, MixSource, Mixture, preset
from speech.data.pairs import PairSource
from speech.data.validation import validation_pairs

__all__ = ["PRESETS", "MixConfig", "MixSource", "Mixer", "Mixture", "PairSource", "preset", "validation_pairs"]
