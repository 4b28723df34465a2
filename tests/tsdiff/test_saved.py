"""Whatever changes a forecaster's results is saved with it: it comes back from the disk with the same forecasts."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.predictor import Predictor

from shared.console.command import given
from shared.errors import CheckpointError
from tests.isolated import killed_while_writing
from tests.tsdiff.conftest import sines
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.automatic import AutoPredictor
from tsdiff.automatic.predictor import Member
from tsdiff.commands.common import given_predictor
from tsdiff.commands.job import Job
from tsdiff.data import series_from_gluonts, split_windows
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.evaluation.tuning import TuningGrid, tune
from tsdiff.faces.saved import read_horizon, write_settings
from tsdiff.model.backbones import S4Config, S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.pretraining.finetuning import FineTuning, fine_tune
from tsdiff.sampling.settings import Sampling
from tsdiff.windows.scales import Statistics

Made = TSDiffPredictor | EnsemblePredictor
Entries = list[dict[str, Any]]
FEW = {"steps": 2, "method": "ode2"}


def random_predictor(seed: int = 0, sampling: Sampling | None = None, **settings: Any) -> TSDiffPredictor:
    """An untrained model: forecasts of no worth, but of its weights and settings."""
    torch.manual_seed(seed)
    backbone = settings.pop("backbone", S4DConfig(patch=4, width=8, blocks=1, state=2))
    config = TSDiffConfig(**{"freq": "h", "prediction_length": 4, "context_length": 8, **settings}, backbone=backbone)
    features = config.static_features + config.dynamic_features
    statistics = Statistics(0.7, 1.3, 2.0, tuple([0.3] * features), tuple([1.7] * features))
    model = TSDiff(config, statistics)
    return TSDiffPredictor(model, sampling or Sampling(**FEW))  # type: ignore[arg-type]


def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default").with_sampling(steps=2)


def rich_entries() -> Entries:
    rng = np.random.default_rng(3)
    return [
        {
            **entry,
            "target": np.stack([entry["target"], 2 + rng.normal(size=60)]),
            "feat_dynamic_real": rng.normal(size=(2, 70)),
            "feat_static_real": rng.normal(size=1),
            "feat_static_cat": np.array([place]),
        }
        for place, entry in enumerate(sines(2, 60))
    ]


def daily(entries: Entries) -> Entries:
    return [{**entry, "start": pd.Period("2024-01-01", freq="D")} for entry in entries]


def tuned() -> TSDiffPredictor:
    grid = TuningGrid(guidance=(), scales=(0.5,), steps=())
    found = tune(default().adapted("h", 140), sines(1, 500), grid=grid, num_samples=2)
    return found.predictor


def fine_tuned() -> TSDiffPredictor:
    return fine_tune(default().adapted("D", 7), daily(sines(2, 60)), FineTuning(steps=1, held_back=0)).predictor


RICH = {
    "channels": 2,
    "dynamic_features": 2,
    "static_features": 1,
    "categories": (3,),
    "lags": (2,),
    "scale_feature": True,
}
VARIANTS: dict[str, tuple[Callable[[], Made], Callable[[], Entries]]] = {
    "adapted": (lambda: default().adapted("h", 24), lambda: sines(2, 60)),
    "adapted beyond its reach": (lambda: default().adapted("h", 150), lambda: sines(1, 60)),
    "adapted, then sampled otherwise": (
        lambda: (
            default()
            .adapted("h", 150)
            .with_sampling(seed=7, kernel_share=0.2, nonnegative=False, anchor_share=0.2, past_share=0.5, width=1.2)
        ),
        lambda: sines(1, 60),
    ),
    "adapted, quantile energy": (
        lambda: default().adapted("D", 7).with_sampling(guidance="quantile", observation_std=0.2, minimum=20.0),
        lambda: daily(sines(2, 60)),
    ),
    "fine-tuned": (fine_tuned, lambda: daily(sines(2, 60))),
    "tuned beyond its reach": (tuned, lambda: sines(1, 60)),
    "every setting of the sampling": (
        lambda: random_predictor(
            sampling=Sampling(
                "quantile",
                "tweedie",
                0.7,
                0.3,
                0.1,
                "sde2",
                3,
                2.0,
                0.5,
                2,
                "quadratic",
                -1.0,
                False,
                5,
                3,
                (1.0, 0.6, 0.2, 0.0),
                True,
                True,
                1.3,
                maximum=9.0,
                calendar_days=True,
                width=0.8,
            )
        ),
        lambda: sines(2, 40),
    ),
    "published samplers": (
        lambda: random_predictor(sampling=Sampling(method="ddim", scale=0.1, skip=25, eta=0.3, skip_type="quadratic")),
        lambda: sines(2, 40),
    ),
    "measured covariance": (
        lambda: random_predictor(scaling="standard").measure_covariance(sines(2, 60)),
        lambda: sines(2, 40),
    ),
    "channels, covariates, lags": (lambda: random_predictor(**RICH), rich_entries),
    "conditional": (
        lambda: random_predictor(conditional=True, known_lags=(3,), calendar="gluonts", scaling="last"),
        lambda: sines(2, 40),
    ),
    "the published network": (
        lambda: random_predictor(
            backbone=S4Config(width=8, blocks=1, state=4), output="noise", calendar="none", external_features=1
        ),
        lambda: sines(2, 40),
    ),
    "an ensemble": (
        lambda: EnsemblePredictor(
            [random_predictor(1), random_predictor(2).with_sampling(seed=9, scale=0.5, guidance="quantile")]
        ),
        lambda: sines(2, 40),
    ),
    "an ensemble beyond its reach": (
        lambda: EnsemblePredictor([default().adapted("h", 140), default().adapted("h", 140).with_sampling(seed=1)]),
        lambda: sines(1, 60),
    ),
}


def results(predictor: Made, entries: Entries) -> list[np.ndarray]:
    found = [forecast.samples for forecast in predictor.predict(entries, 4)]
    if isinstance(predictor, TSDiffPredictor):
        holed = [{**entry, "target": np.array(entry["target"])} for entry in entries]
        for entry in holed:
            entry["target"][..., -9:-6] = np.nan
        found += [made.samples for made in predictor.impute(holed, 3)]
    return found


LIKE_OTHERS = (
    "adapted, then sampled otherwise",
    "tuned beyond its reach",
    "an ensemble beyond its reach",
    "adapted, quantile energy",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LIKE_OTHERS else ()) for name in VARIANTS]
)
def test_what_is_saved_comes_back_with_the_same_forecasts(name, tmp_path):
    make, entries = VARIANTS[name]
    predictor, data = make(), entries()
    wanted = results(predictor, data)
    predictor.serialize(tmp_path / "one")
    again = Predictor.deserialize(tmp_path / "one")
    again.serialize(tmp_path / "two")
    for place in ("one", "two"):
        loaded = type(predictor).from_pretrained(tmp_path / place)
        assert (loaded.freq, loaded.prediction_length) == (predictor.freq, predictor.prediction_length)
        for found, expected in zip(results(loaded, data), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_every_setting_of_the_sampling_is_another_than_the_default():
    """Else the property above would not see that it is saved."""
    predictor = VARIANTS["every setting of the sampling"][0]()
    assert isinstance(predictor, TSDiffPredictor)
    same = [name for name, value in vars(Sampling()).items() if vars(predictor.sampling)[name] == value]
    assert same == ["method", "nonnegative", "anchor_share", "past_share"]  # which others of the variants change


def test_folders_of_before_the_horizon_was_saved_still_load(tmp_path):
    predictor = random_predictor()
    predictor.serialize(tmp_path)
    (tmp_path / "predictor.json").unlink()
    assert TSDiffPredictor.from_pretrained(tmp_path).prediction_length == 4
    (tmp_path / "sampling.json").unlink()
    assert TSDiffPredictor.from_pretrained(tmp_path).sampling == Sampling()


def test_a_model_that_is_saved_alone_over_a_forecaster_does_not_take_its_sampling_and_horizon(tmp_path: Path):
    random_predictor(0, Sampling(steps=3, nonnegative=True)).with_horizon(2).serialize(tmp_path)
    (tmp_path / "notes.txt").write_text("kept")
    model = random_predictor(1).model
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "model.safetensors", "notes.txt"}
    read = TSDiffPredictor.from_pretrained(tmp_path)
    assert repr(read) == repr(TSDiffPredictor(model))
    assert all(torch.equal(part, model.state_dict()[name]) for name, part in read.model.state_dict().items())


@pytest.mark.parametrize("saved", [0, 4.5, "5", None, True, 10**9, -1])
def test_a_damaged_horizon_is_refused(saved, tmp_path):
    random_predictor().serialize(tmp_path)
    (tmp_path / "predictor.json").write_text(json.dumps({"prediction_length": saved}))
    with pytest.raises(CheckpointError, match=r"predictor\.json: prediction_length="):
        TSDiffPredictor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"guidance": None, "seed": None}, {}),
        ({"guidance": "mse", "seed": None}, {"guidance": "mse"}),
        ({"guidance": None, "seed": 0}, {"seed": 0}),
    ],
)
@pytest.mark.parametrize("freq", ["h", "any"])
def test_a_named_model_keeps_its_sampling_but_for_the_options_given(options, changed, freq, tmp_path):
    saved = Sampling(guidance="quantile", nonnegative=True, seed=7, **FEW)  # type: ignore[arg-type]
    random_predictor(sampling=saved, freq=freq, calendar="season").serialize(tmp_path)
    series = series_from_gluonts(sines(1, 60))
    job = Job(series, split_windows(series, 4, 1), 4)
    found = given_predictor(str(tmp_path), job, given(**options), "cpu")
    assert vars(found.sampling) == {**vars(saved), **changed}
    assert (found.freq, found.prediction_length) == ("h", 4)


def test_horizons_up_to_a_million_steps_are_read_back(tmp_path):
    for steps in (500_000, 10**6):
        write_settings(tmp_path, Sampling(), steps)
        assert read_horizon(tmp_path) == steps
    write_settings(tmp_path, Sampling(), 10**6 + 1)
    with pytest.raises(CheckpointError, match="prediction_length=1000001 is no number of steps"):
        read_horizon(tmp_path)


@pytest.mark.parametrize(("first", "then"), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)])
def test_what_is_written_to_a_folder_takes_the_place_of_what_was_there(first: int, then: int, tmp_path: Path):
    one, other = random_predictor(0), random_predictor(1)
    kinds: list[Made | AutoPredictor] = [
        one,
        EnsemblePredictor([one, other]),
        AutoPredictor([Member("trained", 1.0, one)]),
    ]
    kinds[first].serialize(tmp_path)
    kinds[then].serialize(tmp_path)
    assert type(Predictor.deserialize(tmp_path)) is type(kinds[then])
    for kind in {type(made) for made in kinds} - {type(kinds[then])}:
        with pytest.raises(CheckpointError):
            kind.from_pretrained(tmp_path)
    if then:
        with pytest.raises(CheckpointError, match=rf"{type(kinds[then]).__name__}\.from_pretrained reads it"):
            TSDiffPredictor.from_pretrained(tmp_path)


def test_a_full_disk_leaves_every_file_of_an_earlier_forecaster_whole(tmp_path: Path):
    predictor = random_predictor(0)
    predictor.serialize(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            random_predictor(1).serialize(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert repr(Predictor.deserialize(tmp_path)) == repr(predictor)


def ensemble_of(*members: TSDiffPredictor) -> EnsemblePredictor:
    return EnsemblePredictor(members)


def pool_of(*members: TSDiffPredictor) -> AutoPredictor:
    return AutoPredictor([Member(f"model {place}", place + 1.0, one) for place, one in enumerate(members)])


@pytest.mark.parametrize("kind", [ensemble_of, pool_of])
@pytest.mark.parametrize("then", [ensemble_of, pool_of])
def test_several_forecasters_written_over_others_by_half_leave_those_as_they_were(kind, then, tmp_path: Path):
    kind(random_predictor(0), random_predictor(1)).serialize(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    small, large = random_predictor(2), random_predictor(3, backbone=S4DConfig(patch=4, width=64, blocks=1, state=2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = max(len(content) for content in before.values()) + 5000  # the small model fits, the large one does not
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            then(small, large).serialize(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("kind", [ensemble_of, pool_of])
def test_several_forecasters_that_were_stopped_while_they_changed_places_are_refused(kind, tmp_path: Path):
    kind(random_predictor(0), random_predictor(1)).serialize(tmp_path)
    (tmp_path / "1" / "config.json").unlink()
    (tmp_path / "1" / "config.json").mkdir()  # which no file may replace
    (tmp_path / "0" / "notes.txt").write_text("kept")
    new = kind(random_predictor(2), random_predictor(3))
    with pytest.raises(OSError, match=r"config\.json"):
        new.serialize(tmp_path)
    with pytest.raises(CheckpointError, match="serialize it again"):
        Predictor.deserialize(tmp_path)
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path))):
        TSDiffPredictor.from_pretrained(tmp_path)
    (tmp_path / "1" / "config.json").rmdir()
    new.serialize(tmp_path)
    assert repr(Predictor.deserialize(tmp_path)) == repr(new)
    assert (tmp_path / "0" / "notes.txt").read_text() == "kept"
    assert not list(tmp_path.glob(".unfinished-*"))


def test_a_forecaster_written_over_another_and_killed_is_one_of_both_or_refused(tmp_path: Path):
    """Wherever it is killed: never the weights of one with the sampling or the horizon of the other."""
    old, new = random_predictor(0), random_predictor(1, Sampling(steps=3, nonnegative=True)).with_horizon(2)
    wanted = {repr(one): one.model.state_dict() for one in (old, new)}
    found: list[str] = []
    for place in range(99):
        folder = tmp_path / str(place)
        old.serialize(folder)
        (folder / "notes.txt").write_text("kept")
        (folder / "config.json").chmod(0o600)
        killed = killed_while_writing(place, new.serialize, folder)
        assert (folder / "notes.txt").read_text() == "kept"
        try:
            read = TSDiffPredictor.from_pretrained(folder)
        except CheckpointError as error:
            found.append("refused" if "save or train it again" in str(error) else str(error))
            new.serialize(folder)
            read = TSDiffPredictor.from_pretrained(folder)
            assert repr(read) == repr(new)
        else:
            found.append(repr(read))
        weights = wanted[repr(read)]
        assert all(torch.equal(part, weights[name]) for name, part in read.model.state_dict().items())
        if not killed:
            break
    assert list(dict.fromkeys(found)) == [repr(old), "refused", repr(new)]
    assert (folder / "config.json").stat().st_mode & 0o777 == 0o600
    assert not list(folder.glob(".unfinished-*"))
