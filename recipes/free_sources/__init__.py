"""Real data that is free to train with, out of public sources: tables of series, and what a run has made."""
