"""Real data that is free to train with, out of public sources: what is taken, tables of series, what a run has made."""
