"""A model and its companion: quality "best"."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import CheckpointError, ConfigError
from speech import Enhancer
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.data import MixConfig, validation_pairs
from speech.inference.advice import SettingWarning
from speech.inference.members import Members
from speech.inference.segments import SegmentRunner
from speech.metrics import pesq_wb, si_sdr
from speech.model.config import Companion
from speech.model.frontend import FrontEndConfig
from speech.model.model import SpeechModel
from tests.isolated import killed_while_writing
from tests.recipes.harness import Recipes
from tests.speech.models import decibels, gain_enhancer, noise, tiny_model


def saved(model: SpeechModel, folder: Path, companion: Path | None = None, share: float = 0.5) -> Path:
    """A model in a folder, with a companion of the same share everywhere."""
    if companion is not None:
        model.config = replace(model.config, companion=Companion(str(companion), share, share))
    model.save_pretrained(folder)
    return folder


def best(folder: Path, **options: object) -> Enhancer:
    return Enhancer(SpeechModel.from_pretrained(folder), quality="best", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [1, 300, 3040, 40_000])
def test_beside_itself_a_model_is_what_it_is_alone(tmp_path: Path, samples: int) -> None:
    folder = saved(tiny_model(), tmp_path / "one")
    pair = best(saved(tiny_model(), tmp_path / "two", folder, 0.3), window_seconds=1.0, overlap_seconds=0.3)
    alone = Enhancer(SpeechModel.from_pretrained(folder), window_seconds=1.0, overlap_seconds=0.3)
    signal = noise(2, samples)
    np.testing.assert_allclose(pair.enhance(signal, 16000), alone.enhance(signal, 16000), atol=2e-6)
    assert (pair.nfe, alone.nfe) == (6, 3)


@pytest.mark.parametrize("normalize", ["noisy", "not"])
def test_a_share_of_nothing_and_of_all(tmp_path: Path, normalize: str) -> None:
    other = tiny_model(causal=True, normalize=normalize, sampler="ode1", steps=1)
    beside, signal = saved(other, tmp_path / "beside"), noise(1, 5000)
    for share, model in ((0.0, tiny_model()), (1.0, other)):
        pair = best(saved(tiny_model(), tmp_path / f"{share}", beside, share))
        wanted = Enhancer(model).enhance(signal, 16000)
        np.testing.assert_allclose(pair.enhance(signal, 16000), wanted, atol=2e-6)


@pytest.mark.parametrize(("gain", "mean"), [(0.2, 0.4 * 0.2 + 0.6 * 0.5), (0.8, 0.1 * 0.8 + 0.9 * 0.5)])
def test_what_one_of_two_takes_is_taken_for_noise(gain: float, mean: float) -> None:
    """Beside a model that halves everything."""
    pair, other = gain_enhancer(0.5), gain_enhancer(gain)
    beside = SegmentRunner(other.model, other.sampling, 1, 10**6)
    pair.engine.members = Members(pair.engine.runner, beside, Companion("another", share=0.4, beyond=0.1))
    signal = noise(1, 9000)
    np.testing.assert_allclose(pair.enhance(signal, 16000), mean * signal, atol=2e-6)


def test_in_windows_in_batches_and_as_files_it_is_the_same(tmp_path: Path) -> None:
    beside = saved(tiny_model(causal=True, normalize="not", sampler="ode1", steps=1), tmp_path / "beside")
    folder = saved(tiny_model(sampler="ode1", steps=1), tmp_path / "pair", beside)
    signal = noise(2, 40_000)
    signal[:, 12_000:20_000] = 0
    whole = best(folder).enhance(signal, 16000)
    cut = best(folder, window_seconds=1.0, overlap_seconds=0.5, batch_size=3)
    assert decibels(cut.enhance(signal, 16000) - whole, whole) < -55
    for rate in (16000, 44100):
        write_audio(tmp_path / "a.wav", Audio(signal, rate, subtype="FLOAT"))
        made = cut.enhance_file(tmp_path / "a.wav", tmp_path / "b.wav")
        wanted = cut.enhance(signal, rate, seed=cut.seed_of("a.wav"))
        np.testing.assert_allclose(read_audio(tmp_path / "b.wav").waveform, wanted, atol=2e-6)
        assert made.spread is not None
        assert -60 < made.spread < 10
        assert made.nfe == 2
    assert not whole[:, 12_500:19_500].any(), "digital silence"
    assert not cut.enhance(np.zeros((1, 9000), np.float32), 16000).any()


def test_what_is_asked_for_reaches_the_companion(tmp_path: Path) -> None:
    """Which alone is heard at a share of 1; half as much more is asked of it as of the model, and it fades in as that
    does, so that words with which a recording begins stay."""
    other = tiny_model(sampler="ode1", steps=1)
    other.config = replace(other.config, sampling=replace(other.config.sampling, suppression=0.8, fade_in=6))
    model = SpeechModel.from_pretrained(saved(tiny_model(), tmp_path / "pair", saved(other, tmp_path / "beside"), 1.0))
    asked = Enhancer(model, sampling=replace(model.config.sampling, suppression=1.5), quality="best")
    wanted = Enhancer(other, sampling=replace(other.config.sampling, suppression=1.2, fade_in=0))
    signal = noise(1, 9000)
    np.testing.assert_allclose(asked.enhance(signal, 16000), wanted.enhance(signal, 16000), atol=2e-6)


def test_it_is_told_that_a_companion_is_sampled_by_its_own_settings(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    other = tiny_model(sampler="ode1", steps=1)
    model = SpeechModel.from_pretrained(saved(tiny_model(), tmp_path / "pair", saved(other, tmp_path / "beside"), 0.3))
    Enhancer(model, quality="best")
    Enhancer(model, sampler="sde1", steps=5)
    Enhancer(model, sampler="ode1", steps=1, quality="best")  # as the companion is
    Enhancer(model, sampling=replace(model.config.sampling, suppression=1.5), quality="best")  # which reaches it
    assert not recwarn
    with pytest.warns(
        SettingWarning, match=r"^quality='best': sampler, steps: of .* its own, sampler='ode1', steps=1$"
    ):
        Enhancer(model, "sde1", 5, quality="best")
    with pytest.warns(SettingWarning, match=r"^quality='best': steps: of the model alone"):
        Enhancer(model, sampling=replace(model.config.sampling, steps=4), quality="best")


def test_a_companion_travels_in_its_models_folder(tmp_path: Path) -> None:
    folder = saved(tiny_model(), tmp_path / "made", Path("beside"), 1.0)
    other = tiny_model(sampler="ode1", steps=1)
    saved(other, folder / "beside")
    moved, signal = folder.rename(tmp_path / "moved"), noise(1, 900)
    np.testing.assert_allclose(best(moved).enhance(signal, 16000), Enhancer(other).enhance(signal, 16000), atol=2e-6)


def test_what_cannot_be_a_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no companion"):
        Enhancer(tiny_model(), quality="best")
    with pytest.raises(ConfigError, match="standard, best"):
        Enhancer(tiny_model(), quality="good")  # type: ignore[arg-type]
    other = saved(tiny_model(frontend=FrontEndConfig(n_fft=128, hop_length=64)), tmp_path / "other")
    with pytest.raises(ConfigError, match="hops of 64, its model 16000 Hz in hops of 32"):
        best(saved(tiny_model(), tmp_path / "pair", other))
    causal = saved(tiny_model(causal=True, normalize="not", sampler="ode1", steps=1), tmp_path / "causal")
    pair = best(saved(tiny_model(causal=True, normalize="not", sampler="ode1", steps=1), tmp_path / "two", causal))
    with pytest.raises(ConfigError, match="two networks, of which a stream runs one"):
        pair.stream(16000)


def test_it_is_told_that_a_companion_is_not_to_be_had_or_is_the_model_itself(tmp_path: Path) -> None:
    absent = saved(tiny_model(), tmp_path / "absent", Path("beside"))
    with pytest.raises(
        CheckpointError, match=r"companion that this model's settings name, 'beside', cannot be loaded: 'b"
    ):
        best(absent)
    (absent / "beside").mkdir()
    with pytest.raises(CheckpointError, match=r"'beside', cannot be loaded: .*holds no model.safetensors"):
        best(absent)
    for name in (".", tmp_path / "itself"):
        folder = saved(tiny_model(), tmp_path / "itself", Path(name))
        with pytest.raises(ConfigError, match="is the model itself"):
            best(folder)


def test_a_companion_in_its_models_folder_is_saved_along(tmp_path: Path) -> None:
    folder = saved(tiny_model(), tmp_path / "made", Path("beside"), 1.0)
    other = tiny_model(sampler="ode1", steps=1)
    saved(other, folder / "beside")
    loaded, signal = SpeechModel.from_pretrained(folder), noise(1, 900)
    for target in (folder, tmp_path / "again"):
        loaded.save_pretrained(target, half=True)
        np.testing.assert_allclose(
            best(target).enhance(signal, 16000), Enhancer(other).enhance(signal, 16000), atol=2e-6
        )
    outside = saved(tiny_model(), tmp_path / "outside", Path("../made"))
    SpeechModel.from_pretrained(outside).save_pretrained(tmp_path / "a" / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b"]


class Halved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, x_t: torch.Tensor, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return y * self.gain


@dataclass(frozen=True)
class HalvedConfig:
    kind: str = "halved"

    def build(self, frontend: object, sde: object) -> Halved:
        return Halved()


def test_a_pair_written_over_another_and_killed_is_one_of_both_or_refused(tmp_path: Path) -> None:
    """Wherever it is killed: never one's model beside the other's companion."""
    pairs = []
    for name, factor in (("old", 1.0), ("new", 1.1)):
        folder = saved(scaled(factor), tmp_path / name, Path("beside"))
        saved(scaled(factor + 0.01), folder / "beside")
        pairs.append(SpeechModel.from_pretrained(folder))
    old, new = pairs
    weights = {name: weights_of(pair) for name, pair in (("old", old), ("new", new))}
    found: list[str] = []
    for place in range(99):
        target = tmp_path / str(place)
        old.save_pretrained(target)
        killed = killed_while_writing(place, new.save_pretrained, target)
        try:
            read = weights_of(SpeechModel.from_pretrained(target))
        except CheckpointError as error:
            found.append("refused" if "save or train it again" in str(error) else str(error))
        else:
            found.append(next(name for name, known in weights.items() if torch.equal(known, read)))
        if not killed:
            break
    assert list(dict.fromkeys(found)) == ["old", "refused", "new"]


def scaled(factor: float) -> SpeechModel:
    model = tiny_model()
    with torch.no_grad():
        for weights in model.parameters():
            weights *= factor
    return model


def weights_of(model: SpeechModel) -> torch.Tensor:
    """Those of a model and of its companion, in a row."""
    pair = Enhancer(model, quality="best")
    return torch.cat([w.flatten() for runner in pair.engine.members.runners for w in runner.model.parameters()])


def test_a_companion_of_ones_own_backbone_gets_the_classes_that_its_model_got(tmp_path: Path) -> None:
    other = SpeechModel(replace(tiny_model(sampler="ode1", steps=1).config, backbone=HalvedConfig()))
    folder = saved(tiny_model(), tmp_path / "pair", saved(other, tmp_path / "beside"), 1.0)
    with pytest.raises(CheckpointError, match=r"passed as custom"):
        Enhancer.from_pretrained(folder, quality="best")
    pair, signal = Enhancer.from_pretrained(folder, custom=[HalvedConfig], quality="best"), noise(1, 5000)
    np.testing.assert_allclose(pair.enhance(signal, 16000), Enhancer(other).enhance(signal, 16000), atol=2e-6)


def test_beside_a_companion_that_draws_seed_and_draws_have_an_effect(tmp_path: Path) -> None:
    folder = saved(tiny_model(sampler="ode1", steps=1), tmp_path / "pair", saved(tiny_model(), tmp_path / "beside"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SettingWarning)
        pairs = [best(folder, seed=seed, draws=2) for seed in (1, 2)]
        one, other = (pair.enhance(noise(1, 3000), 16000) for pair in pairs)
    assert decibels(one - other, one) > -60
    assert pairs[0].nfe == 1 + 2 * 3
    with pytest.warns(SettingWarning, match="seed, draws: without effect"):
        Enhancer(SpeechModel.from_pretrained(folder), seed=1, draws=2)


def test_a_pair_is_not_exported_as_one_of_its_networks(tmp_path: Path) -> None:
    folder = saved(tiny_model(), tmp_path / "pair", saved(tiny_model(), tmp_path / "beside"))
    with pytest.raises(ConfigError, match="averages two networks, of which a file holds one"):
        best(folder).export_onnx(tmp_path / "network.onnx")
    assert not (tmp_path / "network.onnx").exists()


def test_on_the_command_line(tmp_path: Path) -> None:
    recipes = Recipes(tmp_path)
    beside = saved(tiny_model(sampler="ode1", steps=1), tmp_path / "beside")
    folder = saved(tiny_model(sampler="ode1", steps=1), tmp_path / "pair", beside, 0.35)
    write_audio(tmp_path / "in/a.wav", Audio(noise(1, 9000), 16000))
    options = "--model", folder, "--quality", "best"
    done = recipes.run("enhance", tmp_path / "in/a.wav", tmp_path / "b.wav", *options)
    assert done.code == 0, done.said
    assert "2 network calls" in done.said
    assert "results of its two networks are" in done.said
    done = recipes.run("enhance", tmp_path / "in/a.wav", tmp_path / "c.wav", "--model", beside, "--quality", "best")
    assert done.code == 1
    assert "names no companion" in done.said
    done = recipes.run(
        "enhance", tmp_path / "in", tmp_path / "out", *options, "--engine", "local", "--output", tmp_path / "o"
    )
    assert done.code == 0, done.said
    np.testing.assert_allclose(
        read_audio(tmp_path / "out/a.wav").waveform, read_audio(tmp_path / "b.wav").waveform, atol=1e-4
    )


def test_the_bundled_pair_is_better_than_the_default_alone() -> None:
    """On mixtures of speakers and noises that no training has."""
    folder = Path(os.environ.get("SHARED_DATA", "../shared/data")) / "speech" / "valid"
    if not folder.is_dir():
        pytest.skip(f"no recordings of validation at {folder} (SHARED_DATA)")
    mix = MixConfig(snr_db=(0.0, 15.0), noises=2, synthetic=0.0, rumble=0.0)
    pairs = validation_pairs(folder / "clean", folder / "noise", None, 12, 4.0, 3, mix)
    scores = {}
    for quality in ("standard", "best"):
        enhancer = Enhancer.from_pretrained("default", device="cpu", quality=quality)
        made = [(clean, enhancer.enhance(noisy, 16000)) for _, clean, noisy in pairs]
        scores[quality] = [
            [measure(np.ravel(clean), np.ravel(result), 16000) for measure in (pesq_wb, si_sdr)]
            for clean, result in made
        ]
    gains = np.subtract(scores["best"], scores["standard"])
    assert gains.mean(axis=0)[0] > 0.01
    assert gains.mean(axis=0)[1] > 0.0
