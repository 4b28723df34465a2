"""speech/model/export.py and speech/inference/onnx_network.py: ONNX Runtime gives PyTorch's numbers."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import CheckpointError, ConfigError
from speech.enhancer import Enhancer
from speech.inference.onnx_network import OnnxNetwork, streaming_network
from speech.model.backbones import LightConfig
from speech.model.backbones.light_frames import LightFrames
from speech.model.config import SpeechConfig
from speech.model.export import EXPORTED, export_of, export_onnx
from speech.model.model import BUNDLED, SpeechModel
from tests.speech.models import decibels, noise, tiny_enhancer

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def causal() -> SpeechModel:
    return SpeechModel.from_pretrained("causal")


def spectrogram(model: SpeechModel, frames: int, batch: int = 1) -> torch.Tensor:
    """Of noise, with the level rising and falling."""
    hop = model.config.frontend.hop_length
    swell = 0.1 * np.abs(np.sin(np.arange((frames - 1) * hop) / 4000)).astype(np.float32)
    return model.frontend(torch.from_numpy(noise(batch, (frames - 1) * hop) * swell))


def test_the_bundled_export_gives_pytorchs_numbers_over_hundreds_of_frames(causal: SpeechModel) -> None:
    """One frame at a time, its past going in and coming out, beside the whole at once."""
    network = OnnxNetwork(BUNDLED / "causal" / EXPORTED, causal)
    y, t = spectrogram(causal, 400), torch.tensor([1.0])
    with torch.no_grad():
        whole = causal.backbone(y, y, t)
    state, found = network.initial_state(1), []
    for frame in y.split(1, dim=-1):
        estimate, state = network.step(frame, frame, t, state)
        found.append(estimate)
    joined = torch.cat(found, dim=-1)
    assert joined.shape == whole.shape
    torch.testing.assert_close(joined, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sound", ["tone", "noise"])
def test_after_digital_silence_too_both_runtimes_agree(sound: str) -> None:
    """The exporter took what the network adds under its roots, 1e-8, for 0: after silence a tone was at -56 dB."""
    times = np.arange(12000, dtype=np.float32) / 16000
    loud = 0.3 * np.sin(2 * np.pi * 440 * times) if sound == "tone" else 0.1 * noise(1, 12000)[0]
    signal = np.concatenate([loud, np.zeros(8000), loud]).astype(np.float32)
    joined = {}
    for runtime in ("torch", "onnx"):
        stream = Enhancer.from_pretrained("causal").stream(16000, runtime=runtime)  # type: ignore[arg-type]
        joined[runtime] = np.concatenate([stream.push(signal), stream.flush()])
    assert decibels(joined["onnx"] - joined["torch"], joined["torch"]) < -95


def test_any_batch_and_number_of_frames_go_in(causal: SpeechModel) -> None:
    network = OnnxNetwork(BUNDLED / "causal" / EXPORTED, causal)
    assert network.only_time == 1
    y, t = spectrogram(causal, 30, batch=3), torch.ones(3)
    past, other = causal.backbone.initial_state(3), network.initial_state(3)
    for piece in y.split(11, dim=-1):
        with torch.no_grad():
            wanted, past = causal.backbone.step(piece, piece, t, past)
        found, other = network.step(piece, piece, t, other)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    again = [seen.again() for seen in other]  # what the next frame is to see: twice a layer's reach ago, and once
    for place, one in enumerate(past):  # (batch, bands, frames, channels)
        for which, frame in (("far", 0), ("near", one.shape[2] // 2)):
            found = np.stack([each[f"{which}.{place}"] for each in again])
            np.testing.assert_allclose(found, one[:, :, frame].numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("time", [1.0, 0.25])
def test_a_frame_alone_gives_what_the_whole_gives_at_any_time(time: float) -> None:
    """Of a network whose every weight counts, in float64."""
    torch.manual_seed(0)
    config = SpeechConfig(backbone=LightConfig(width=6, edge_width=4, blocks=3, embedding=4, mixed=2, causal=True))
    network = SpeechModel(config).backbone.double().eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    noisy = torch.randn(1, network.frequencies, 40, 2, dtype=torch.float64)
    past = tuple(layer.double() for layer in network.initial_state(1))
    with torch.no_grad():
        whole, _ = network.estimate_pairs(noisy, noisy, torch.tensor([time], dtype=torch.float64), past)
    alone = LightFrames(network, time).double().eval()
    kept = [[silence] * (2 * reach) for silence, reach in zip(alone.silence(), alone.reaches, strict=True)]
    for place in range(40):
        with torch.no_grad():
            estimate, *now = alone(
                noisy[0, :, place],
                [frames[-2 * reach] for frames, reach in zip(kept, alone.reaches, strict=True)],
                [frames[-reach] for frames, reach in zip(kept, alone.reaches, strict=True)],
            )
        torch.testing.assert_close(estimate, whole[0, :, place], rtol=1e-9, atol=1e-12)
        for frames, seen in zip(kept, now, strict=True):
            frames.append(seen)


def test_a_network_that_looks_ahead_or_maps_has_no_frames_alone() -> None:
    for settings, said in (({"causal": False}, "looks ahead"), ({"causal": True, "span": True}, "flow map")):
        config = SpeechConfig(backbone=LightConfig(width=4, blocks=1, embedding=4, **settings))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=said):
            LightFrames(SpeechModel(config).backbone, 1.0)


@pytest.mark.parametrize("rate", [16000, 44100, 8000])
def test_streams_by_either_runtime_and_the_whole_agree(rate: int) -> None:
    enhancer = Enhancer(SpeechModel.from_pretrained("causal"), upper_band="follow")
    signal = 0.1 * noise(1, rate // 2)
    joined = {}
    for runtime in ("torch", "onnx", "auto"):
        stream = enhancer.stream(rate, runtime=runtime)
        assert stream.runtime == ("torch" if runtime == "torch" else "onnx")
        parts = [stream.push(block) for block in np.array_split(signal, 10, axis=1)]
        joined[runtime] = np.concatenate([*parts, stream.flush()], axis=1)
        assert stream.nfe == 1
    assert decibels(joined["onnx"] - joined["torch"], joined["torch"]) < -90
    np.testing.assert_array_equal(joined["auto"], joined["onnx"])
    if rate == 16000:
        whole = enhancer.enhance(signal, rate)
        assert decibels(joined["torch"] - whole, whole) < -90
        assert decibels(joined["onnx"] - whole, whole) < -90


@pytest.mark.slow
def test_a_causal_model_is_exported_and_its_stream_runs(tmp_path: Path) -> None:
    """With a sampler of several calls, so that state and time go in."""
    pytest.importorskip("onnxscript")
    enhancer = tiny_enhancer(causal=True, sampler="sb_ode")
    enhancer.model.save_pretrained(tmp_path)
    assert enhancer.export_onnx(tmp_path / "network") == tmp_path / EXPORTED
    metadata = onnxruntime.InferenceSession(tmp_path / EXPORTED).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["config"])["frontend"]["n_fft"] == enhancer.model.config.frontend.n_fft
    assert "time" not in metadata
    signal, again = noise(2, 2000), Enhancer.from_pretrained(tmp_path, device="cpu")
    stream = again.stream(16000, channels=2)
    assert stream.runtime == "onnx"
    joined = np.concatenate([*(stream.push(block) for block in np.split(signal, 8, axis=1)), stream.flush()], axis=1)
    whole = again.enhance(signal, 16000, peak=1.0)
    assert stream.nfe == again.nfe == 3
    assert decibels(joined - whole, whole) < -80


@pytest.mark.slow
@pytest.mark.parametrize("time", [None, 1.0])
def test_the_default_network_is_exported(tmp_path: Path, time: float | None) -> None:
    pytest.importorskip("onnxscript")
    model = SpeechModel.from_pretrained("default")
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "net.onnx", time))
    y = spectrogram(model, 70, batch=2)
    x = y if time else y + 0.05 * torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(0))
    t = torch.ones(2) if time else torch.tensor([0.9, 0.3])
    given = {"noisy": y, **({} if time else {"state": x})}
    pairs = {name: torch.view_as_real(each[:, 0]).numpy() for name, each in given.items()}
    (found,) = session.run(["estimate"], pairs if time else {**pairs, "time": t.numpy()})
    with torch.no_grad():
        wanted = model.backbone(x, y, t)
    np.testing.assert_allclose(found, torch.view_as_real(wanted[:, 0]).numpy(), rtol=1e-4, atol=1e-5)


def test_an_export_of_other_weights_is_not_used(tmp_path: Path, causal: SpeechModel) -> None:
    for name in ("config.json", "model.safetensors", EXPORTED):
        shutil.copy(BUNDLED / "causal" / name, tmp_path / name)
    model = SpeechModel.from_pretrained(tmp_path)
    assert isinstance(streaming_network(model, "float32", 1.0, "auto"), OnnxNetwork)
    assert streaming_network(model, "float32", 1.0, "torch") is model.backbone
    assert streaming_network(model, "float32", None, "auto") is model.backbone  # of other calls than were exported
    assert streaming_network(model, "bfloat16", 1.0, "auto") is model.backbone
    with torch.no_grad():
        model.backbone.place.add_(1e-3)
    assert streaming_network(model, "float32", 1.0, "auto") is model.backbone
    with pytest.raises(CheckpointError, match="was not exported from these weights"):
        streaming_network(model, "float32", 1.0, "onnx")
    (tmp_path / EXPORTED).write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=r"network\.onnx cannot be read"):
        streaming_network(model, "float32", 1.0, "onnx")
    (tmp_path / EXPORTED).unlink()
    assert export_of(model) is None


def test_what_cannot_be_exported_or_run_is_refused(causal: SpeechModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runtime='cuda': choose auto, torch or onnx"):
        streaming_network(causal, "float32", 1.0, "cuda")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"precision='bfloat16'.*float32"):
        streaming_network(causal, "bfloat16", 1.0, "onnx")
    pytest.importorskip("onnxscript")
    flow_map = SpeechModel(SpeechConfig(backbone=LightConfig(width=4, blocks=1, embedding=4, span=True)))
    with pytest.raises(ConfigError, match="is a flow map's"):
        export_onnx(flow_map, tmp_path / "a.onnx")


def test_a_copied_stream_goes_on_by_itself() -> None:
    signal = 0.1 * noise(1, 6000)[0]
    stream = Enhancer.from_pretrained("causal", device="cpu").stream(16000, runtime="onnx")
    stream.push(signal[:3000])
    other = copy.deepcopy(stream)
    muted = np.concatenate([other.push(0 * signal[3000:]), other.flush()])
    found = np.concatenate([stream.push(signal[3000:]), stream.flush()])
    straight = Enhancer.from_pretrained("causal", device="cpu").stream(16000, runtime="onnx")
    straight.push(signal[:3000])
    np.testing.assert_array_equal(found, np.concatenate([straight.push(signal[3000:]), straight.flush()]))
    assert np.abs(muted - found).max() > 1e-4
    with pytest.raises(ConfigError, match="runtime='torch'"):
        pickle.dumps(straight)
