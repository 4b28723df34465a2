"""Checkpoints in the published layout: weights, their average, settings, and what is refused."""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import speech
from shared.errors import CheckpointError, ConfigError, DiffusionError
from shared.sde import OUVESDE, SBVESDE
from speech.importing import import_checkpoint
from speech.importing.names import published_weights
from speech.importing.settings import published_config
from speech.inference.sampling import sample_spectrogram
from speech.model.backbones import DCUNetConfig
from speech.model.backbones.dcunet import DCUNet
from speech.model.backbones.ncsnpp import PUBLISHED, NCSNppConfig
from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.model.corrector import PublishedPC
from speech.model.model import SpeechModel
from tests.golden.recipe import RecipeNoise
from tests.golden.sgmse_cases import CHECKPOINT_CASES, key, spectrograms
from tests.golden.store import Golden
from tests.speech.published import COMMON, OUVE, SBVE, SMALL, random_weights, rebuilt, save_published, small_layout

NCSNPP = {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small ncsnpp whose average differs from its weights."""
    state, average = random_weights(small_layout(), 0), random_weights(small_layout(), 1)
    return save_published(tmp_path / "epoch=3.ckpt", state, list(average.values()), NCSNPP)


def inputs(bins: int = 32, frames: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(2, 1, bins, frames, dtype=torch.complex64, generator=generator) for _ in range(2))
    return x, y, torch.tensor([0.1, 0.8])


def assert_weights(model: SpeechModel, wanted: dict[str, Tensor]) -> None:
    """Each tensor has the published one's values; matrices of attention lie the other way round."""
    own = model.backbone.state_dict()
    weights = published_weights(model.backbone)  # type: ignore[arg-type]
    assert len(weights) == len(wanted) == len(own)
    for weight in weights:
        value = wanted[weight.published]
        lies_across = ".NIN_" in weight.published and weight.published.endswith(".W")
        assert torch.equal(own[weight.name], value.T if lies_across else value), weight


def test_the_average_is_taken_in_the_order_of_the_parameters(checkpoint: Path) -> None:
    model = import_checkpoint(checkpoint)
    assert not model.training
    assert_weights(model, random_weights(small_layout(), 1))
    backbone = model.config.backbone
    assert backbone == replace(PUBLISHED["ncsnpp"], nf=16, ch_mult=(1, 2), num_res_blocks=1, image_size=32)
    assert model.config.parameterisation == Parameterisation(output="score", sign=-1)
    assert model.config.sampling == SamplingConfig("pc", 30)
    assert model.sde == OUVESDE()


def test_without_an_average_the_weights_are_taken_with_a_warning(tmp_path: Path) -> None:
    state = random_weights(small_layout(), 0)
    path = save_published(tmp_path / "raw.ckpt", state, None, NCSNPP)
    with pytest.warns(UserWarning, match="no moving average"):
        model = import_checkpoint(path)
    assert_weights(model, state)


def test_an_average_without_the_frozen_parameters(tmp_path: Path) -> None:
    """As torch_ema kept it before 0.3."""
    state, average = random_weights(small_layout(), 0), random_weights(small_layout(), 1)
    trained = [value for name, value in average.items() if name != "all_modules.0.W"]
    model = import_checkpoint(save_published(tmp_path / "old.ckpt", state, trained, NCSNPP))
    assert_weights(model, {**average, "all_modules.0.W": state["all_modules.0.W"]})


@pytest.mark.parametrize("wrapped", ["module.dnn.", "dnn.module.", "dnn._orig_mod.", "_orig_mod.dnn."])
def test_names_of_wrapped_networks(tmp_path: Path, wrapped: str) -> None:
    """As DataParallel and torch.compile change them."""
    state, average = random_weights(small_layout(), 0), random_weights(small_layout(), 1)
    path = save_published(tmp_path / "wrapped.ckpt", state, list(average.values()), NCSNPP, wrapped)
    assert_weights(import_checkpoint(path), average)


def test_the_toolkits_own_format_holds_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = speech.import_checkpoint(checkpoint)
    model.save_pretrained(tmp_path / "model")
    again = SpeechModel.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    own, wanted = again.state_dict(), model.state_dict()
    assert own.keys() == wanted.keys()
    assert all(torch.equal(own[name], value) for name, value in wanted.items())
    x, y, t = inputs()
    with torch.no_grad():
        assert torch.equal(again(x, y, t), model(x, y, t))


def test_the_average_of_batch_norm_takes_its_statistics_from_the_state(tmp_path: Path) -> None:
    layout = _dcunet_layout()
    state = random_weights(layout, 0)
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif "running_var" in name:
            state[name] = state[name].abs() + 0.1
    average = [v for n, v in random_weights(layout, 1).items() if "running" not in n and "tracked" not in n]
    settings = {**COMMON, **OUVE, "backbone": "dcunet", "dcunet_architecture": "DCUNet-10"}
    settings |= {"dcunet_temb_layers_global": 1, "dcunet_mask_bound": "none", "dcunet_fix_length": "pad"}
    model = import_checkpoint(save_published(tmp_path / "dcunet.ckpt", state, average, settings))
    norm = model.backbone.get_submodule("down.2.norm.imaginary")
    assert torch.equal(norm.running_var, state["encoders.2.norm.im_module.running_var"])  # type: ignore[arg-type]
    assert torch.equal(norm.weight, random_weights(layout, 1)["encoders.2.norm.im_module.weight"])  # type: ignore[arg-type]
    assert int(norm.num_batches_tracked) == 7  # type: ignore[arg-type]


def _dcunet_layout() -> dict[str, tuple[int, ...]]:
    network = DCUNet(DCUNetConfig(architecture="DCUNet-10"))
    own = network.state_dict()
    return {weight.published: weight.shape(own[weight.name]) for weight in published_weights(network)}


def test_what_a_file_names_none_is_none() -> None:
    read = json.loads('{"dcunet_time_embedding": "none", "dcunet_fix_length": "none"}')
    backbone = published_config({**COMMON, **OUVE, "backbone": "dcunet", **read}, "file").backbone
    assert isinstance(backbone, DCUNetConfig)
    assert (backbone.time_embedding, backbone.fix_length) == (None, None)


def test_settings_of_the_bridge(tmp_path: Path) -> None:
    given = {**COMMON, **SMALL, **SBVE, "backbone": "ncsnpp_v2", "loss_type": "data_prediction", "N": 40}
    config = published_config(given, "file")
    assert config.parameterisation == Parameterisation(output="data")
    assert config.sampling == SamplingConfig("sb_ode", 40, frame_padding="reflect")
    assert SpeechModel(config).sde == SBVESDE(k=2.6, c=0.4)
    assert config.backbone == replace(PUBLISHED["ncsnpp_v2"], nf=16, ch_mult=(1, 2), num_res_blocks=1, image_size=32)
    sde = published_config({**given, "sampler_type": "sde"}, "file").sampling
    assert sde.sampler == "sb_sde"


def test_settings_of_48_kilohertz() -> None:
    given = {**COMMON, **OUVE, "backbone": "ncsnpp_48k", "n_fft": 1534, "hop_length": 384, "spec_factor": 0.065}
    given |= {"spec_abs_exponent": 0.667, "theta": 2.0, "sigma_min": 0.1, "sigma_max": 1.0, "t_eps": 0.02}
    given |= {"nf": 128, "ch_mult": [1, 1, 2, 2, 2, 2, 2], "attn_resolutions": [], "progressive": "none"}
    config = published_config(given, "file")
    assert config.frontend == speech.model.frontend.FRONT_ENDS["48k"]
    assert config.backbone == PUBLISHED["ncsnpp_48k"]
    assert config.sde == OUVESDE(theta=2.0, sigma_min=0.1, sigma_max=1.0)
    assert (config.sampling.t_end, config.sampling.frame_padding) == (0.02, "reflect")


@pytest.mark.parametrize(
    ("c_in", "c_out", "c_skip"), [("edm", "1", "0"), ("1", "sigma", "0"), ("1", "1/sigma", "edm"), ("edm", "edm", "0")]
)
def test_each_scale_is_its_own(c_in: Any, c_out: Any, c_skip: Any) -> None:
    given = {**COMMON, **OUVE, "backbone": "ncsnpp_v2", "c_in": c_in, "c_out": c_out, "c_skip": c_skip}
    assert published_config(given, "file").parameterisation == Parameterisation("score", c_in, c_out, c_skip)


def test_settings_of_preconditioning() -> None:
    given = {**COMMON, **OUVE, "backbone": "ncsnpp_v2", "loss_type": "denoiser", "network_scaling": "1/t"}
    given |= {"c_in": "edm", "c_out": "edm", "c_skip": "edm", "sigma_data": 0.2, "sampler_type": "ode"}
    config = published_config(given, "file")
    assert config.parameterisation == Parameterisation("denoiser", "edm", "edm", "edm", "1/t", 1, 0.2)
    assert config.sampling.sampler == "ode"


def test_a_checkpoint_may_ask_for_the_probability_flow() -> None:
    given = {**COMMON, **OUVE, "backbone": "ncsnpp", "probability_flow": True}
    assert published_config(given, "file").sampling == SamplingConfig(PublishedPC(probability_flow=True), 30)
    assert published_config({**given, "sampler_type": "ode"}, "file").sampling.sampler == "ode"
    with pytest.raises(ConfigError, match="probability_flow='yes'"):
        published_config({**given, "probability_flow": "yes"}, "file")


def test_what_is_not_given_is_as_the_published_code_has_it() -> None:
    bare = {"sde": "ouve", "theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5}
    config = published_config({**bare, "backbone": "ncsnpp"}, "file")
    assert config == SpeechConfig(NCSNppConfig())
    unet = published_config({**bare, "backbone": "dcunet"}, "file").backbone
    assert unet == DCUNetConfig(temb_layers_global=2, activation="relu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": None}, "lacks the hyper-parameters backbone"),
        ({"sde": None, "backbone": None}, "lacks the hyper-parameters backbone, sde"),
        ({"theta": None, "sigma_max": None}, "lacks the hyper-parameters theta, sigma_max"),
        ({"sde": "sbve"}, "lacks the hyper-parameters k, c"),
        ({"backbone": "gagnet"}, "backbone='gagnet' is not known here"),
        ({"sde": "bbed"}, "sde='bbed' is not known here"),
        ({"n_fft": "big"}, "n_fft='big' is no number"),
        ({"hop_length": 12.5}, "hop_length=12.5 is no whole number"),
        ({"ch_mult": "wide"}, "ch_mult"),
        ({"embedding_type": "positional"}, "embedding_type='positional'"),
        ({"nf": 32}, "weights and hyper-parameters differ"),
        ({"num_res_blocks": 2}, "missing key"),
        ({"progressive": "none"}, "weights and hyper-parameters differ"),
    ],
)
def test_settings_that_are_missing_or_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    settings = {name: value for name, value in {**NCSNPP, **changes}.items() if value is not None}
    path = save_published(tmp_path / "odd.ckpt", random_weights(small_layout(), 0), None, settings)
    with pytest.raises(DiffusionError, match=message):
        import_checkpoint(path)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    state, average = random_weights(small_layout(), 0), list(random_weights(small_layout(), 1).values())
    cases: list[tuple[dict[str, Tensor], list[Tensor], str]] = [
        ({k: v for k, v in state.items() if k != "all_modules.3.bias"}, average, "missing key 'all_modules.3.bias'"),
        ({**state, "extra": torch.zeros(1)}, average, "unexpected key 'extra'"),
        (state, average[:-2], "moving average has"),
        (state, [average[1], average[0], *average[2:]], "the average of 'output_layer.weight' has shape"),
        (state, [torch.full_like(average[0], torch.nan), *average[1:]], "'output_layer.weight' is not finite"),
        (state, [average[0].int(), *average[1:]], "'output_layer.weight' is torch.int32, and weights are real numbers"),
    ]
    for i, (weights, averages, message) in enumerate(cases):
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(save_published(tmp_path / f"{i}.ckpt", weights, averages, NCSNPP))


class Hostile:
    """Pickled, it asks for a call."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def make_file(path: str) -> None:
    """What a hostile file would like to do."""
    Path(path).touch()


@pytest.mark.parametrize("function", [os.system, eval, exec, make_file, Path, print, getattr])
def test_a_pickle_that_calls_is_refused_and_runs_nothing(tmp_path: Path, function: Any) -> None:
    mark = tmp_path / "mark"
    argument = str(mark) if function is make_file else f"open({str(mark)!r}, 'w')"
    if function is os.system:
        argument = f"touch {mark}"
    hostile = Hostile(function, argument, *(["real"] if function is getattr else []))
    state = {f"dnn.{name}": value for name, value in random_weights(small_layout(), 0).items()}
    for i, content in enumerate(
        (
            hostile,
            {"state_dict": state, "hyper_parameters": {**NCSNPP, "data_module_cls": hostile}},
            {"state_dict": {**state, "dnn.x": hostile}, "hyper_parameters": NCSNPP},
            {"state_dict": state, "hyper_parameters": NCSNPP, "ema": {"shadow_params": [hostile]}},
        )
    ):
        path = tmp_path / f"{i}.ckpt"
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="is not read"):
            import_checkpoint(path)
    assert not mark.exists()


def test_files_that_are_no_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    whole = checkpoint.read_bytes()
    files = {"empty": b"", "text": b"not a checkpoint\n" * 20, "half": whole[: len(whole) // 2], "tail": whole[1000:]}
    files["head"] = whole[:40]
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            import_checkpoint(path)
    save_file({"weight": torch.zeros(3)}, tmp_path / "weights.ckpt")
    with pytest.raises(CheckpointError, match=r"weights\.ckpt is a safetensors file.* folder"):
        import_checkpoint(tmp_path / "weights.ckpt")
    with pytest.raises(CheckpointError, match="there is no file"):
        import_checkpoint(tmp_path / "absent.ckpt")
    with pytest.raises(CheckpointError):
        import_checkpoint(tmp_path)
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(CheckpointError, match="archive"):
        import_checkpoint(tmp_path / "archive")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state_dict"),
        ({"state_dict": {}, "hyper_parameters": NCSNPP}, "no tensors named dnn"),
        ({"state_dict": {"dnn.x": 3}, "hyper_parameters": NCSNPP}, "no tensors named dnn"),
        ({"state_dict": {"denoiser.x": torch.zeros(1)}}, "is the state from which a training .* give the folder model"),
        ({"state_dict": {"dnn.x": torch.zeros(1)}}, "has no hyper_parameters"),
        ({"state_dict": {"dnn.x": torch.zeros(1)}, "hyper_parameters": {}, "ema": {"shadow_params": 3}}, "no list"),
    ],
)
def test_checkpoints_of_something_else(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.slow
def test_damage_anywhere_is_an_error_or_harmless(checkpoint: Path, tmp_path: Path) -> None:
    """Whatever byte of the pickle is changed, nothing but this toolkit's errors comes out."""
    whole = checkpoint.read_bytes()
    start = whole.index(b"\x80\x02}")
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "damaged.ckpt"
    expected = import_checkpoint(checkpoint)
    refused = []
    for _ in range(25):
        damaged = bytearray(whole)
        place = start + int(torch.randint(0, 6000, (), generator=generator))
        damaged[place] ^= 1 + int(torch.randint(0, 255, (), generator=generator))
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read = import_checkpoint(path)
            except (CheckpointError, ConfigError) as error:
                refused.append(error)
                continue
        for name, weights in read.state_dict().items():
            assert weights.shape == expected.state_dict()[name].shape, name
    assert 10 <= len(refused) < 25
    assert all("damaged.ckpt" in str(error) or isinstance(error, ConfigError) for error in refused)


@pytest.mark.parametrize(
    ("backbone", "process"),
    [
        # Fifty calls: one network tells that the bridge is read and sampled.
        pytest.param(*case, marks=pytest.mark.slow if case[1] == "sbve" and case[0] != "ncsnpp" else ())
        for case in CHECKPOINT_CASES
    ],
)
def test_what_the_published_code_saves_gives_its_outputs_and_its_samples(
    tmp_path: Path, golden: Golden, backbone: str, process: str
) -> None:
    name = key("checkpoint", backbone, process)
    ours = import_checkpoint(rebuilt(tmp_path / "last.ckpt", golden, name))
    x, y, t = spectrograms(33 if backbone == "dcunet" else 32, 16)
    with torch.no_grad():
        golden.assert_close(ours(x, y, t), key(name, "output"), 1e-5)
        found = sample_spectrogram(ours, y, generator=[RecipeNoise(0), RecipeNoise(1)])
    # Out of a bridge's end the published sampler multiplies rounding by weights of order 1/√ϵ (`PublishedBridgeStart`),
    # so that processors of other makes differ by up to 5e-4.
    golden.assert_close(found.x, key(name, "sample"), 2e-3 if process == "sbve" else 2e-5)
    assert found.nfe == (8 if process == "ouve" else 50)
