"""Training speech models for real, on little sounds: learning, resuming, validation."""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.errors import ConfigError, DataError, TrainingError
from shared.experiment import HardwareSettings
from shared.sde import OUVESDE, SBVESDE
from shared.training.batches import Batch
from shared.training.module import TrainingConfig
from shared.training.monitoring import Checkup
from speech.data import MixConfig
from speech.importing import import_checkpoint
from speech.model.config import Parameterisation, SamplingConfig
from speech.model.model import SpeechModel
from speech.training.fit import Trained, Validation, enhance_recording, new_model, train
from speech.training.recordings import Recording, training_source, validation_set
from speech.training.settings import (
    DataSettings,
    Experiment,
    ValidationSettings,
)
from speech.training.terms import ObjectiveConfig
from tests.speech.conftest import TINY_FRONT_END, TINY_LIGHT, LinearModel
from tests.speech.published import COMMON, OUVE, SMALL, random_weights, save_published, small_layout
from tests.speech.trees import put, speech_like


def sound(rng: np.random.Generator, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Low tones, and the same with high-frequency noise."""
    time = np.arange(samples) / 16000
    clean = sum(0.1 * np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f in rng.uniform(200, 900, 3))
    noise = np.diff(rng.normal(0, 0.15, samples + 1))
    return clean.astype(np.float32), (clean + noise).astype(np.float32)


class Sounds:
    """Batches of such sounds; from batch `poison` on, one is NaN."""

    def __init__(self, poison: bool = False):
        self.poison = poison

    def batch(self, rng: np.random.Generator) -> Batch:
        clean, noisy = (np.stack(part) for part in zip(*(sound(rng, 496) for _ in range(4)), strict=True))
        if self.poison:
            noisy[2] = np.nan
        return Batch(torch.from_numpy(clean), torch.from_numpy(noisy), ids=[f"sound {i}" for i in range(4)])


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    rng = np.random.default_rng(9)
    return [(f"recording {i}", *sound(rng, 2000)) for i in range(3)]


def experiment(steps: int = 60, **changes: Any) -> Experiment:
    base = Experiment()
    model = replace(
        base.model, backbone=TINY_LIGHT, frontend=TINY_FRONT_END, sampling=SamplingConfig("ode1", 1, schedule="log_snr")
    )
    training = TrainingConfig(max_steps=steps, learning_rate=5e-3, ema_decay=0.9, decay="constant", warmup=0.0)
    validation = ValidationSettings(every=20, files=3, scores=("si_sdr", "estoi"))
    return replace(base, **{"model": model, "training": training, "validation": validation, **changes})


def run(made: Experiment, folder: Path, recordings: Sequence[Recording] = (), **options: Any) -> Trained:
    return train(made, Sounds(), recordings, folder, progress=False, tensorboard=False, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, recordings: list[Recording]) -> tuple[Trained, Path]:
    folder = tmp_path_factory.mktemp("trained")
    return train(experiment(), Sounds(), recordings, folder, progress=False), folder


def test_it_learns(trained: tuple[Trained, Path], recordings: list[Recording]) -> None:
    found, folder = trained
    noisy = Validation(recordings, experiment()).noisy()
    assert found.best["si_sdr"] > noisy["si_sdr"] + 3
    assert found.steps == 60
    assert [row["step"] for row in found.checks] == [20, 40, 60]
    assert found.losses[-1]["loss"] < found.losses[0]["loss"]
    assert math.isnan(found.best["estoi"])  # too short for it
    assert any((folder / "tensorboard").glob("events*"))


def test_the_best_weights_are_kept(trained: tuple[Trained, Path], recordings: list[Recording]) -> None:
    found, folder = trained
    assert found.best["si_sdr"] == max(row["si_sdr"] for row in found.checks)
    validation = Validation(recordings, experiment())
    again = validation(SpeechModel.from_pretrained(folder / "model"), 0)
    assert again["si_sdr"] == pytest.approx(found.best["si_sdr"], abs=1e-3)
    assert validation.nfe == 1
    last = validation(SpeechModel.from_pretrained(folder / "last"), 0)
    assert last["si_sdr"] == pytest.approx(found.checks[-1]["si_sdr"], abs=1e-3)


def test_of_a_model_of_ones_own_the_best_weights_are_given_too(
    tmp_path: Path, trained: tuple[Trained, Path], recordings: list[Recording]
) -> None:
    made = experiment()
    made = replace(made, training=replace(made.training, learning_rate=0.03, ema_decay=0.0, warmup=0.0))
    found = run(made, tmp_path, recordings, model=copy.deepcopy(trained[0].model).requires_grad_(True))
    assert found.best["si_sdr"] > found.checks[-1]["si_sdr"] + 0.05
    again = Validation(recordings, made)(found.model, 0)
    assert again["si_sdr"] == pytest.approx(found.best["si_sdr"], abs=1e-3)


@pytest.mark.slow
def test_a_stopped_training_ends_as_one_that_was_not(
    tmp_path: Path, trained: tuple[Trained, Path], recordings: list[Recording]
) -> None:
    made = experiment()
    half = replace(made, training=replace(made.training, max_steps=30))
    run(half, tmp_path, recordings)
    resumed = run(made, tmp_path, recordings)
    whole = trained[0]
    for name, tensor in SpeechModel.from_pretrained(tmp_path / "last").state_dict().items():
        assert torch.equal(tensor, SpeechModel.from_pretrained(trained[1] / "last").state_dict()[name]), name
    assert [row["step"] for row in resumed.checks] == [20, 30, 40, 60]
    assert resumed.checks[-1]["si_sdr"] == pytest.approx(whole.checks[-1]["si_sdr"], abs=1e-6)
    assert resumed.best["si_sdr"] >= whole.best["si_sdr"] - 1e-6
    assert resumed.losses[-1]["step"] == 60
    assert resumed.losses[-1]["seconds"] > resumed.losses[0]["seconds"]


def test_scores_of_another_validation_are_not_compared(tmp_path: Path, recordings: list[Recording]) -> None:
    half = experiment(steps=20)
    run(half, tmp_path, recordings)
    kept = SpeechModel.from_pretrained(tmp_path / "model")
    # scored far higher; of the same names and lengths, as with other noise in the folder
    quiet = [(name, clean, clean + 0.01 * noisy) for name, clean, noisy in recordings]
    scores = replace(half.validation, scores=("si_sdr", "pesq_wb"))
    for made, others in ((half, quiet), (replace(half, validation=scores), recordings)):
        with pytest.warns(UserWarning, match="of other recordings or scores"):
            found = run(made, tmp_path, others)
        expected = {"step": 20, **Validation(others, made)(kept, 0)}
        (row,) = found.checks
        assert set(row) == set(expected)
        assert found.best["si_sdr"] == pytest.approx(expected["si_sdr"], abs=1e-3)
    more = replace(half, training=replace(half.training, max_steps=40))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*of other recordings")
        assert [row["step"] for row in run(more, tmp_path, recordings).checks] == [20, 40]


@pytest.mark.parametrize(
    ("data", "folders"),
    [
        (DataSettings(batch_size=1, seconds=0.1, mix=MixConfig(reverb=0.0)), ("train/clean", "train/noise")),
        (DataSettings(layout="split", batch_size=1, seconds=0.1), ("train/clean", "train/noisy")),
    ],
)
def test_other_training_files_are_told(tmp_path: Path, data: DataSettings, folders: tuple[str, str]) -> None:
    """Of a training that goes on: once, and not where they stay."""
    made = experiment(data=data)

    def go_on(steps: int) -> None:
        to = replace(made, training=replace(made.training, max_steps=steps))
        source = training_source(to, tmp_path, 1)
        train(to, source, (), tmp_path / "out", progress=False, tensorboard=False)

    for folder in folders:
        put(tmp_path / folder / "a.wav", speech_like(0.5, 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*training files")
        go_on(1)
        go_on(2)
    for folder in folders:
        put(tmp_path / folder / "b.wav", speech_like(0.6, 2))
    with pytest.warns(UserWarning, match=r"goes on with other training files than it had.*--retrain"):
        go_on(3)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*training files")
        go_on(4)


def test_why_a_network_has_no_scores_is_told(recordings: list[Recording]) -> None:
    made = experiment()
    loud = SpeechModel(made.model)
    with torch.no_grad():
        for parameter in loud.parameters():
            parameter.fill_(10.0)
    validation = Validation(recordings, made)
    assert math.isnan(validation(loud, 0)["si_sdr"])
    assert re.match(r"recording 0: .* cannot be right", validation.refused)


@pytest.mark.slow
def test_the_clock_ends_it(tmp_path: Path) -> None:
    found = run(experiment(steps=10**6, max_minutes=1 / 60), tmp_path)
    assert 0 < found.steps < 10**5
    assert not found.best
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert run(experiment(steps=10**6, max_minutes=1 / 60), tmp_path).steps <= found.steps + 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no GPU"):
        run(experiment(hardware=HardwareSettings("cuda")), tmp_path)


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="sound 2"):
        train(experiment(), Sounds(poison=True), (), tmp_path, progress=False, tensorboard=False)


@pytest.mark.parametrize(
    ("sde", "output", "loss"),
    [
        (OUVESDE(), "score", "score_matching"),
        (OUVESDE(), "denoiser", "denoiser"),
        (SBVESDE(), "data", "data_prediction"),
    ],
)
def test_any_network_and_objective_trains(
    tmp_path: Path, linear_model: LinearModel, sde: Any, output: Any, loss: Any
) -> None:
    model = linear_model(sde, Parameterisation(output)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = experiment(steps=3, objective=ObjectiveConfig(loss))
    found = run(made, tmp_path, model=model)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in found.model.state_dict().items())


def test_same_seed_same_weights() -> None:
    first, second, other = (new_model(replace(experiment(), training=TrainingConfig(seed=s))) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_starting_from_a_model(tmp_path: Path, trained: tuple[Trained, Path]) -> None:
    made = experiment(start_from=str(trained[1] / "model"))
    for parameter, wanted in zip(new_model(made).parameters(), trained[0].model.parameters(), strict=True):
        assert torch.equal(parameter, wanted)
    with pytest.raises(ConfigError, match="has sde"):
        new_model(replace(made, model=replace(made.model, sde={"name": "ouve"})))
    wide = replace(made.model, backbone=replace(made.model.backbone, width=24))
    told = r"has backbone width=8, the settings say width=24; set model\.backbone as it has it"
    with pytest.raises(ConfigError, match=told):
        new_model(replace(made, model=wide))


def test_starting_from_a_published_checkpoint(tmp_path: Path) -> None:
    state = random_weights(small_layout(), 0)
    published = save_published(
        tmp_path / "sgmse.ckpt", state, list(state.values()), {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp"}
    )
    wanted = import_checkpoint(published)
    model = new_model(Experiment(model=wanted.config, start_from=str(published)))
    assert model.training
    for parameter, other in zip(model.parameters(), wanted.parameters(), strict=True):
        assert torch.equal(parameter, other)


def test_a_causal_model_starts_from_one_that_looks_ahead(trained: tuple[Trained, Path]) -> None:
    made = experiment(start_from=str(trained[1] / "model"))
    causal = replace(
        made.model,
        backbone=replace(made.model.backbone, causal=True),
        frontend=replace(made.model.frontend, normalize="not"),
    )
    model = new_model(replace(made, model=causal))
    for (name, weight), other in zip(model.named_parameters(), trained[0].model.parameters(), strict=True):
        assert torch.equal(weight, other) or name.endswith(("neighbours.weight", "frames.weight")), name
    _, noisy = sound(np.random.default_rng(1), 777)
    quiet, _ = enhance_recording(model, noisy / 8)
    assert not np.allclose(8 * quiet, enhance_recording(model, noisy)[0])  # the level is not normalised


def test_a_recording_keeps_length_and_level(trained: tuple[Trained, Path]) -> None:
    model = trained[0].model
    _, noisy = sound(np.random.default_rng(1), 777)
    enhanced, nfe = enhance_recording(model, noisy)
    assert enhanced.shape == (777,)
    assert nfe == 1
    louder, _ = enhance_recording(model, 4 * noisy)
    np.testing.assert_allclose(louder, 4 * enhanced, atol=1e-5)
    assert np.isfinite(enhance_recording(model, np.zeros(50, np.float32))[0]).all()


def test_nan_scores_are_never_best() -> None:
    rows = iter([math.nan, 1.0, math.nan, 2.0])
    kept: list[float] = []
    checkup = Checkup(lambda *_: {"score": next(rows)}, 1, "score", lambda _, row: kept.append(row["score"]))
    module, trainer = _stand_ins()
    for step in range(1, 5):
        trainer.global_step = step
        checkup.on_train_batch_end(trainer, module)
    assert checkup.best == {"step": 4, "score": 2.0}
    assert [value for value in kept if not math.isnan(value)] == [1.0, 2.0]


def _stand_ins() -> tuple[Any, Any]:
    """A module, and a trainer that does nothing but count."""
    from types import SimpleNamespace

    from shared.training.module import DiffusionModule

    net = torch.nn.Linear(1, 1)
    module = DiffusionModule(net, lambda *_, **__: torch.zeros(1), TrainingConfig())
    barrier = SimpleNamespace(barrier=lambda: None)
    return module, SimpleNamespace(global_step=0, is_global_zero=True, logger=None, strategy=barrier)


def test_data_that_is_not_there_is_told(tmp_path: Path) -> None:
    made = experiment()
    with pytest.raises(DataError, match="SHARED_DATA"):
        training_source(made, tmp_path / "nowhere", 1)
    with pytest.raises(DataError, match=r"folder clean; add it; or train without validation \(validation\.files=0"):
        validation_set(made, tmp_path)
    with pytest.raises(DataError, match="pairs"):
        training_source(replace(made, data=DataSettings(layout="split")), tmp_path, 1)


def test_noise_by_formula_trains_and_validates_without_recordings_of_noise(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        put(tmp_path / part / "clean" / "a.wav", speech_like(1.0))
    made = experiment(data=DataSettings(mix=MixConfig(synthetic=1.0)))
    with pytest.raises(DataError, match=r"train has no folder rir; add it, or set data\.mix\.reverb=0"):
        training_source(made, tmp_path, 1)
    with pytest.warns(UserWarning, match="valid has no folder rir: models are validated without rooms"):
        ((_, clean, noisy),) = validation_set(replace(made, validation=ValidationSettings(files=1)), tmp_path)
    assert np.abs(noisy - clean).max() > 1e-3
    made = experiment(data=DataSettings(mix=MixConfig(synthetic=1.0, reverb=0.0)))
    batch = training_source(made, tmp_path, 1).batch(np.random.default_rng(0))
    assert batch.y is not None
    assert not torch.equal(batch.y, batch.x0)


def test_real_data(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "speech"
    if not root.is_dir():
        pytest.skip("no speech in the shared data")
    for part in ("train", "valid"):
        for kind in ("clean", "noise", "rir"):
            (tmp_path / part / kind).mkdir(parents=True)
            files = sorted((path for path in (root / part / kind).rglob("*.*") if path.is_file()), key=_size)[:3]
            for path in files:
                (tmp_path / part / kind / path.name).symlink_to(path.resolve())
    made = Experiment(validation=ValidationSettings(files=2, seconds=2.0, scores=("si_sdr", "estoi")))
    source = training_source(made, tmp_path, 1)
    batch = source.batch(np.random.default_rng(0))
    assert batch.y is not None
    assert batch.x0.shape == batch.y.shape == (4, made.crop_samples(1))
    assert torch.equal(batch.y, source.batch(np.random.default_rng(0)).y)
    found = validation_set(made, tmp_path)
    assert len(found) == 2
    assert math.isfinite(Validation(found, made).noisy()["si_sdr"])


def _size(path: Path) -> int:
    return path.stat().st_size
