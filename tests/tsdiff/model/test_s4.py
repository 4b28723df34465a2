"""The S4 backbone against direct simulation of its state spaces."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.files.settings import dataclass_from
from shared.sde import VPSDE
from tsdiff.estimator import TSDiffEstimator
from tsdiff.model.backbones import S4Backbone, S4Config, S4DConfig
from tsdiff.model.backbones.dplr import DPLR, discretise, hippo_legs, kernel, truncated
from tsdiff.model.backbones.s4 import S4Convolution
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff

SMALL = S4Config(width=8, blocks=2, state=8, step_embedding=16)


def random_system(channels: int = 3, pairs: int = 4) -> DPLR:
    pole = torch.complex(-torch.rand(channels, pairs).double() - 0.1, 5 * torch.randn(channels, pairs).double())
    low_rank, gain = torch.randn(2, channels, pairs, dtype=torch.complex128)
    return DPLR(pole, low_rank, gain, 0.02 + 0.1 * torch.rand(channels).double())


def simulate(system: DPLR, readout: Tensor, length: int) -> Tensor:
    """The impulse response by the bilinear rule and the recurrence, densely: (outputs, channels, length)."""
    pole, low_rank, gain, out = (
        torch.cat([v, v.conj()], -1) for v in (system.pole, system.low_rank, system.input, readout)
    )
    responses = []
    for h in range(len(pole)):
        a = torch.diag(pole[h]) - torch.outer(low_rank[h], low_rank[h].conj())
        identity, half = torch.eye(len(a), dtype=a.dtype), system.step[h] / 2
        inverse = torch.linalg.inv(identity - half * a)
        state, steps = inverse @ gain[h] * system.step[h], []
        for _ in range(length):
            steps.append(out[:, h] @ state)
            state = inverse @ (identity + half * a) @ state
        responses.append(torch.stack(steps, dim=-1))
    response = torch.stack(responses, dim=1)
    assert float(response.imag.abs().max()) < 1e-12 * max(1.0, float(response.real.abs().max()))
    return response.real


@pytest.mark.parametrize("length", [1, 2, 7, 32, 101])
def test_kernel_is_the_impulse_response(length: int) -> None:
    torch.manual_seed(0)
    system = random_system()
    readout = torch.randn(2, 3, 4, dtype=torch.complex128)
    made = kernel(truncated(readout, system, length), system, length)
    torch.testing.assert_close(made, simulate(system, readout, length), rtol=1e-9, atol=1e-10)


def test_paper_sized_kernel_in_single_precision() -> None:
    torch.manual_seed(0)
    convolution = S4Convolution(4, 128, 360)
    with torch.no_grad():
        exact = kernel(torch.view_as_complex(convolution.readout.double()), convolution.system(torch.float64), 360)
        torch.testing.assert_close(
            convolution.kernels(360).double(), exact, rtol=0, atol=1e-5 * float(exact.abs().max())
        )


def test_hippo_legs_is_unitarily_equivalent_to_its_matrix() -> None:
    state = 16
    n = torch.arange(state, dtype=torch.float64)
    dense = -torch.outer((2 * n + 1).sqrt(), (2 * n + 1).sqrt()).tril(-1) - torch.diag(n + 1)
    legs = hippo_legs(state)
    a_bar, b_bar = discretise(legs)
    identity = torch.eye(state, dtype=torch.float64)
    inverse = torch.linalg.inv(identity - dense / 2)
    mine = torch.linalg.eigvals(a_bar[0])
    theirs = torch.linalg.eigvals(inverse @ (identity + dense / 2))
    # Non-normal matrices have sensitive eigenvalues: compare traces of powers and norms instead.
    for power in (1, 2, 3):
        torch.testing.assert_close((mine**power).sum().real, (theirs**power).sum().real, rtol=1e-8, atol=1e-8)
    b = inverse @ (2 * n + 1).sqrt()
    torch.testing.assert_close(b_bar.abs().square().sum(), b.square().sum(), rtol=1e-9, atol=0)


def test_sums_are_over_both_members_of_each_pair_unless_a_configuration_says_one() -> None:
    x = torch.zeros(1, 8, 21)
    x[..., 10] = 1.0
    responses = {}
    for name, config in (
        ("default", SMALL),
        ("both", replace(SMALL, conjugates=True)),
        ("one", replace(SMALL, conjugates=False)),
    ):
        torch.manual_seed(0)
        responses[name] = S4Backbone(config, 21).blocks[0].convolution(x)
    assert torch.equal(responses["default"], responses["both"])
    assert not torch.allclose(responses["default"], responses["one"])


def test_one_member_of_each_pair_is_another_kernel() -> None:
    torch.manual_seed(0)
    system, readout = random_system(), torch.randn(2, 3, 4, dtype=torch.complex128)
    both, one = kernel(readout, system, 16), kernel(readout, system, 16, conjugates=False)
    assert not both.is_complex()
    assert not torch.allclose(both, one, atol=1e-3)
    # Swapping the members of every pair changes nothing when both are summed.
    other = DPLR(system.pole.conj(), system.low_rank.conj(), system.input.conj(), system.step)
    torch.testing.assert_close(kernel(readout.conj(), other, 16), both, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("length", [1, 5, 16, 17, 40])
def test_convolution_is_two_sided_at_any_length(length: int) -> None:
    torch.manual_seed(0)
    convolution = S4Convolution(3, 8, 16).eval()
    x = torch.randn(3, 2, length)
    ahead, behind = convolution.kernels(length).detach()
    expected = convolution.direct.detach()[:, None, None] * x
    for i in range(length):
        for j in range(length):
            lag = i - j
            expected[:, :, i] += (ahead[:, lag, None] if lag >= 0 else behind[:, -lag - 1, None]) * x[:, :, j]
    torch.testing.assert_close(convolution(x).detach(), expected, rtol=1e-4, atol=1e-5)


def test_longer_kernels_continue_the_shorter_ones() -> None:
    torch.manual_seed(0)
    convolution = S4Convolution(3, 8, 16)
    torch.testing.assert_close(convolution.kernels(50)[..., :16], convolution.kernels(16), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("through_data", [False, True])
@pytest.mark.parametrize("name", ["readout", "log_step", "low_rank", "direct"])
def test_cache_follows_the_weights(name: str, through_data: bool) -> None:
    torch.manual_seed(0)
    convolution = S4Convolution(3, 8, 16).eval().requires_grad_(False)
    x = torch.randn(3, 1, 16)
    before = convolution(x)
    assert convolution.spectrum(16, 32) is convolution.spectrum(16, 32)
    weight = getattr(convolution, name)
    (weight.data if through_data else weight).mul_(1.5)
    after = convolution(x)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, copy.deepcopy(convolution)(x))


def test_cache_made_in_inference_mode_serves_guidance() -> None:
    torch.manual_seed(0)
    network = S4Backbone(SMALL, 12).eval().requires_grad_(False)
    x, step = torch.randn(2, 12, 1), torch.tensor([3, 3])
    with torch.inference_mode():
        network(x, step)
    state = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(state, step).sum(), state)
    fresh = S4Backbone(SMALL, 12).eval()
    fresh.load_state_dict(network.state_dict())
    (expected,) = torch.autograd.grad(fresh(state, step).sum(), state)
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().max() > 1e-3


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = S4Backbone(SMALL, 12, 1, 3).train()
    network(torch.randn(4, 12, 1), torch.arange(4), torch.randn(4, 12, 3)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_steps_features_skip_and_batch() -> None:
    torch.manual_seed(0)
    network = S4Backbone(S4Config(width=8, blocks=2, state=8, step_embedding=16), 12, 3, 2).eval()
    x, features = torch.randn(3, 12, 3), torch.randn(3, 12, 2)
    with torch.no_grad():
        together = network(x, torch.tensor([0, 50, 99]), features)
        for i, step in enumerate((0, 50, 99)):
            one = network(x[i : i + 1], torch.tensor([step]), features[i : i + 1])
            torch.testing.assert_close(one, together[i : i + 1], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(network(x, torch.tensor([0, 50, 99])), together)
        skipping = S4Backbone(S4Config(**{**asdict(network.config), "input_skip": True}), 12, 3, 2).eval()
        skipping.load_state_dict(network.state_dict())
        torch.testing.assert_close(skipping(x, torch.tensor([0, 50, 99]), features), together + x)


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    network = S4Backbone(S4Config(width=8, blocks=1, state=8, step_embedding=16, dropout=0.5), 12)
    x, step = torch.randn(1, 12, 1), torch.tensor([1])
    assert not torch.equal(network.train()(x, step), network(x, step))
    assert torch.equal(network.eval()(x, step), network(x, step))


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"blocks": 0},
        {"state": 7},
        {"step_embedding": 2},
        {"dropout": 1.0},
    ],
)
def test_bad_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        S4Config(**wrong)  # type: ignore[arg-type]


def test_bad_input_is_refused() -> None:
    network = S4Backbone(SMALL, 12, 1, 2)
    x, step = torch.randn(2, 12, 1), torch.tensor([1, 2])
    for arguments in (
        (x[..., 0], step),
        (x.repeat(1, 1, 2), step),
        (x, step[:1]),
        (x, step, torch.randn(2, 11, 2)),
        (x, step, torch.randn(2, 12, 3)),
    ):
        with pytest.raises(ConfigError):
            network(*arguments)
    with pytest.raises(ConfigError, match="no features"):
        S4Backbone(SMALL, 12)(x, step, torch.randn(2, 12, 2))


@pytest.mark.parametrize("backbone", [S4DConfig(patch=4, width=8), SMALL])
def test_config_round_trip_tells_backbones_apart(backbone: S4Config | S4DConfig) -> None:
    config = TSDiffConfig("h", 4, 8, backbone=backbone)
    assert dataclass_from(TSDiffConfig, asdict(config), "test") == config


def test_configs_of_before_there_were_two_are_s4d() -> None:
    values = asdict(TSDiffConfig("h", 4, 8, backbone=S4DConfig(patch=4)))
    del values["backbone"]["kind"]
    assert dataclass_from(TSDiffConfig, values, "test").backbone == S4DConfig(patch=4)


def test_estimator_trains_it_with_the_calendar() -> None:
    rng = np.random.default_rng(0)
    series = [{"start": pd.Period("2024-01-01", "h"), "target": 5 + rng.normal(size=80)} for _ in range(3)]
    estimator = TSDiffEstimator("h", 4, 9, backbone=SMALL, batch_size=4).with_training(max_steps=3)
    predictor = estimator.train(series, progress=False)
    assert predictor.model.config.context_length == 9
    assert predictor.model.denoiser.network.backbone.features == 4
    (forecast,) = predictor.with_sampling(steps=3).predict(series[:1], num_samples=2)
    assert np.isfinite(forecast.samples).all()


def test_model_takes_any_length_and_only_tables() -> None:
    model = TSDiff(TSDiffConfig("h", 3, 10, backbone=SMALL)).eval()
    assert model.sample(2, steps=3).shape == (2, 13, 1)
    with pytest.raises(ConfigError, match="table"):
        TSDiff(TSDiffConfig("h", 3, 10, backbone=SMALL, sde=VPSDE()))
    with pytest.raises(ConfigError, match="0 … 99"):
        model.predict_noise(torch.randn(1, 13, 1), torch.tensor([100]))
