"""The regressions of the composite measures against opinions worked out by hand from the paper's equations."""

from __future__ import annotations

import pytest

from speech.metrics import composite
from tests.speech.metrics.test_composite import RATE, signals


@pytest.mark.parametrize(
    ("level", "pesq", "csig", "cbak", "covl"),
    [
        (0.001, 1.2, 3.8163868, 4.4058752, 2.5598847),
        (0.01, 1.1, 3.7307615, 3.6333632, 2.4658869),
        (0.1, 1.5, 3.2094124, 2.4763525, 2.3766856),
        (0.1, 4.0, 4.7169124, 3.6713525, 4.3891856),
    ],
)
def test_opinions_are_those_of_hu_and_loizou(level: float, pesq: float, csig: float, cbak: float, covl: float) -> None:
    """Eqs. of Hu & Loizou 2008, table of section V, put on LLR, WSS and segmental SNR as pysepm has them.

    Four cases, none at an end of the scale, pin the four coefficients of each measure.
    """
    found = composite(*signals(level), RATE, pesq=pesq)
    assert (found.csig, found.cbak, found.covl) == pytest.approx((csig, cbak, covl), abs=2e-7)
