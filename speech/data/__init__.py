"""Data to train and measure speech models on: mixtures on the fly, pair folders, fixed validation sets."""

from speech.data.config import PRESETS, MixConfig, preset
from speech.data.mixing import Mixer, MixSource, Mixture
from speech.data.pairs import PairSource
from speech.data.validation import validation_pairs
