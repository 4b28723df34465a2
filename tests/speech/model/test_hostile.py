"""Models, recordings and names that ask for more than they are: one short line, before memory is taken."""

from __future__ import annotations

import io
import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import typer
from safetensors.torch import load_file, save_file

from recipes.speech_pairs.common import read_part
from shared.console.command import run_app
from shared.errors import CheckpointError, ConfigError, DataError
from shared.files.io import write_csv, write_json, write_text
from speech.audio.files import Audio, RawFormat, read_audio
from speech.audio.writing import write_audio
from speech.data.clips import read_clips, read_mono
from speech.data.pairs import PairSource, find_pairs
from speech.data.rooms import RoomConfig, simulated_responses
from speech.enhancer import Enhancer
from speech.importing import import_checkpoint
from speech.model.backbones import LightConfig, NCSNppConfig
from speech.model.config import SamplingConfig, SpeechConfig
from speech.model.frontend import FRONT_ENDS, FrontEndConfig
from speech.model.model import SpeechModel
from tests.isolated import outcome_of
from tests.speech.conftest import TINY_FRONT_END, TINY_LIGHT
from tests.speech.models import tiny_enhancer
from tests.speech.published import COMMON, OUVE, SMALL, random_weights, save_published, small_layout

NAME = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
"""A file name as Linux may hold it, in Latin-1."""


def hostile(folder: Path, path: str, value: Any) -> Path:
    """A small model whose configuration says something else at "section.name"."""
    SpeechModel(SpeechConfig(TINY_LIGHT, TINY_FRONT_END)).save_pretrained(folder)
    values = json.loads((folder / "config.json").read_text())
    *sections, name = path.split(".")
    inner = values
    for section in sections:
        inner = inner[section]
    inner[name] = value
    state = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", {"config": json.dumps(values)})
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("backbone.width", 10**6),
        ("backbone.patch", 10**9),
        ("backbone", {"kind": "ncsnpp", "num_res_blocks": 10**5}),
        ("backbone", {"kind": "dcunet", "embed_dim": 10**9}),
        ("frontend.n_fft", 2**22),
        ("frontend.hop_length", 0),
        ("sampling.steps", 1e30),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("backbone.mixing_width", 10**6),
                ("backbone.blocks", 10**6),
                ("backbone.dilations", [10**9]),
                ("backbone.embedding", 2**40),
                ("backbone", {"kind": "ncsnpp", "ch_mult": [1] * 10**5}),
                ("backbone", {"kind": "ncsnpp", "nf": 4096}),
                ("backbone", {"kind": "dcunet", "temb_layers_global": 10**6}),
                ("frontend.sample_rate", 10**9),
                ("sampling.steps", 10**7),
                ("sampling.sampler", {"kind": "pc", "corrector_steps": 10**9}),
                ("sde", {"name": "discrete_vp", "betas": [0.1] * 200_000}),
            )
        ),
    ],
)
def test_a_configuration_that_asks_for_too_much(tmp_path: Path, path: str, value: Any) -> None:
    result = outcome_of(SpeechModel.from_pretrained, hostile(tmp_path, path, value))
    assert result.kind == "refused", result
    assert "CheckpointError" in result.what
    assert result.cpu < 5
    assert result.megabytes < 400


def test_settings_that_no_shape_tells_have_ranges() -> None:
    for changes in ({"n_fft": 2**17}, {"sample_rate": 10**6}, {"n_fft": 4096, "hop_length": 8}, {"hop_length": 300}):
        with pytest.raises(ConfigError, match="need"):
            replace(FRONT_ENDS["16k"], **changes)
    FrontEndConfig(sample_rate=768_000, n_fft=2**16, hop_length=2**10)
    for changes in ({"steps": 10_001}, {"corrector_steps": 101}, {"corrector_steps": -1}):
        with pytest.raises(ConfigError, match="need a whole number from"):
            SamplingConfig(**changes)
    for changes in ({"patch": 1025}, {"dilations": (1, 1025)}):
        with pytest.raises(ConfigError, match="1024"):
            LightConfig(**changes)
    for changes in ({"ch_mult": (1,) * 11}, {"fir_kernel": (1.0,) * 33}, {"fir_kernel": (1.0, float("inf"))}):
        with pytest.raises(ConfigError, match="need "):
            NCSNppConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nf": 4096}, "larger model than its"),
        ({"num_res_blocks": 10**5}, "larger model than its"),
        ({"ch_mult": [1] * 10**5}, "at most 10"),
        ({"ch_mult": [10**12]}, "larger model than its"),
        ({"n_fft": 2**22}, "n_fft=4194304"),
        ({"sr": 10**9}, "sample_rate=1000000000"),
        ({"N": 10**7}, "steps=10000000"),
        ({"N": 1e308}, "steps=1"),
        ({"nf": torch.ones(3)}, "weights and hyper-parameters differ"),
        ({"backbone": torch.ones(3)}, "lacks the hyper-parameters backbone"),
        ({"backbone": "x" * 100_000}, "is not known here"),
    ],
)
def test_hyper_parameters_that_ask_for_too_much(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    state = random_weights(small_layout(), 0)
    settings = {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp", **changes}
    path = save_published(tmp_path / "x.ckpt", state, list(state.values()), settings)
    result = outcome_of(import_checkpoint, path)
    assert result.kind == "refused", result
    assert why in result.what
    assert len(result.what) < 2100
    assert result.cpu < 10
    assert result.megabytes < 400


def test_weights_without_memory(tmp_path: Path) -> None:
    """A file of kilobytes in which every tensor is one number, repeated, fits any hyper-parameters."""
    state = {name: torch.zeros(1).expand(shape) for name, shape in small_layout().items()}
    path = tmp_path / "x.ckpt"
    settings = {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp"}
    torch.save({"state_dict": {f"dnn.{n}": v for n, v in state.items()}, "hyper_parameters": settings}, path)
    with pytest.raises(CheckpointError, match="would take"):
        import_checkpoint(path)
    assert path.stat().st_size < 100_000


# --- recordings ----------------------------------------------------------------------------------------------


def lying(folder: Path, kind: str) -> Path:
    """A second of noise in a file whose header states days."""
    rng = np.random.default_rng(0)
    path = folder / ("x.flac" if kind == "flac" else "x.wav")
    soundfile.write(path, 0.1 * rng.standard_normal(16000), 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    if kind == "flac":
        facts = int.from_bytes(content[18:26], "big") >> 36 << 36
        content[18:26] = (facts | 2**36 - 1).to_bytes(8, "big")
    elif kind == "wav":
        content[40:44] = struct.pack("<I", 0xFFFFFFF0)
    else:
        content[24:28] = struct.pack("<I", 1 if kind == "slow" else 2**31 - 1)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_a_length_that_is_not_there_takes_no_memory(tmp_path: Path, kind: str) -> None:
    path = lying(tmp_path, kind)
    result = outcome_of(read_mono, path, 16000, megabytes=512)
    if kind == "flac":
        assert result.kind == "refused", result
        assert "damaged" in result.what
    else:
        assert result.kind == "done", result
        assert len(read_mono(path, 16000)) == 16000


@pytest.mark.parametrize("kind", ["slow", "fast"])
def test_a_rate_that_no_recording_has(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="states a rate of"):
        read_mono(lying(tmp_path, kind), 16000)


def test_a_long_file_is_read_whole(tmp_path: Path) -> None:
    """In more than one piece."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (70_000, 64)).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", samples, 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_mono(tmp_path / "x.wav", 16000), samples.mean(axis=1), atol=1e-6)


def test_what_is_kept_is_made_again_where_it_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    wanted = read_clips(tmp_path / "in", 16000, cache=tmp_path / "kept")[0]
    store = next((tmp_path / "kept").glob("*.npy"))
    whole, about = store.read_bytes(), store.with_suffix(".json").read_bytes()
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + b"{'descr': '<i2', 'fortran_order': False, "
    lie = (header + b"'shape': (10000000000000,)}").ljust(127) + b"\n"
    for damaged, text in ((whole[:50], about), (lie, about), (b"", about), (whole, b"[" * 100_000), (whole, b"\xff")):
        store.write_bytes(damaged)
        store.with_suffix(".json").write_bytes(text)
        again = read_clips(tmp_path / "in", 16000, cache=tmp_path / "kept")[0]
        assert np.array_equal(again.samples, wanted.samples)
    config = RoomConfig(image_order=1)
    room = simulated_responses(1, 0, config, tmp_path / "rooms")[0]
    kept = next((tmp_path / "rooms").glob("*.npz"))
    content = bytearray(kept.read_bytes())
    for damaged in (content[:100], content[:-30], b"", content[:60] + b"\xff" * 40 + content[100:]):
        kept.write_bytes(damaged)
        assert np.array_equal(simulated_responses(1, 0, config, tmp_path / "rooms")[0].samples, room.samples)


# --- names ---------------------------------------------------------------------------------------------------


def test_a_name_that_is_no_text_in_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "x.md", f"| {NAME} |\n")
    write_json(tmp_path / "x.json", {"file": NAME})
    write_csv(tmp_path / "x.csv", pd.DataFrame({"file": [NAME], "score": [1.0]}))
    assert (tmp_path / "x.md").read_text(encoding="utf-8") == "| caf\\udce9.wav |\n"
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["file"] == NAME
    assert pd.read_csv(tmp_path / "x.csv")["file"][0] == "caf\\udce9.wav"
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def command() -> None:
        print(NAME)
        raise DataError(f"{NAME}: no such file")

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 1
    written = b""
    for stream in streams.values():
        stream.flush()
        written += stream.buffer.getvalue()  # type: ignore[attr-defined]
    assert written.count(b"caf\\udce9.wav") == 2
    assert b"Traceback" not in written


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names of files are text there")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".aiff", ".raw"])
def test_sound_of_a_name_that_is_no_text_is_read_enhanced_and_written(suffix: str, tmp_path: Path) -> None:
    """As it is of another name: soundfile itself encodes names strictly."""
    enhancer = tiny_enhancer(steps=2)
    name, folder, raw = Path(NAME).with_suffix(suffix), tmp_path / Path(NAME).stem, RawFormat(16000)
    waveform = 0.1 * np.random.default_rng(0).standard_normal((1, 3000)).astype(np.float32)
    kind = {"format": "RAW", "subtype": "FLOAT"} if suffix == ".raw" else {"metadata": {"title": "hall"}}
    for path in (folder / name, tmp_path / f"plain{suffix}"):
        write_audio(path, Audio(waveform, 16000, **kind))
    report = enhancer.enhance_dir(folder, tmp_path / "out", raw=raw, progress=False)
    assert ([file.name for file in report.files], report.failed) == ([str(name)], {})
    enhancer.enhance_file(tmp_path / f"plain{suffix}", tmp_path / f"other{suffix}", name=str(name), raw=raw)
    made, expected = (read_audio(path, raw) for path in (tmp_path / "out" / name, tmp_path / f"other{suffix}"))
    assert (made.info, made.waveform.shape) == (expected.info, waveform.shape)
    assert np.array_equal(made.waveform, expected.waveform)
    if suffix != ".raw":
        assert made.metadata["title"] == "hall"
        assert read_mono(folder / name, 16000).shape == (3000,)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names of files are text there")
def test_pairs_and_parts_of_a_name_that_is_no_text(tmp_path: Path) -> None:
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 4000)).astype(np.float32)
    for kind in ("clean", "noisy"):
        write_audio(tmp_path / "train" / kind / NAME, Audio(waveform, 16000))
    (pair,) = find_pairs(tmp_path, "train")
    batch = PairSource(tmp_path, seconds=0.1, batch_size=2).batch(np.random.default_rng(1))
    assert batch.y is not None
    assert torch.equal(batch.x0, batch.y)
    assert batch.x0.abs().amax() > 0.4
    assert read_part(pair.clean, 16000, 100, 50) == pytest.approx(waveform[0, 100:150], abs=1e-4)


def test_names_that_no_file_system_takes(tmp_path: Path) -> None:
    model = SpeechModel(SpeechConfig(TINY_LIGHT, TINY_FRONT_END, sampling=SamplingConfig("pc", 1)))
    enhancer = Enhancer(model)
    long = tmp_path / ("x" * 5000 + ".wav")
    for call in (
        lambda: SpeechModel.from_pretrained(long.name),
        lambda: import_checkpoint(long),
        lambda: enhancer.enhance_dir(long, tmp_path),
        lambda: enhancer.enhance_file(long, tmp_path),
        lambda: read_clips(long, 16000),
    ):
        with pytest.raises((CheckpointError, DataError)) as caught:
            call()
        assert len(str(caught.value)) <= 2000
