"""Filling the gaps of series."""

from tsdiff.tasks.imputation.filling import Imputation, impute_series

__all__ = ["Imputation", "impute_series"]
