"""A speech model's score on recordings: of every network, of the bundled one, and by the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from shared.diagnostics import DiagnosisSettings
from shared.errors import ConfigError, DataError
from shared.sde import OUVESDE, SBVESDE
from speech.audio.files import Audio
from speech.audio.writing import write_audio
from speech.commands import application
from speech.commands.diagnose import clean_recording, main
from speech.commands.options import Diagnose
from speech.inference.advice import SettingWarning
from speech.inference.diagnosis import Recording, diagnose_model
from speech.model.backbones import LightConfig, NCSNppConfig
from speech.model.config import Parameterisation, SpeechConfig
from speech.model.frontend import FrontEndConfig
from speech.model.model import SpeechModel
from tests.shared.flow_maps.directions import awaken
from tests.speech.models import SMALL, noise, tiny_model

BRIEF = DiagnosisSettings(noise=(2.0, 1.0), probes=2, steps=(1, 2), fine=4)
NETWORKS: dict[str, Any] = {
    "light": LightConfig(**SMALL),
    "ncsnpp": NCSNppConfig(nf=4, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(16,), image_size=32),
}


def pairs(count: int = 2, samples: int = 4000) -> list[Recording]:
    clean = [np.sin(np.arange(samples) * (0.05 + 0.02 * i)).astype(np.float32) / 3 for i in range(count)]
    return [Recording(one + noise(samples, seed=i), one) for i, one in enumerate(clean)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "sde"),
    [("light", OUVESDE()), ("light", SBVESDE()), ("ncsnpp", OUVESDE())],
    ids=str,
)
def test_every_network_is_measured(network: str, sde: Any) -> None:
    torch.manual_seed(0)
    config = SpeechConfig(
        NETWORKS[network], FrontEndConfig(n_fft=62, hop_length=16), sde, Parameterisation(output="data")
    )
    model = SpeechModel(config)
    awaken(model)
    found = diagnose_model(model, pairs(1), replace(BRIEF, noise=(1.0,)), seconds=0.03)
    assert found.dimensions % 64 == 0  # 32 frequencies, real and imaginary
    for level in found.levels:
        values = (level.asymmetry, level.data_asymmetry, level.loop, level.fokker_planck, level.flipd)
        assert all(map(math.isfinite, values))
        assert 1e-15 < level.asymmetry <= 1
    assert [one.nfe for one in found.sampling] == [1, 2]


def test_without_clean_recordings_the_models_own_results_serve() -> None:
    model = tiny_model()
    noisy = [Recording(pair.noisy) for pair in pairs()]
    found = diagnose_model(model, noisy, BRIEF, seconds=0.1)
    assert found.levels
    assert all(math.isfinite(level.flipd) for level in found.levels)


def test_no_more_is_measured_than_the_shortest_recording_lasts() -> None:
    model, (short, _) = tiny_model(), pairs(samples=1600)
    (whole, _), (part, _) = pairs(samples=4000), pairs(samples=1600)
    with pytest.warns(SettingWarning, match=r"the shortest recording lasts 0\.1 s, which is looked at in place of 5 s"):
        found = diagnose_model(model, [short, whole], BRIEF, seconds=5.0)
    assert repr(found) == repr(diagnose_model(model, [part, whole], BRIEF, seconds=0.1))  # no number is none, too


def test_recordings_that_tell_nothing_are_refused() -> None:
    model = tiny_model()
    with pytest.raises(DataError, match="no recordings"):
        diagnose_model(model, [], BRIEF)
    with pytest.raises(DataError, match="silent"):
        diagnose_model(model, [Recording(np.zeros(8000, np.float32))], BRIEF)
    with pytest.raises(DataError, match=r"a\.wav is silent in its middle"):
        diagnose_model(model, [Recording(np.zeros(8000, np.float32), name="a.wav")], BRIEF)
    with pytest.raises(DataError, match="cut them alike"):
        diagnose_model(model, [Recording(noise(8000), noise(3000))], BRIEF)


def test_clean_recordings_are_found_whatever_their_suffix(tmp_path: Path) -> None:
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    for folder, name in ((noisy, "a/0.wav"), (clean, "a/0.flac"), (clean, "a/1.wav"), (clean, "a/1.flac")):
        write_audio(folder / name, Audio(0.1 * noise(800)[None], 16000))
    found = clean_recording(noisy / "a/0.wav", noisy, clean, 16000)
    assert found is not None
    np.testing.assert_allclose(found, 0.1 * noise(800), atol=2**-15)
    with pytest.raises(DataError, match=r"2 clean recordings of .*1\.wav; leave --clean out"):
        clean_recording(noisy / "a/1.wav", noisy, clean, 16000)


def test_one_clean_recording_is_not_that_of_several_noisy_ones(tmp_path: Path) -> None:
    for name in ("noisy/0.wav", "noisy/1.wav", "clean/0.wav"):
        write_audio(tmp_path / name, Audio(0.1 * noise(800)[None], 16000))
    options = Diagnose(noisy=tmp_path / "noisy", clean=tmp_path / "clean/0.wav", output=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"0\.wav is one recording, and 2 of .*noisy are looked at; name the folder"):
        main(options)


def test_a_recording_that_is_not_there_is_named_as_such(tmp_path: Path) -> None:
    missing = tmp_path / "none.wav"
    with pytest.raises(DataError, match=r"none\.wav: no such file or folder; name a noisy recording, or a folder"):
        main(Diagnose(noisy=missing, output=tmp_path / "out"))


@pytest.mark.slow
def test_the_command_on_the_bundled_model(tmp_path: Path) -> None:
    for place, pair in enumerate(pairs(samples=8000)):
        for name, wave in (("clean", pair.clean), ("noisy", pair.noisy)):
            write_audio(tmp_path / name / f"{place}.wav", Audio(wave[None], 16000))
    common = ["diagnose", str(tmp_path / "noisy"), "--output", str(tmp_path / "out"), "--length", "0.1"]
    quick = ["--noise", "2", "--probes", "2", "--fine", "10", "--measure", "asymmetry", "--measure", "flipd"]
    ran = CliRunner().invoke(application(), [*common, "--clean", str(tmp_path / "clean"), *quick])
    assert ran.exit_code == 0, ran.output
    assert "FLIPD" in ran.output
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["items"] == 2
    assert 0 < written["levels"][0]["asymmetry"] < 0.5
    (tmp_path / "clean/1.wav").unlink()
    with pytest.raises(DataError, match="leave --clean out"):
        CliRunner().invoke(application(), [*common, "--clean", str(tmp_path / "clean"), *quick], catch_exceptions=False)


def test_recordings_that_are_not_finite_are_named(tmp_path: Path) -> None:
    wave = noise(800)[None]
    wave[0, 400] = np.nan
    write_audio(tmp_path / "hurt.wav", Audio(wave, 16000, subtype="FLOAT"))
    with pytest.raises(DataError, match=r"hurt\.wav holds NaN"):
        clean_recording(tmp_path / "a.wav", tmp_path / "a.wav", tmp_path / "hurt.wav", 16000)
