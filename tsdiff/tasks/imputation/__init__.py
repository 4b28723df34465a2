"""Filling the gaps of series."""

from tsdiff.tasks.imputation.filling import Imputation, impute_series
