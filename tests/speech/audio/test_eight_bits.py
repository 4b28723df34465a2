"""speech/audio/writing.py: samples of 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from tests.speech.audio.test_audio import sound


@pytest.mark.parametrize(
    ("name", "format", "subtype"),
    [
        ("a.wav", "WAV", "PCM_U8"),
        ("a.w64", "W64", "PCM_U8"),
        ("a.voc", "VOC", "PCM_U8"),
        ("a.aiff", "AIFF", "PCM_U8"),
        ("a.aiff", "AIFF", "PCM_S8"),
        ("a.caf", "CAF", "PCM_S8"),
        ("a.au", "AU", "PCM_S8"),
        ("a.flac", "FLAC", "PCM_S8"),
    ],
)
def test_samples_of_8_bits_are_rounded(tmp_path: Path, name: str, format: str, subtype: str) -> None:
    """They were cut off down to whole steps: what is nearly silent swung by one, beside a constant of half of one."""
    steps = np.array([[-128, -127, -1, 0, 1, 126, 127]], np.float32)
    between = np.concatenate([steps, steps[:, 1:-1] + 0.49, steps[:, 1:-1] - 0.49, [[900, -900]]], axis=1) / 128
    write_audio(tmp_path / name, Audio(between.astype(np.float32), 16000, format, subtype))
    read = read_audio(tmp_path / name).waveform * 128
    assert np.array_equal(read[0], np.concatenate([steps[0], steps[0, 1:-1], steps[0, 1:-1], [127, -128]]))
    write_audio(tmp_path / name, Audio(0.003 * sound(1, 9000), 16000, format, subtype))
    assert not read_audio(tmp_path / name).waveform.any()
