"""Files on two workers of Ray, one of which is killed in the middle: the bits of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speech import scale
from speech.audio.files import Audio
from speech.audio.writing import write_audio
from tests.shared.scale.works import kill_one_worker
from tests.speech.models import noise, tiny_model

pytestmark = pytest.mark.slow


def test_a_killed_worker_changes_no_bit(tmp_path: Path):
    pytest.importorskip("ray")
    tiny_model(steps=4).save_pretrained(tmp_path / "model")
    for place in range(12):
        write_audio(tmp_path / "noisy" / f"{place:02d}.wav", Audio(noise(1, 60_000, seed=place), 16000))
    (tmp_path / "noisy" / "text.wav").write_text("not audio")
    options: dict[str, Any] = {"model": tmp_path / "model", "progress": False}
    out = tmp_path / "out"
    thread = kill_one_worker(lambda: len(list(out.glob("*.wav"))) >= 2)
    report = scale.enhance_dir(tmp_path / "noisy", out, workers=2, **options)
    thread.join()
    assert len(report.files) + len(report.skipped) == 12
    assert list(report.failed) == ["text.wav"]
    scale.enhance_dir(tmp_path / "noisy", tmp_path / "here", engine="local", **options)
    made = {path.name: path.read_bytes() for path in out.glob("*.wav")}
    assert made == {path.name: path.read_bytes() for path in (tmp_path / "here").glob("*.wav")}
