"""The model on disk, whole or damaged, and what it gives: noise, data, unconditional windows."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from shared.errors import CheckpointError, ConfigError
from shared.files.checkpoint import CONFIG, WEIGHTS, save_checkpoint
from shared.predictions import PathPoint
from shared.sde import FOUVESDE, VPSDE
from tests.isolated import forked
from tsdiff import TSDiff, TSDiffConfig, TSDiffPredictor
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.model import FORMAT, VERSION
from tsdiff.model.times import call_times
from tsdiff.windows.calendar import calendar_features
from tsdiff.windows.config import ANY_FREQ
from tsdiff.windows.scales import Statistics

ROOT = Path(__file__).resolve().parents[3]


def tiny_config(**changes: Any) -> TSDiffConfig:
    return TSDiffConfig("h", 8, 16, backbone=S4DConfig(patch=4, width=8, blocks=2, state=2), **changes)


def tiny_model(seed: int = 0, **changes: Any) -> TSDiff:
    """With weights that all matter."""
    torch.manual_seed(seed)
    model = TSDiff(tiny_config(**changes), Statistics(0.9, 0.4, 3.0))
    torch.nn.init.normal_(model.denoiser.network.backbone.output.weight, std=0.3)
    return model.eval()


def answer(model: TSDiff) -> torch.Tensor:
    with torch.no_grad():
        x = torch.linspace(-2, 2, 48).reshape(2, 24, 1)
        return model(x, torch.tensor([0.3, 0.8]), features=calendar())


def calendar() -> torch.Tensor:
    return torch.from_numpy(calendar_features(pd.Period("2024-05-05 03:00", freq="h"), 24, "waves"))[None]


# --- whole checkpoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"scaling": "standard", "output": "edm", "sde": VPSDE()}])
def test_a_saved_model_answers_as_before(tmp_path, changes):
    model = tiny_model(**changes)
    model.save_pretrained(tmp_path / "m")
    loaded = TSDiff.from_pretrained(tmp_path / "m")
    assert json.dumps(asdict(loaded.config)) == json.dumps(asdict(model.config))
    assert loaded.statistics == model.statistics
    assert not loaded.training
    torch.testing.assert_close(answer(loaded), answer(model), rtol=0, atol=0)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [CONFIG, WEIGHTS]


def test_saving_again_replaces_the_model(tmp_path):
    tiny_model(0).save_pretrained(tmp_path)
    tiny_model(1).save_pretrained(tmp_path)
    torch.testing.assert_close(answer(TSDiff.from_pretrained(tmp_path)), answer(tiny_model(1)), rtol=0, atol=0)


def test_the_configuration_inside_the_weights_serves_without_or_against_the_file(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    text = (tmp_path / CONFIG).read_text()
    (tmp_path / CONFIG).unlink()
    torch.testing.assert_close(answer(TSDiff.from_pretrained(tmp_path)), answer(model))
    (tmp_path / CONFIG).write_text(text.replace('"context_length": 16', '"context_length": 40'))
    with pytest.warns(UserWarning, match="config.json differs from the configuration inside model.safetensors") as told:
        assert TSDiff.from_pretrained(tmp_path).config.context_length == 16
    assert [each.filename for each in told] == [__file__]  # the caller's line is named


# --- damaged checkpoints -----------------------------------------------------------------------------------

Damage = Callable[[Path], None]


def edited(change: Callable[[dict[str, Any]], Any], kind: str = FORMAT, version: int = VERSION) -> Damage:
    """The model saved with a changed configuration."""

    def damage(folder: Path) -> None:
        config = json.loads(json.dumps(asdict(tiny_config())))
        change(config)
        save_checkpoint(folder, kind, version, config, tiny_model().state_dict())

    return damage


def reweighted(change: Callable[[dict[str, torch.Tensor]], Any], metadata: dict[str, str] | None = None) -> Damage:
    """The weights file written anew after a change, with its header or another one."""

    def damage(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        header = {"config": (folder / CONFIG).read_text()} if metadata is None else metadata
        save_file(state, folder / WEIGHTS, metadata=header)

    return damage


def truncated(size: int) -> Damage:
    return lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:size]) and None


def keep(_: Any) -> None:
    pass


HEAD = "denoiser.network.backbone.head.weight"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "empty weights": (truncated(0), "model.safetensors cannot be read.*copy or train it again"),
    "header cut": (truncated(100), "model.safetensors cannot be read.*truncated"),
    "weights cut": (truncated(9000), "model.safetensors cannot be read.*truncated"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "holds no model.safetensors; a model folder has"),
    "other version": (edited(keep, version=99), "version 99 of format 'tsdiff', this release reads 2; train it again"),
    "other format": (edited(keep, kind="speech"), "format 'speech', not 'tsdiff'"),
    "missing key": (reweighted(lambda s: s.pop(HEAD)), f"missing key '{HEAD}'.*again"),
    "unexpected key": (reweighted(lambda s: s.update(extra=torch.ones(1))), "unexpected key 'extra'.*again"),
    "wrong shape": (reweighted(lambda s: s.update({HEAD: torch.ones(3, 3)})), r"'.*head.weight' has shape \(3, 3\)"),
    "unknown setting": (edited(lambda c: c.update(colour=1)), "colour: Unexpected keyword.*again"),
    "unknown size": (edited(lambda c: c["backbone"].update(depth=1)), "backbone.depth: Unexpected keyword"),
    "missing setting": (edited(lambda c: c.pop("freq")), "freq: it is missing, and has no default"),
    "wrong type": (edited(lambda c: c.update(context_length="long")), "context_length: Input should be a valid int"),
    "wrong choice": (edited(lambda c: c.update(output="magic")), "output='magic': choose one of 'noise'"),
    "impossible value": (
        edited(lambda c: c.update(prediction_length=0)),
        "prediction_length=0: need a number, at least 1",
    ),
    "unknown frequency": (edited(lambda c: c.update(freq="zzz")), "unknown frequency 'zzz'"),
    "unknown process": (edited(lambda c: c["sde"].update(kind="magic")), "kind='magic'"),
    "process parameter": (edited(lambda c: c["sde"].update(magic=1)), "unexpected keyword argument 'magic'"),
    "process values": (
        edited(lambda c: c["sde"].update(betas="abc")),
        "sde: betas must be a list of numbers, not 'abc'",
    ),
    "damaged header": (reweighted(keep, {"config": "{"}), "model.safetensors is not valid JSON"),
    "header is a list": (reweighted(keep, {"config": "[]"}), "carries a configuration that is not a JSON object"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_model_is_refused_with_place_and_remedy(tmp_path, name):
    damage, message = DAMAGES[name]
    tiny_model().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        TSDiff.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "", None])
def test_bad_json_counts_where_the_weights_carry_no_configuration(tmp_path, text):
    tiny_model().save_pretrained(tmp_path)
    reweighted(keep, {})(tmp_path)
    (tmp_path / CONFIG).write_text(text) if text is not None else (tmp_path / CONFIG).unlink()
    with pytest.raises(CheckpointError, match=r"config.json is (not valid JSON|missing or not a JSON object)"):
        TSDiff.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["no-such-model", "./no/such", "a/b/c"])
def test_an_unknown_name_is_refused_with_what_there_is(name):
    with pytest.raises(
        CheckpointError, match=r"neither a folder, a bundled name nor a hub id; bundled names: default$"
    ):
        TSDiff.from_pretrained(name)


@pytest.mark.filterwarnings("ignore:'default' is the bundled model")
def test_a_folder_called_default_does_not_hide_the_bundled_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TSDiffPredictor(tiny_model()).serialize(Path("default"))
    for load in (TSDiff.from_pretrained, lambda where: TSDiffPredictor.from_pretrained(where).model):
        assert load("default").config.freq == ANY_FREQ
        assert load("./default").config.freq == load(Path("default")).config.freq == tiny_model().config.freq
    for where in (Path("default"), "default"):
        assert TSDiffPredictor.deserialize(where).freq == tiny_model().config.freq != ANY_FREQ


# --- stopped writes ----------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_model_whole(tmp_path):
    old = tiny_model(0)
    old.save_pretrained(tmp_path)
    state = tiny_model(1).state_dict()
    # A kind of number that safetensors does not know: it is refused after the temporary file was made.
    broken = {**state, "again": torch.quantize_per_tensor(state[HEAD], 0.1, 0, torch.quint8)}
    with pytest.raises(KeyError, match="quint8"):
        save_checkpoint(tmp_path, FORMAT, VERSION, asdict(old.config), broken)
    torch.testing.assert_close(answer(TSDiff.from_pretrained(tmp_path)), answer(old), rtol=0, atol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, WEIGHTS]


def save_for_ever(folder):
    models = [tiny_model(seed) for seed in (0, 1)]
    (folder / "ready").touch()
    for model in itertools.cycle(models):
        model.save_pretrained(folder)


def test_a_process_killed_while_saving_leaves_one_model_or_the_other(tmp_path):
    tiny_model(0).save_pretrained(tmp_path)
    answers = [answer(tiny_model(seed)) for seed in (0, 1)]
    saver = forked(save_for_ever, tmp_path)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    saver.kill()
    saver.join()
    found = answer(TSDiff.from_pretrained(tmp_path))
    assert any(torch.equal(found, known) for known in answers)


# --- what it gives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["velocity", "noise", "data", "edm"])
def test_noise_and_data_predictions_are_two_views_of_one(output):
    model = tiny_model(output=output)
    x, step = torch.randn(3, 24, 1), torch.tensor([0, 50, 99])
    features = calendar()
    with torch.no_grad():
        noise = model.predict_noise(x, step, features)
        t = model.sde.time_of_step(step)
        point = PathPoint.at(model.sde, t)
        alpha, sigma = point.alpha[:, None, None], point.sigma[:, None, None]
        data = model(x, t.float(), features=features)
    assert noise.shape == x.shape
    torch.testing.assert_close((alpha * data + sigma * noise).float(), x, rtol=1e-4, atol=1e-4)


def test_noise_by_step_needs_a_table():
    with pytest.raises(ConfigError, match="VPSDE has no table of steps"):
        tiny_model(sde=VPSDE()).predict_noise(torch.zeros(1, 24, 1), torch.zeros(1).long())


def test_samples_repeat_and_do_not_depend_on_how_many_are_drawn():
    model = tiny_model()
    five, two = model.sample(5, seed=7, steps=4), model.sample(2, seed=7, steps=4)
    assert five.shape == (5, 24, 1)
    torch.testing.assert_close(model.sample(5, seed=7, steps=4), five, rtol=0, atol=0)
    torch.testing.assert_close(five[:2], two, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(model.sample(2, seed=8, steps=4), two)


def test_scales_multiply_and_must_be_one_a_window():
    model = tiny_model()
    torch.testing.assert_close(
        model.sample(2, steps=2, scales=[2, 10]), model.sample(2, steps=2) * torch.tensor([2.0, 10.0])[:, None, None]
    )
    with pytest.raises(ConfigError, match="3 scales for 2 windows"):
        model.sample(2, scales=[1, 2, 3])
    with pytest.raises(ConfigError, match="n=0"):
        model.sample(0)


def test_frequencies_are_kept_in_their_usual_spelling():
    for freq in ("H", "60min", "3600s"):
        assert TSDiffConfig(freq=freq, prediction_length=8, context_length=16, backbone=S4DConfig(patch=4)).freq == "h"


@pytest.mark.parametrize("bad", [{"prediction_length": 0}, {"context_length": -1}, {"context_length": 15}])
def test_configurations_that_cannot_be_are_refused(bad):
    settings = {"freq": "h", "prediction_length": 8, "context_length": 16, "backbone": S4DConfig(patch=4), **bad}
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TSDiffConfig(**settings)


def test_a_process_that_never_gets_as_clean_as_the_last_call_ends_at_its_cleanest():
    """The log-SNR of fOUVE is 3 at t = 0, where sampling of series asks for its last call."""
    sde = FOUVESDE()
    times = call_times(sde, 6, 3.0)
    assert times.diff().max() < 0
    assert times[-1] == 0
    assert float(sde.log_snr(times[-2])) == pytest.approx(3.0, abs=0.01)
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": torch.arange(40.0).numpy() % 8}
    config = TSDiffConfig("h", 8, context_length=16, backbone=S4DConfig(patch=4), sde=sde)
    (forecast,) = TSDiffPredictor(TSDiff(config)).predict([entry], num_samples=2)
    assert forecast.samples.shape == (2, 8)


@pytest.mark.parametrize("sde", ["sbve", "vp_bridge"])
def test_a_bridge_which_series_have_no_anchor_for_is_refused_before_training(sde):
    with pytest.raises(ConfigError, match=r"sde.* a bridge starts from an anchor, which series have none of; take vp"):
        TSDiffConfig("h", 8, context_length=16, backbone=S4DConfig(patch=4), sde=sde)
