"""Unconditional diffusion for one-dimensional time series, on GluonTS."""
