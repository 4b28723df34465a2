"""Training of the extension: recordings that lost a band are kept, levels tell what gains do, and a few steps learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.upper_band.extensions import ExtensionLoss, Extensions, ExtensionSource, Voices, nothing_added
from recipes.upper_band.kept import fitted, full_band_clips
from recipes.upper_band.mixtures import RATE, Part, levels_apart
from shared.errors import DataError
from shared.training.config import TrainingConfig
from shared.training.module import DiffusionModule, fit
from speech.data.clips import Clip
from speech.model.upper_band import UpperBandConfig, UpperBandNetwork
from tests.speech.models import gain_enhancer
from tests.speech.trees import hiss, put


def voices(edge: float = 20000.0) -> Voices:
    samples = np.random.default_rng(0).integers(-8000, 8000, 4 * RATE).astype(np.int16)
    return Voices([Clip("clip/0", "someone", samples, 0.02)], edge)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    folder = tmp_path_factory.mktemp("extensions")
    extensions = Extensions(folder, [voices()], gain_enhancer(1.0), count=4)
    made = extensions.part(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extensions, "_one", None)  # read, not made
        again = extensions.part(0)
    for name, values in made.items():
        np.testing.assert_array_equal(again[name], values)
    return made


def test_parts_of_other_settings_are_others(tmp_path: Path) -> None:
    for edge, seed in ((20000.0, 0), (11000.0, 0), (20000.0, 1)):
        Extensions(tmp_path, [voices(edge)], gain_enhancer(1.0), count=1, seed=seed).part(0)
    assert len(list(tmp_path.glob("part-000-*.npz"))) == 3


def test_what_a_recording_is_not_true_for_does_not_count(tmp_path: Path) -> None:
    made = Extensions(tmp_path, [voices(11000.0)], gain_enhancer(1.0), count=2).part(0)
    assert not made["bins"][:, -8:].any()
    assert made["bins"][:, 0].all()
    assert not made["energies"][..., -8:].any()


def test_a_batch_depends_on_its_generator_alone(part: Part) -> None:
    source = ExtensionSource([part], batch_size=3, frames=100)
    one, other = (source.batch(np.random.default_rng(5)) for _ in range(2))
    assert one.x0.shape == (3, 2, 100, 24)
    assert one.condition["features"].shape == (3, 100, 56)
    torch.testing.assert_close(one.x0, other.x0, rtol=0, atol=0)
    assert all(torch.isfinite(each).all() for each in one.condition.values())
    assert sum(len(batch.x0) for batch in source.plain()) == 4


def test_the_loss_is_how_far_levels_are_apart() -> None:
    wanted = torch.rand(2, 10, 24) + 0.5
    bins, loudest = torch.full((2, 24), 3.0), torch.ones(2)
    for decibels in (-12.0, 0.0, 7.0):
        found = levels_apart(wanted * 10 ** (decibels / 10), wanted, bins, loudest, 80.0)
        torch.testing.assert_close(found, torch.full((2,), abs(decibels)), atol=1e-3, rtol=0)
        found = levels_apart(wanted * 10 ** (decibels / 10), wanted, bins, loudest, 80.0, louder=1.5)
        weight = 1.5 if decibels > 0 else 0.5
        torch.testing.assert_close(found, torch.full((2,), weight * abs(decibels)), atol=1e-3, rtol=0)

    class Known:
        def __call__(self, features: torch.Tensor) -> tuple[torch.Tensor, None]:
            return torch.full((2, 10, 24), 0.5), None

    condition = {"features": torch.zeros(2, 10, 56), "bins": bins, "loudest": loudest}
    energies = torch.stack([4 * wanted, wanted], dim=1)
    found = ExtensionLoss()(Known(), energies, condition=condition)  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.zeros(2), atol=1e-4, rtol=0)


def test_recordings_without_an_upper_band_are_refused_and_so_is_a_single_one(tmp_path: Path) -> None:
    put(tmp_path / "speech/a.wav", hiss(1.0, rate=RATE), RATE)
    with pytest.raises(DataError, match="one recording, which validates; give more"):
        full_band_clips(tmp_path / "speech", tmp_path / "cache")
    put(tmp_path / "speech/b.wav", hiss(1.0, 1, 44100), 44100)
    assert [len(clip) for clip in full_band_clips(tmp_path / "speech", tmp_path / "cache")] == [RATE, RATE]
    put(tmp_path / "speech/c.wav", hiss(1.0, 2, 16000), 16000)
    with pytest.raises(DataError, match=r"c\.wav is at 16000 Hz.*give 44100"):
        full_band_clips(tmp_path / "speech", tmp_path / "cache")


def test_a_training_of_another_seed_is_not_gone_on_with(part: Part, tmp_path: Path) -> None:
    def weights(seed: int, *made_of: str) -> torch.Tensor:
        torch.manual_seed(seed)
        network = UpperBandNetwork(UpperBandConfig(share=0.0))
        source = ExtensionSource([part], batch_size=2, frames=50)
        fitted(network, ExtensionLoss(), source, tmp_path, steps=2, seed=seed, made_of=made_of)
        return torch.cat([each.flatten() for each in network.parameters()])

    first = weights(0)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)
    assert len(list(tmp_path.iterdir())) == 2
    weights(0, "other recordings")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_few_steps_learn(part: Part, tmp_path: Path) -> None:
    source, loss = ExtensionSource([part], batch_size=8, frames=100), ExtensionLoss()
    batch = source.batch(np.random.default_rng(0))
    torch.manual_seed(0)
    network = UpperBandNetwork(UpperBandConfig(share=0.0))
    before = loss(network, batch.x0, condition=batch.condition).mean()
    training = TrainingConfig(max_steps=60, learning_rate=1e-2, ema_decay=0.9)
    module = DiffusionModule(network, loss, training)
    fit(module, source, tmp_path, accelerator="cpu", progress=False)
    with torch.no_grad():
        after = loss(module.ema_denoiser, batch.x0, condition=batch.condition).mean()
        nothing = loss(
            lambda features: nothing_added(features, network.config),  # type: ignore[arg-type]
            batch.x0,
            condition=batch.condition,
        ).mean()
    assert after < 0.8 * before
    assert after < nothing / 3
