"""A constant on a recording: where it is one, and where it is not."""

import numpy as np
import pytest

from speech.audio.offset import Offset


def heard(waveform: np.ndarray, block: int = 1000) -> np.ndarray:
    offset = Offset(16000, len(waveform))
    for start in range(0, waveform.shape[1], block):
        offset.push(waveform[:, start : start + block])
    return offset.values[:, 0]


@pytest.fixture
def noise() -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((2, 48000)).astype(np.float32)


def test_each_channel_has_its_own(noise: np.ndarray) -> None:
    constants = np.array([0.05, -0.02], np.float32)
    assert heard(noise + constants[:, None]) == pytest.approx(constants, abs=1e-3)


def test_the_blocks_do_not_matter(noise: np.ndarray) -> None:
    assert np.array_equal(heard(noise + 0.1, 777), heard(noise + 0.1, 48000))


def test_what_has_none_is_left_alone(noise: np.ndarray) -> None:
    rumble = np.sin(2 * np.pi * 0.3 * np.arange(48000) / 16000).astype(np.float32)
    late = noise.copy()
    late[:, 24000:] += 0.3
    for waveform in (noise, noise + rumble, late, noise[:, :4000] + 0.1, noise[:, :0], 0 * noise):
        assert not heard(waveform).any()
