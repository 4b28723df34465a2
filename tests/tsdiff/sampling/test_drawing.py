"""What draws are checked for."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import DataError
from tsdiff.sampling.drawing import refuse_unfinite


def test_draws_that_are_not_finite_are_refused_by_name() -> None:
    good, bad = np.ones((3, 4)), np.ones((3, 4))
    refuse_unfinite([good, good], ["forecast of series 'a'", "forecast of series 'b'"])
    for value in (np.nan, np.inf):
        bad[1, 2] = value
        with pytest.raises(DataError, match="the forecast of series 'b' is not finite: its values leave"):
            refuse_unfinite([good, bad], ["forecast of series 'a'", "forecast of series 'b'"])
