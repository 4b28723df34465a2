"""Synthetic series with the seasons of every frequency, and training windows of them and of real series."""

from tsdiff.pretraining.corpus import Corpus, CorpusGroup, CorpusSource
from tsdiff.pretraining.generators import KINDS, SHARES, SyntheticSeries, generate

__all__ = ["KINDS", "SHARES", "Corpus", "CorpusGroup", "CorpusSource", "SyntheticSeries", "generate"]
