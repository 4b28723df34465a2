"""What Langevin corrections make of the variance of items of few and of many numbers, against closed forms."""

from __future__ import annotations

import pytest
import torch

from shared.console.notes import Note
from shared.random import make_generator, randn
from shared.samplers import PredictorCorrector, sample
from shared.samplers.predictor_corrector import Corrector
from shared.sde import VPSDE

F64 = torch.float64


def corrected(numbers: int, corrector: Corrector, snr: float, items: int = 1500) -> float:
    """The variance that many corrections at one time come to, by that of Gaussian data."""
    sde, t = VPSDE(), 0.5
    variance = 0.25 * float(sde.alpha(torch.tensor(t))) ** 2 + float(sde.sigma(torch.tensor(t))) ** 2
    result = sample(
        lambda x, _: 0.25 * float(sde.alpha(torch.tensor(t))) / variance * x,
        sde,
        x_start=variance**0.5 * randn((items, numbers), make_generator("start"), dtype=F64),
        method=PredictorCorrector("none", corrector, snr=snr),
        schedule=torch.linspace(t, t - 1e-6, 300, dtype=F64),
        generator=make_generator("correct"),
    )
    return float(result.x.var()) / variance


@pytest.mark.parametrize("numbers", [1, 3, 16])
def test_ald_keeps_the_variance_of_items_of_any_size(numbers: int) -> None:
    assert corrected(numbers, "ald", 0.2, 8000) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("numbers", [8, 32])
def test_langevin_widens_items_of_few_numbers_as_the_page_says(numbers: int) -> None:
    """A step of d/|score|² alone keeps p·|score|², and one with the noise's own norm has its temperature raised."""
    assert corrected(numbers, "langevin", 0.1) == pytest.approx(((numbers + 2) / numbers) ** 2, rel=0.04)


@pytest.mark.parametrize(
    ("shape", "dtype", "numbers", "times"),
    [((4,), F64, 1, 9), ((4, 3), F64, 3, 2.8), ((4, 2, 5), F64, 10, 1.4), ((4, 1), torch.complex128, 2, 4)],
)
def test_a_note_tells_of_items_of_few_numbers(
    shape: tuple[int, ...], dtype: torch.dtype, numbers: int, times: float
) -> None:
    with pytest.warns(Note, match=f"of {numbers} numbers Gaussian data come out with {times} times .* corrector='ald'"):
        sample(lambda x, t: x / 2, VPSDE(), shape, method="pc", corrector="langevin", dtype=dtype, steps=2)


@pytest.mark.parametrize(("numbers", "corrector"), [(3, "ald"), (32, "langevin"), (0, "langevin")])
def test_nothing_is_said_of_others(numbers: int, corrector: Corrector, recwarn: pytest.WarningsRecorder) -> None:
    sample(lambda x, t: x / 2, VPSDE(), (4, numbers), method="pc", corrector=corrector, steps=2)
    assert not [one for one in recwarn if one.category is Note]
