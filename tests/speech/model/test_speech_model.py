"""A model's outputs: against the published ones, against each other, and through files."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import speech
from shared.errors import CheckpointError, ConfigError, DataError
from shared.files.settings import dataclass_from
from shared.sde import OUVESDE, SBVESDE, SDE
from shared.sde.base import expand
from speech.inference.sampling import sample_spectrogram
from speech.model.backbones import DCUNetConfig, NCSNppConfig
from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.model.frontend import FRONT_ENDS, FrontEndConfig
from speech.model.model import SpeechModel
from tests.golden.sgmse_cases import SCALE_CASES, SCALES, fill_linear, key, spectrograms
from tests.golden.store import Golden
from tests.speech.conftest import TINY_FRONT_END, TINY_LIGHT, LinearModel

SHAPE = (2, 1, TINY_FRONT_END.frequencies, 8)
SMALL_NCSNPP = NCSNppConfig(nf=16, ch_mult=(1, 2, 2), num_res_blocks=1, image_size=32)


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x_t, y = (0.4 * torch.randn(SHAPE, dtype=torch.complex64, generator=generator) for _ in range(2))
    return x_t, y, torch.tensor([0.9, 0.2])


@pytest.mark.parametrize(("process", "scales"), SCALE_CASES)
def test_the_output_is_the_published_one(linear_model: LinearModel, golden: Golden, process: str, scales: str) -> None:
    """The published forward pass and its scales are functions of settings, process and network alone."""
    model = linear_model(OUVESDE() if process == "ouve" else SBVESDE(), SCALES[scales])
    fill_linear(model.backbone)
    found = model(*spectrograms(TINY_FRONT_END.frequencies, 8))
    golden.assert_close(found, key("output", process, scales), 2e-6)


@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("sde", [OUVESDE(), SBVESDE()], ids=["ouve", "sbve"])
def test_the_output_by_its_formula(
    linear_model: LinearModel, inputs: tuple[Tensor, Tensor, Tensor], scales: Parameterisation, sde: SDE
) -> None:
    """Karras et al. 2022, Table 1, as Richter et al. 2025 name its scales; each of them matters."""
    model, (x_t, y, t) = linear_model(sde, scales), inputs
    found = model(x_t, y, t)
    for i, time in enumerate(t.tolist()):
        sigma, data = float(sde.sigma(time)), scales.sigma_data
        total = math.hypot(sigma, data)
        c_in = 1 / total if scales.c_in == "edm" else 1.0
        c_out = {"1": 1.0, "sigma": sigma, "1/sigma": 1 / sigma, "1/sigma^2": sigma**-2, "edm": sigma * data / total}
        c_skip = {"0": 0.0, "-1/sigma^2": -(sigma**-2), "edm": (data / total) ** 2}[scales.c_skip]
        raw = model.backbone(c_in * x_t[i : i + 1], c_in * y[i : i + 1], t[i : i + 1])[0]
        raw = raw / {None: 1.0, "1/sigma": sigma, "1/t": time}[scales.network_scaling]
        wanted = c_skip * x_t[i] + c_out[scales.c_out] * raw
        torch.testing.assert_close(found[i], wanted, rtol=1e-4, atol=1e-5)


def test_the_sign_is_that_of_the_first_published_models(
    linear_model: LinearModel, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    model = linear_model(OUVESDE(), Parameterisation("score", sign=-1))
    torch.testing.assert_close(model(*inputs), -model.backbone(*inputs))


@pytest.mark.parametrize("output", ["score", "denoiser", "data"])
@pytest.mark.parametrize("sde", [OUVESDE(), SBVESDE()], ids=["ouve", "sbve"])
def test_the_data_prediction_of_a_perfect_network(linear_model: LinearModel, output: Any, sde: SDE) -> None:
    """A network that knows x_0 gives x_0, whatever it is asked for."""
    generator = torch.Generator().manual_seed(0)
    x0, y, noise = (torch.randn(SHAPE, dtype=torch.complex128, generator=generator) for _ in range(3))
    t = torch.tensor([0.7, 0.1], dtype=torch.float64)
    x_t = sde.perturb(x0, t, noise, y)
    mean, std = sde.marginal_prob(x0, t, y)
    answers = {"score": -noise / expand(std, noise), "denoiser": mean, "data": x0}
    model = linear_model(sde, Parameterisation(output))
    model.backbone.forward = lambda *_: answers[output]  # type: ignore[assignment]
    torch.testing.assert_close(model.denoise(x_t, y, t), x0)
    if output != "data":
        torch.testing.assert_close(model(x_t, y, t), answers["score"])


def test_the_end_of_a_bridge(linear_model: LinearModel, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x_t, y, _ = inputs
    t = torch.ones(2)
    assert bool(torch.isfinite(linear_model(SBVESDE(), Parameterisation("data")).denoise(x_t, y, t).abs()).all())
    with pytest.raises(ConfigError, match="end of a bridge"):
        linear_model(SBVESDE(), Parameterisation("score")).denoise(x_t, y, t)


@pytest.mark.parametrize("frames", [4, 16, 20, 64])
def test_the_network_takes_the_frames_that_it_is_given(frames: int) -> None:
    """Not those of `frame_multiple`, to which recordings are continued: zeros after the end would change the result."""
    model = SpeechModel(SpeechConfig(SMALL_NCSNPP, TINY_FRONT_END)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        generator = torch.Generator().manual_seed(2)
        x_t, y = torch.randn(2, 1, 1, 32, frames, dtype=torch.complex64, generator=generator)
        t = torch.tensor([0.4])
        found, continued = model(x_t, y, t), model(model.pad_frames(x_t), model.pad_frames(y), t)
        assert torch.equal(found, -model.backbone(x_t, y, t))
    assert continued.shape[-1] == 64
    assert torch.equal(continued[..., :frames], found) == (frames == 64)


def test_frames_that_cannot_be_halved_are_refused() -> None:
    model = SpeechModel(SpeechConfig(SMALL_NCSNPP, TINY_FRONT_END))
    for frames in (0, 1, 18):
        x = torch.zeros(1, 1, 32, frames, dtype=torch.complex64)
        for call in (model, model.denoise):
            with pytest.raises(DataError, match=rf"{frames} frames .*pad_frames.*multiple of 4"):
                call(x, x, torch.ones(1))
        with pytest.raises(DataError, match="pad_frames"):
            sample_spectrogram(model, x)


@pytest.mark.parametrize("mode", ["zero", "reflect"])
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8, 9])
def test_frames_are_continued_to_the_next_multiple(linear_model: LinearModel, mode: Any, frames: int) -> None:
    y = torch.randn(2, 1, 3, frames, dtype=torch.complex64)
    continued = linear_model(OUVESDE()).pad_frames(y, mode)
    more = -frames % 4
    assert continued.shape[-1] == frames + more
    assert torch.equal(continued[..., :frames], y)
    mirrored = mode == "reflect" and more < frames
    wanted = y[..., frames - 1 - more : frames - 1].flip(-1) if mirrored else torch.zeros(2, 1, 3, more)
    assert torch.equal(continued[..., frames:], wanted.to(y.dtype))


CONFIGS = [
    SpeechConfig(),
    SpeechConfig(DCUNetConfig(), FRONT_ENDS["48k"], parameterisation=SCALES["score, all"]),
    SpeechConfig(
        NCSNppConfig(divide_by_time=None),
        sde=SBVESDE(),
        sampling=SamplingConfig("sb_sde", 50, network_time="next", frame_padding="reflect"),
    ),
    SpeechConfig(TINY_LIGHT, TINY_FRONT_END),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["ncsnpp", "dcunet", "v2", "light"])
def test_settings_survive_json(config: SpeechConfig) -> None:
    assert dataclass_from(SpeechConfig, json.loads(json.dumps(asdict(config))), "here") == config


def test_half_the_bits_keep_what_they_cannot_hold(tmp_path: Path) -> None:
    model = SpeechModel(CONFIGS[3])
    first, second = list(model.parameters())[:2]
    with torch.no_grad():
        first.view(-1)[0] = 1e6
        second.view(-1)[0] = 1e-6
    model.save_pretrained(tmp_path, half=True)
    again = SpeechModel.from_pretrained(tmp_path)
    assert torch.equal(next(again.parameters()), first)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert ((one - other).abs() <= (5e-4 * one.abs()).clamp_min(3e-8)).all()


def test_a_saved_model_gives_the_same(tmp_path: Path, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    model = SpeechModel(CONFIGS[3]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "m")
    again = SpeechModel.from_pretrained(tmp_path / "m")
    assert again.config == model.config
    assert torch.equal(again(*inputs), model(*inputs))
    assert "frontend.window" not in model.state_dict()
    assert json.loads((tmp_path / "m" / "config.json").read_text())["format"] == "speech"


def test_a_copy_is_whole(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """Averaged weights are a copy: its denoiser must be of its own network, and weights are named once."""
    model = SpeechModel(CONFIGS[3]).eval()
    copy = deepcopy(model)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(0.1)
    assert copy.denoiser.network is copy.backbone
    assert copy.backbone is not model.backbone
    assert not torch.equal(copy(*inputs), model(*inputs))
    assert all(name.startswith("backbone.") for name in model.state_dict())


@dataclass(frozen=True)
class DampedConfig:
    """Settings of a network of a user's own."""

    gain: float = 0.5
    kind: str = "damped"

    def build(self, frontend: FrontEndConfig, sde: SDE) -> nn.Module:
        return Damped(self.gain, frontend.frequencies)


class Damped(nn.Module):
    def __init__(self, gain: float, frequencies: int):
        super().__init__()
        self.gain = nn.Parameter(torch.full((frequencies, 1), gain))

    def forward(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        return self.gain * y


def test_a_network_of_ones_own_is_saved_and_loaded(tmp_path: Path, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    model = SpeechModel(SpeechConfig(DampedConfig(0.25), TINY_FRONT_END, parameterisation=Parameterisation("data")))
    assert model.frame_multiple == 1
    assert torch.equal(model(*inputs), 0.25 * inputs[1])
    model.save_pretrained(tmp_path)
    again = SpeechModel.from_pretrained(tmp_path, custom=[DampedConfig])
    assert again.config == model.config
    assert torch.equal(again(*inputs), model(*inputs))
    with pytest.raises(
        CheckpointError, match="kind='damped': choose one of ncsnpp, dcunet, light; a class of your own"
    ):
        SpeechModel.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="backbone: kind='unet': choose one of"):
        SpeechConfig("unet")


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a folder"):
        SpeechModel.from_pretrained("no-such-model")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        SpeechModel.from_pretrained(tmp_path)
    SpeechModel(CONFIGS[3]).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        SpeechModel.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="c_out='2'"):
        Parameterisation(c_out="2")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sde: kind='brownian'"):
        SpeechConfig(sde="brownian")


def test_public_names_are_there() -> None:
    assert speech.SpeechModel is SpeechModel
    assert set(speech.__all__) <= set(dir(speech))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = speech.Enhance  # type: ignore[attr-defined]
