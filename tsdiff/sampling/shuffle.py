"""Samples put into an order in which they belong together.

Draws of single steps, or of single channels, know nothing of each other. Rearranging them by the ranks of draws that do
gives them their dependence and leaves what each says by itself as it was: the Schaake shuffle (Clark et al. 2004, "The
Schaake shuffle"; Schefzik, Thorarinsdottir & Gneiting 2013 call it an empirical copula).
"""

from __future__ import annotations

import numpy as np

FEWEST = 8
"""Draws that have quantiles, a median and a correlation; what goes by these leaves fewer draws as they are."""


def shuffled(samples: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Samples rearranged so that their ranks are those of a template.

    Args:
        samples: (n, …); the values of each place of the trailing axes are kept, their order along the first is not.
        template: (n, …) of the same shape, whose ranks are taken; equal values rank in their order.

    Returns:
        Shaped like `samples`.
    """
    made = np.empty_like(samples)
    np.put_along_axis(made, template.argsort(axis=0, kind="stable"), np.sort(samples, axis=0), axis=0)
    return made
