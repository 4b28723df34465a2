"""Objectives: the published formulas computed again, and what their minimum must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from shared.objectives import TimeSampler
from shared.predictions import PathPoint
from shared.sde import OUVESDE, SBVESDE, SDE
from speech import metrics
from speech.model.config import Parameterisation
from speech.model.model import SpeechModel
from speech.training.terms import (
    ObjectiveConfig,
    SpeechObjective,
    band_level_error,
    bounded_si_sdr,
    compressed_spectral_error,
    pesq_term,
)
from tests.golden import sgmse_cases as cases
from tests.golden.recipe import complex_draw
from tests.golden.store import Golden
from tests.speech.conftest import LinearModel

SAMPLES = 16 * 11
"""12 frames of the tiny front end."""


def waveforms(batch: int = 3, samples: int = SAMPLES, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = 0.1 * torch.randn(batch, samples, generator=generator)
    return clean, clean + 0.05 * torch.randn(batch, samples, generator=generator)


class Seen:
    """What an objective hands to the network, kept."""

    def __init__(self, model: SpeechModel):
        self.times: list[Tensor] = []
        self._forward = model.backbone.forward
        model.backbone.forward = self  # type: ignore[assignment]

    def __call__(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        self.x_t, self.y, self.t = x_t, y, t
        self.times.append(t)
        return self._forward(x_t, y, t)


class FixedTimes(TimeSampler):
    """The times of the golden losses."""

    def sample(self, sde: SDE, batch: int, generator: torch.Generator | None = None) -> Tensor:
        return cases.LOSS_TIMES


@pytest.mark.parametrize(("loss", "weighting", "output", "process"), cases.LOSS_CASES)
def test_losses_are_the_published_ones(
    linear_model: LinearModel, golden: Golden, loss: Any, weighting: Any, output: Any, process: str
) -> None:
    model = linear_model(OUVESDE() if process == "ouve" else SBVESDE(), Parameterisation(output))
    cases.fill_linear(model.backbone)
    config = ObjectiveConfig(loss, weighting, l1_weight=0.5, times=FixedTimes(stratified=False))
    clean = cases.waveforms("clean", 3, cases.LOSS_SAMPLES)
    noisy = clean + cases.waveforms("noise", 3, cases.LOSS_SAMPLES) / 2
    z = complex_draw("loss noise", *model.frontend(clean).shape)
    found = SpeechObjective(config)(model, clean, noisy, noise=z)
    golden.assert_close(found, cases.key("loss", loss, weighting, output), 2e-6)


@pytest.mark.parametrize(
    ("loss", "weighting"),
    [("score_matching", "sigma^2"), ("denoiser", "1"), ("denoiser", "sigma^2"), ("denoiser", "edm")],
)
@pytest.mark.parametrize("output", ["score", "denoiser", "data"])
def test_losses_by_their_formulas(linear_model: LinearModel, loss: Any, weighting: Any, output: Any) -> None:
    sde = OUVESDE()
    model = linear_model(sde, Parameterisation(output, sigma_data=0.2))
    clean, noisy = waveforms(2)
    scale = noisy.abs().amax(1, keepdim=True)
    x, y = model.frontend(clean / scale), model.frontend(noisy / scale)
    z = torch.randn(x.shape, dtype=x.dtype)
    seen = Seen(model)
    config = ObjectiveConfig(loss, weighting, per_element=True)
    found = SpeechObjective(config)(model, clean, noisy, generator=torch.Generator().manual_seed(2), noise=z)
    states, anchors, times = seen.x_t, seen.y, seen.t
    for i, t in enumerate(times.double().tolist()):
        alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
        x_t = alpha * x[i] + (1 - alpha) * y[i] + sigma * z[i]
        torch.testing.assert_close(states[i], x_t, rtol=1e-5, atol=1e-6)
        one = slice(i, i + 1)
        x0 = model.denoise(states[one], anchors[one], times[one])[0]
        score = (alpha * x0 + (1 - alpha) * y[i] - x_t) / sigma**2
        if loss == "score_matching":
            wanted = 0.5 * (sigma * score + z[i]).abs().square().mean()
        else:
            weight = {"1": 1.0, "sigma^2": sigma**2, "edm": (sigma**2 + 0.04) / (sigma * 0.2) ** 2}[weighting]
            wanted = 0.5 * weight * (sigma**2 * score + x_t - (x_t - sigma * z[i])).abs().square().mean()
        assert float(found[i]) == pytest.approx(float(wanted), rel=1e-3)


def test_score_matching_is_least_at_the_score_of_a_gaussian(linear_model: LinearModel) -> None:
    """For x_0 ~ N(y, s²) the score is known, and the loss an item's size times σ²/(2(α²s² + σ²)) less than z's."""
    sde, spread = OUVESDE(), 0.3
    model = linear_model(sde, Parameterisation("score"))
    generator = torch.Generator().manual_seed(0)
    y = torch.zeros(1, 1, 32, 20000, dtype=torch.complex64)
    x0 = spread * torch.randn(y.shape, dtype=y.dtype, generator=generator)
    z = torch.randn(y.shape, dtype=y.dtype, generator=generator)
    model.frontend.forward = lambda waveform: y if bool((waveform == 0).all()) else x0  # type: ignore[assignment]

    def loss_of(gain: float) -> float:
        def score(x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
            point = PathPoint.at(sde, t)
            return -gain * (x_t - y) / float(point.alpha**2 * spread**2 + point.sigma**2)

        model.backbone.forward = score  # type: ignore[assignment]
        draw = torch.Generator().manual_seed(4)
        ones, zeros = torch.ones(1, 9), torch.zeros(1, 9)
        objective = SpeechObjective(ObjectiveConfig(per_element=True))
        return float(objective(model, ones, zeros, generator=draw, noise=z))

    t = float(TimeSampler(stratified=False).sample(sde, 1, torch.Generator().manual_seed(4)))
    data, noise = float(sde.alpha(t)) ** 2 * spread**2, float(sde.sigma(t)) ** 2
    best = loss_of(1.0)
    assert best == pytest.approx(0.5 * data / (data + noise), rel=0.01)
    assert best < min(loss_of(0.97), loss_of(1.03))


def test_the_data_prediction_terms(linear_model: LinearModel) -> None:
    model = linear_model(SBVESDE(), Parameterisation("data"))
    clean, noisy = waveforms(2)
    scale = noisy.abs().amax(1, keepdim=True)

    def loss(**weights: float) -> Tensor:
        config = ObjectiveConfig("data_prediction", **{"l1_weight": 0.0, **weights})  # type: ignore[arg-type]
        draw = torch.Generator().manual_seed(3)
        return SpeechObjective(config)(model, clean, noisy, generator=draw)

    base = loss()
    seen = Seen(model)
    loss()
    estimate = model.frontend.inverse(model.denoise(seen.x_t, seen.y, seen.t), SAMPLES)
    target = clean / scale
    torch.testing.assert_close(loss(l1_weight=2.0) - base, (estimate - target).abs().mean(1))
    both = zip(target, estimate.detach(), strict=True)
    si_sdr = torch.tensor([metrics.si_sdr(a.numpy(), b.numpy(), 16000) for a, b in both])
    torch.testing.assert_close((base - loss(si_sdr_weight=1.0)).double(), si_sdr.double(), rtol=0.02, atol=0.02)
    config = ObjectiveConfig("data_prediction")
    terms = [compressed_spectral_error(estimate, target, size, 0.3) for size in config.spectral_sizes]
    torch.testing.assert_close(loss(spectral_weight=1.0) - base, torch.stack(terms).mean(0))
    levels = band_level_error(estimate, target, 0.3)
    torch.testing.assert_close(loss(level_weight=1.0, level_quantile=0.3) - base, levels)


def test_si_sdr_levels_off_and_leaves_silence_out() -> None:
    clean, noisy = waveforms(3, 4000)
    clean[2] = 0
    found = bounded_si_sdr(noisy, clean)
    exact = metrics.si_sdr(clean[0].numpy(), noisy[0].numpy(), 16000)
    assert float(found[0]) == pytest.approx(exact, abs=0.02)
    assert float(found[2]) == 0
    torch.testing.assert_close(bounded_si_sdr(3 * clean[:1], clean[:1]), torch.tensor([30.0]), rtol=1e-3, atol=0)


def test_spectral_error() -> None:
    clean, noisy = waveforms(2, 2000)
    assert not bool(compressed_spectral_error(clean, clean, 256, 0.3).any())
    assert bool((compressed_spectral_error(noisy, clean, 256, 0.3) > 0).all())
    silent = torch.zeros(1, 2000).requires_grad_()
    compressed_spectral_error(silent, clean[:1], 512, 0.3).sum().backward()
    assert silent.grad is not None
    assert bool(torch.isfinite(silent.grad).all())
    assert compressed_spectral_error(noisy[:, :50], clean[:, :50], 512, 0.3).shape == (2,)
    both, alone = (compressed_spectral_error(-clean, clean, 256, 0.3, share) for share in (0.5, 1.0))
    assert bool((both > 0).all())
    torch.testing.assert_close(alone, torch.zeros(2))


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_where_phases_are_unknown_the_share_of_magnitudes_sets_the_level(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, other = (torch.randn(1, 40000, generator=generator) for _ in range(2))
    levels = torch.arange(-30.0, 6.0, 0.5)
    losses = torch.cat([compressed_spectral_error(other * 10 ** (x / 20), clean, 256, 0.3, share) for x in levels])
    best = float(levels[losses.argmin()])
    assert best == pytest.approx(20 * np.log10(share ** (1 / 0.3)), abs=1.0)


def test_a_wrong_level_costs_its_decibels() -> None:
    clean, _ = waveforms(2, 4000)
    assert not bool(band_level_error(clean, clean).any())
    loud, quiet = (band_level_error(gain * clean, clean, 0.25) for gain in (10**0.5, 10**-0.5))
    torch.testing.assert_close(loud, torch.full((2,), 1.5), rtol=1e-3, atol=0)
    torch.testing.assert_close(quiet, torch.full((2,), 0.5), rtol=1e-3, atol=0)
    assert band_level_error(loud[:, None] * clean[:, :50], clean[:, :50]).shape == (2,)


def test_levels_far_below_the_loudest_are_free() -> None:
    clean, other = waveforms(2, 16000)
    clean[:, 8000:] *= 1e-5
    made = torch.cat([clean[:, :8000], 1e-5 * other[:, 8000:]], dim=1)
    assert float(band_level_error(made, clean).max()) < 1e-3
    silent = torch.zeros_like(clean).requires_grad_()
    for target in (clean, torch.zeros_like(clean)):
        band_level_error(silent, target).sum().backward()
        assert silent.grad is not None
        assert bool(torch.isfinite(silent.grad).all())


@pytest.mark.parametrize("quantile", [0.25, *(pytest.param(one, marks=pytest.mark.slow) for one in (0.5, 0.8))])
def test_where_levels_are_unknown_their_quantile_costs_least(quantile: float) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, other = (torch.randn(300, 1600, generator=generator) for _ in range(2))
    drawn = 40 * torch.rand(300, generator=generator) - 20  # dB, each as likely
    clean = clean * 10 ** (drawn / 20)[:, None]
    levels = torch.arange(-20.0, 20.0, 1.0)
    losses = [float(band_level_error(other * 10 ** (float(x) / 20), clean, quantile).mean()) for x in levels]
    assert float(levels[int(np.argmin(losses))]) == pytest.approx(40 * quantile - 20, abs=1.5)


def speech_like(seconds: float = 1.0) -> Tensor:
    time = torch.arange(round(16000 * seconds)) / 16000
    tones = sum(torch.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    return (0.05 * tones * (1 + torch.sin(2 * np.pi * 4 * time)))[None]


def test_pesq_term_follows_the_package_and_the_noise() -> None:
    from torch_pesq import PesqLoss

    clean = speech_like()
    hiss = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    levels = [0.001, 0.01, 0.05]
    values = [float(pesq_term(clean + level * hiss, clean, 16000)) for level in levels]
    assert values == sorted(values)
    wanted = float(PesqLoss(1.0, sample_rate=16000)(clean.clone(), clean + 0.01 * hiss))
    assert values[1] == pytest.approx(wanted, rel=1e-5)
    batch = torch.cat([clean, torch.zeros_like(clean)])
    assert pesq_term(batch + 0.01, batch, 16000)[1] == 0
    assert not bool(pesq_term(clean[:, :3000], clean[:, :3000], 16000).any())


def test_pesq_has_finite_gradients_where_both_are_digitally_silent() -> None:
    clean = speech_like(1.0)
    clean[:, :6000] = 0
    estimate = (0.9 * clean).requires_grad_()
    pesq_term(estimate, clean, 16000).sum().backward()
    assert estimate.grad is not None
    assert bool(torch.isfinite(estimate.grad).all())
    assert float(estimate.grad[:, 8000:].abs().max()) > 0  # where there is something to learn


def test_pesq_in_the_objective_has_finite_gradients(linear_model: LinearModel) -> None:
    model = linear_model(SBVESDE(), Parameterisation("data"))
    clean = speech_like(0.5)
    config = ObjectiveConfig("data_prediction", pesq_weight=5e-4)
    SpeechObjective(config)(model, clean, clean + 0.01, generator=torch.Generator().manual_seed(0)).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert bool(torch.isfinite(parameter.grad).all())


@pytest.mark.parametrize("loss", ["score_matching", "denoiser", "data_prediction"])
def test_silence_trains(linear_model: LinearModel, loss: Any) -> None:
    model = linear_model(OUVESDE(), Parameterisation("data" if loss == "data_prediction" else "score"))
    extra = {"si_sdr_weight": 1.0, "spectral_weight": 1.0} if loss == "data_prediction" else {}
    objective = SpeechObjective(ObjectiveConfig(loss, **extra))  # type: ignore[arg-type]
    silence = torch.zeros(2, SAMPLES)
    found = objective(model, silence, silence, generator=torch.Generator().manual_seed(0))
    found.sum().backward()
    assert bool(torch.isfinite(found).all())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_a_share_of_items_is_trained_where_sampling_starts(linear_model: LinearModel) -> None:
    model = linear_model(SBVESDE(), Parameterisation("data"))
    seen = Seen(model)
    clean, noisy = waveforms(400)
    objective = SpeechObjective(ObjectiveConfig("data_prediction", start_share=0.3))
    objective(model, clean, noisy, generator=torch.Generator().manual_seed(0))
    share = float((seen.t == 1).float().mean())
    assert share == pytest.approx(0.3, abs=0.08)
    assert torch.equal(seen.x_t[seen.t == 1], seen.y[seen.t == 1])
    with pytest.raises(ConfigError, match="no score at its end"):
        SpeechObjective(ObjectiveConfig(start_share=0.3))(
            linear_model(SBVESDE(), Parameterisation("score")), clean, noisy
        )


def test_it_learns_a_linear_map(linear_model: LinearModel) -> None:
    model = linear_model(SBVESDE(), Parameterisation("data"))
    objective = SpeechObjective(ObjectiveConfig("data_prediction", start_share=1.0))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for step in range(60):
        clean, noisy = waveforms(8, seed=step)
        loss = objective(model, clean, noisy, generator=torch.Generator().manual_seed(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_what_cannot_be_used_is_told(linear_model: LinearModel) -> None:
    model = linear_model(OUVESDE())
    clean, noisy = waveforms()
    for arguments in ({}, {"y": noisy, "mask": noisy}, {"y": noisy, "condition": {"a": noisy}}):
        with pytest.raises(ConfigError, match="clean and noisy"):
            SpeechObjective()(model, clean, **arguments)  # type: ignore[arg-type]
    for wrong in (
        {"loss": "mse"},
        {"loss": "denoiser", "weighting": "snr"},
        {"weighting": "edm"},
        {"l1_weight": -1.0},
        {"pesq_weight": 1.0},
        {"start_share": 2.0},
        {"spectral_exponent": 0.0},
        {"spectral_sizes": ()},
    ):
        with pytest.raises(ConfigError):
            ObjectiveConfig(**wrong)  # type: ignore[arg-type]
