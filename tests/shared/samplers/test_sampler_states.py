"""States of samplers: items and batches, generators, complex data, dtypes and shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.random import make_generator
from shared.samplers import Method, sample
from shared.sde import BBEDSDE, OUVESDE, SBVESDE, SDE, VPSDE, DiscreteVPSDE
from tests.processes import ANCHORED, SDES, all_sdes
from tests.shared.gaussian import GaussianData
from tests.shared.samplers.test_published_steps import TABLE
from tests.shared.samplers.test_samplers import (
    DETERMINISTIC,
    F64,
    METHODS,
    MOVING,
    VARIANTS,
    bent,
    gaussian,
    spread_out,
)

# Randomness. -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, id=f"{name}-{label}", marks=() if name == "vp" or plain else pytest.mark.slow)
        for name in ("vp", "ouve", "sbve")
        for label, options in VARIANTS.items()
        for plain in [options["method"] not in ("pc", "rk45")]
    ],
)
def test_an_item_does_not_depend_on_its_batch(name: str, options: dict[str, Any]) -> None:
    sde, data = SDES[name], gaussian(name)
    anchors = torch.linspace(-1, 1, 10, dtype=F64).reshape(5, 2)

    def run(items: list[int]) -> Tensor:
        y = anchors[items] if name in ANCHORED else None
        denoiser = GaussianData(sde, data.mean, data.scale, y).denoiser
        generators = [make_generator("item", i) for i in items]
        # The adaptive solver shares its step size within a batch, so it agrees to its tolerance only.
        tolerances = {"rtol": 1e-6, "atol": 1e-6} if options["method"] == "rk45" else {}
        shape = (len(items), 2)
        return sample(denoiser, sde, shape, y=y, steps=5, generator=generators, dtype=F64, **tolerances, **options).x

    whole = run([0, 1, 2, 3, 4])
    margin = 1e-5 if options["method"] == "rk45" else 1e-12
    for chunks in ([[0, 1], [2, 3, 4]], [[0], [1], [2], [3], [4]], [[4, 2], [0, 3, 1]]):
        pieces = torch.cat([run(chunk) for chunk in chunks])
        order = [i for chunk in chunks for i in chunk]
        torch.testing.assert_close(pieces, whole[order], rtol=0, atol=margin)
    assert torch.equal(run([0, 1, 2, 3, 4]), whole)


def test_one_generator_for_the_batch_repeats_too() -> None:
    first, second, other = (
        sample(bent, VPSDE(), (3, 2), method="sde2", generator=make_generator(seed)).x for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_wrong_number_of_generators() -> None:
    with pytest.raises(ConfigError, match="2 generators for a batch of 3"):
        sample(bent, VPSDE(), (3, 2), generator=[make_generator(0), make_generator(1)])


# Complex data, dtypes, starts. -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["ode1", "ode2", "ode3", "euler", "heun", pytest.param("rk45", marks=pytest.mark.slow)]
)
@all_sdes(others_slow=True)
def test_complex_data_is_two_real_parts(name: str, sde: SDE, method: Method) -> None:
    data = gaussian(name)
    x = torch.complex(spread_out(data, 0.9, (1, 3)), -spread_out(data, 0.9, (1, 3)))
    anchored = data.y is not None
    y = torch.full_like(x, 0.5 + 0.5j) if anchored else None

    def run(state: Tensor, anchor: Tensor | None) -> Tensor:
        denoiser = GaussianData(sde, 0.0, 0.8, anchor).denoiser
        options: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6} if method == "rk45" else {}
        return sample(denoiser, sde, y=anchor, method=method, steps=12, x_start=state, t_start=0.9, **options).x

    whole = run(x, y)
    parts = (
        run(x.real.clone(), None if y is None else y.real.clone()),
        run(x.imag.clone(), None if y is None else y.imag),
    )
    torch.testing.assert_close(whole, torch.complex(*parts), rtol=0, atol=1e-4 if method == "rk45" else 1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {**({"snr": 0.1} if v["method"] == "pc" else {}), **v}
        for v in MOVING.values()
        if v["method"] not in DETERMINISTIC or v.get("eta")
    ],
    ids=str,
)
def test_complex_noise_has_unit_power(options: dict[str, Any]) -> None:
    """Stochastic methods on complex data of E|x_0|² = 0.8² end with that power, evenly in both parts."""
    data = GaussianData(VPSDE(), 0.0, 0.8)
    result = sample(
        data.denoiser, VPSDE(), (1, 5_000), steps=200, generator=make_generator(3), dtype=torch.complex64, **options
    )
    assert float(result.x.abs().square().mean().sqrt()) == pytest.approx(0.8, abs=0.04)
    assert float(result.x.real.std()) == pytest.approx(float(result.x.imag.std()), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_dtype_is_kept(options: dict[str, Any], dtype: torch.dtype) -> None:
    for sde in (VPSDE(), SBVESDE(), DiscreteVPSDE(TABLE)):
        y = torch.ones(2, 3, dtype=dtype)
        times: list[torch.dtype] = []

        def halve(x: Tensor, t: Tensor, seen: list[torch.dtype] = times) -> Tensor:
            seen.append(t.dtype)
            return 0.5 * x

        result = sample(halve, sde, y=y, steps=3, return_trajectory=True, **options)
        assert set(times) == {torch.empty(0, dtype=dtype).real.dtype}
        assert result.x.dtype == dtype
        assert bool(torch.view_as_real(result.x).isfinite().all() if dtype.is_complex else result.x.isfinite().all())


def test_shapes() -> None:
    for shape in ((2,), (2, 3), (2, 1, 4, 5), (0,), (0, 3)):
        for method in METHODS:
            assert sample(lambda x, t: 0.5 * x, VPSDE(), shape, method=method, steps=4).x.shape == shape


@pytest.mark.parametrize("sde", [VPSDE(), OUVESDE(), SBVESDE()], ids=["vp", "ouve", "sbve"])
def test_the_adaptive_solver_takes_complex_states_that_do_not_move(sde: SDE) -> None:
    """As in digital silence, where the prediction is the anchor itself."""
    y = torch.zeros(2, 3, dtype=torch.complex128)
    result = sample(lambda x, t: 0 * x, sde, y=y, method="rk45", generator=make_generator("still"))
    assert float(result.x.abs().max()) < 5 * float(sde.sigma(sde.t_end))


def test_the_start_is_not_changed_in_place() -> None:
    start, y = torch.ones(2, 3), torch.zeros(2, 3)
    for options in VARIANTS.values():
        sample(lambda x, t: 0.5 * x, OUVESDE(), y=y, x_start=start, steps=2, **options)
    assert torch.equal(start, torch.ones(2, 3))
    assert torch.equal(y, torch.zeros(2, 3))


def test_denoise_ends_with_a_data_prediction() -> None:
    result = sample(lambda x, t: torch.full_like(x, 4.0), BBEDSDE(), y=torch.zeros(2, 3), steps=3, denoise=True)
    assert torch.equal(result.x, torch.full((2, 3), 4.0))
