"""Training a model of all frequencies: the windows of many sets, and a copy of the bundled model trained further."""

from tsdiff.pretraining.corpus import Corpus, CorpusGroup, CorpusSource
