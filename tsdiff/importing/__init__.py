"""Import of published TSDiff checkpoints."""

from tsdiff.data.benchmarks import PUBLISHED_LAGS
from tsdiff.importing.checkpoint import import_checkpoint
from tsdiff.importing.weights import published_names
