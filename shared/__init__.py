"""The score core: one Gaussian path around an anchor, and everything that follows from it.

Nothing in this package knows of time series or speech.
"""
