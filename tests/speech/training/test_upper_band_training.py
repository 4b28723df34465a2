"""Training for the upper band: energies of bands tell what gains do, a mixture is kept, and a few steps learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.upper_band.mixtures import (
    MIX,
    RATE,
    Mixtures,
    Part,
    UpperBandLoss,
    UpperBandSource,
    levels_apart,
    of_bands,
    parted,
    with_speed,
)
from shared.training.config import TrainingConfig
from shared.training.module import DiffusionModule, fit
from speech.data.clips import Clip
from speech.enhancer import Enhancer
from speech.model.upper_band import Bands, UpperBandConfig, UpperBandNetwork
from tests.speech.models import gain_enhancer


def clip(seed: int, seconds: float = 4.0) -> Clip:
    samples = np.random.default_rng(seed).integers(-8000, 8000, round(seconds * RATE)).astype(np.int16)
    return Clip(f"clip/{seed}", "someone", samples, 0.02)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    folder = tmp_path_factory.mktemp("mixtures")
    mixtures = Mixtures(folder, [clip(0)], [clip(1)], [gain_enhancer(0.5), gain_enhancer(0.25)], count=4)
    made = mixtures.part(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixtures, "_one", None)  # read, not made
        again = mixtures.part(0)
    for name, values in made.items():
        np.testing.assert_array_equal(again[name], values)
    return made


def test_parts_of_other_settings_are_others(tmp_path: Path) -> None:
    models = [gain_enhancer(0.5)]
    speech, noises = [clip(0)], [clip(1)]
    slower = Enhancer(models[0].model, sampling=replace(models[0].sampling, suppression=1.5))
    kinds = [
        Mixtures(tmp_path, speech, noises, models, count=1),
        Mixtures(tmp_path, speech, noises, models, count=1, seed=1),
        Mixtures(tmp_path, speech, noises, models, count=1, mix=replace(MIX, noises=1)),
        Mixtures(tmp_path, speech, [clip(2)], models, count=1),
        Mixtures(tmp_path, speech, noises, [slower], count=1),
    ]
    parts = [each.part(0) for each in kinds]
    assert len(list(tmp_path.glob("part-000-*.npz"))) == len(kinds)
    np.testing.assert_array_equal(
        Mixtures(tmp_path, speech, noises, models, count=1).part(0)["heard"], parts[0]["heard"]
    )
    assert not np.array_equal(parts[0]["heard"], parts[1]["heard"])
    assert len(Mixtures(tmp_path, speech, noises, models, count=2).part(0)["heard"]) == 2


def test_energies_of_bands_tell_what_a_gain_does() -> None:
    bands = Bands.of(UpperBandConfig(), RATE)
    rng = np.random.default_rng(0)
    speech, noise = (
        (rng.standard_normal((50, 193)) + 1j * rng.standard_normal((50, 193))).astype(np.complex64) for _ in range(2)
    )
    found = of_bands(bands, speech, noise, 20000.0)
    hz = np.fft.rfftfreq(2 * bands.hop, 1 / RATE)
    inside = (hz > 8000) & (hz < 20000)
    direct = np.square(np.abs(speech + noise))[:, inside].sum()
    assert found["energies"].sum() == pytest.approx(direct, rel=1e-4)
    assert found["bins"].sum() == pytest.approx(inside.sum(), rel=1e-5)
    assert not of_bands(bands, speech, noise, 11000.0)["bins"][-8:].any()


def test_what_is_slower_ends_lower() -> None:
    rng = np.random.default_rng(0)
    found = [with_speed(clip(0), rng, RATE) for _ in range(20)]
    assert all(len(wave) == RATE for wave, _ in found)
    edges = [edge for _, edge in found]
    assert min(edges) < 17000 < max(edges) == 20000


def test_both_parts_of_a_waveform_are_the_waveform() -> None:
    wave = np.random.default_rng(0).standard_normal(RATE // 4).astype(np.float32)
    upper, lower = parted(wave)
    np.testing.assert_allclose(upper + lower, wave, atol=1e-6)


def test_a_batch_depends_on_its_generator_alone(part: Part) -> None:
    source = UpperBandSource([part], batch_size=3, frames=100)
    one, other = (source.batch(np.random.default_rng(5)) for _ in range(2))
    assert one.x0.shape == (3, 3, 100, 24)
    assert one.condition["features"].shape == (3, 100, 56)
    torch.testing.assert_close(one.x0, other.x0, rtol=0, atol=0)
    assert all(torch.isfinite(each).all() for each in one.condition.values())
    assert sum(len(batch.x0) for batch in source.plain()) == 4


def test_a_perfect_gain_has_less_loss_than_none(part: Part) -> None:
    batch = next(iter(UpperBandSource([part]).plain()))
    speech, noise, common = batch.x0.unbind(1)
    best = ((speech + common / 2) / (speech + noise + common + 1e-9)).clamp(0, 1)
    losses = [
        float(UpperBandLoss(1.0, 0.0).of_gains(gains, batch.x0, batch.condition).mean())
        for gains in (best, torch.ones_like(best), torch.zeros_like(best))
    ]
    assert losses[0] < min(losses[1:])


def test_a_few_steps_learn(part: Part, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, loss = UpperBandSource([part], batch_size=4, frames=60), UpperBandLoss()
    module = DiffusionModule(UpperBandNetwork(), loss, TrainingConfig(max_steps=8, learning_rate=1e-2, ema_decay=0.5))
    batch = source.batch(np.random.default_rng(1))
    with torch.no_grad():
        before = float(loss(module.denoiser, batch.x0, condition=batch.condition).mean())
    fit(module, source, tmp_path, progress=False)
    with torch.no_grad():
        after = float(loss(module.ema_denoiser, batch.x0, condition=batch.condition).mean())
    assert after < before


@pytest.mark.parametrize("bias", [pytest.param(12.0, marks=pytest.mark.slow), -12.0])
def test_gains_that_are_all_open_or_closed_do_not_stay_so(bias: float, part: Part, tmp_path: Path) -> None:
    """What they do has no gradient there, and training would end so."""
    torch.manual_seed(0)
    network = UpperBandNetwork()
    torch.nn.init.constant_(network.gains.bias, bias)
    source = UpperBandSource([part], batch_size=4, frames=60)
    module = DiffusionModule(network, UpperBandLoss(), TrainingConfig(max_steps=60, learning_rate=1e-1, ema_decay=0.5))
    fit(module, source, tmp_path, progress=False)
    batch = source.batch(np.random.default_rng(1))
    with torch.no_grad():
        logits, _ = module.denoiser.logits(batch.condition["features"])
    assert float(logits.abs().mean()) < 8


def test_levels_that_may_be_high_or_low_end_in_their_lower_quarter() -> None:
    decibels = torch.linspace(-20.0, 0.0, 101)
    wanted = (10 ** (decibels / 10)).reshape(1, -1, 1).expand(1, -1, 24)
    bins, loudest = torch.ones(1, 24), torch.ones(1)

    def best(louder: float) -> float:
        losses = [
            levels_apart(torch.full_like(wanted, 10 ** (float(level) / 10)), wanted, bins, loudest, 80.0, louder)
            for level in decibels
        ]
        return float(decibels[int(torch.cat(losses).argmin())])

    assert best(1.0) == pytest.approx(-10.0, abs=0.3)
    assert best(UpperBandLoss().louder) == pytest.approx(-15.0, abs=0.3)
