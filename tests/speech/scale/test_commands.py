"""`speech enhance|evaluate --engine`: the results of the calls, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from shared.errors import ConfigError
from speech import scale
from speech.audio.files import Audio
from speech.audio.writing import write_audio
from speech.commands import enhance, evaluate
from speech.commands.options import Enhance, Evaluate
from tests.speech.models import noise


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    for place in range(3):
        write_audio(tmp_path / "noisy" / f"{place}.wav", Audio(noise(1, 4000, seed=place), 16000))
    return tmp_path / "noisy"


def test_enhance_leaves_what_the_call_does(noisy: Path, model: Path, tmp_path: Path):
    asked: dict[str, Any] = {"source": noisy, "model": str(model), "device": "cpu", "engine": "local", "seed": 2}
    options = Enhance(**asked, target=tmp_path / "out", output=tmp_path / "report", mix=0.8)
    enhance.main(options)
    scale.enhance_dir(
        noisy, tmp_path / "call", model=model, enhancer={"seed": 2, "mix": 0.8}, engine="local", progress=False
    )
    for path in noisy.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == (tmp_path / "call" / path.name).read_bytes()
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert (metrics["files"], metrics["failed"], metrics["nfe"]) == (3, [], 2)
    (noisy / "3.wav").write_text("not audio")
    with pytest.raises(typer.Exit):
        enhance.main(options)
    assert [one["file"] for one in json.loads((tmp_path / "report" / "metrics.json").read_text())["failed"]] == [
        "3.wav"
    ]


def test_evaluate_enhances_and_scores(noisy: Path, model: Path, tmp_path: Path):
    clean = tmp_path / "clean"
    for place in range(3):
        write_audio(clean / f"{place}.wav", Audio(noise(1, 4000, seed=10 + place), 16000))
    asked: dict[str, Any] = {"noisy": noisy, "model": str(model), "device": "cpu", "metrics": ["si_sdr"]}
    found = []
    for name, more in (("plain", {"workers": 1}), ("scaled", {"engine": "local"})):
        evaluate.main(Evaluate(clean=clean, output=tmp_path / name, **asked, **more))
        found.append(json.loads((tmp_path / name / "metrics.json").read_text())["enhanced"])
    assert found[0]["si_sdr"] == pytest.approx(found[1]["si_sdr"], abs=1e-3)


def test_what_does_not_fit_is_refused(noisy: Path, model: Path, tmp_path: Path):
    asked: dict[str, Any] = {"model": str(model), "target": tmp_path / "out.wav"}
    with pytest.raises(ConfigError, match="--engine takes a folder"):
        enhance.main(Enhance(source=noisy / "0.wav", engine="local", **asked))
    with pytest.raises(ConfigError, match="--address is of --engine ray"):
        enhance.main(Enhance(source=noisy, address="auto", model=str(model), target=tmp_path / "out"))
    with pytest.raises(ConfigError, match="--address is of --engine ray"):
        evaluate.main(Evaluate(clean=noisy, enhanced=noisy, address="auto", output=tmp_path / "scores"))
