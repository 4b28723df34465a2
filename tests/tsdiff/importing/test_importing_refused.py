"""Published checkpoints that are damaged, do not fit, or would run code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.errors import CheckpointError, ConfigError
from tests.tsdiff.importing.test_importing import CONFIG, KERNEL
from tests.tsdiff.published import published_state
from tsdiff import import_checkpoint


class Runs:
    """A pickle that would run code."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def test_code_in_a_file_does_not_run(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    target = tmp_path / "ran"
    state = {**published_state(), "extra": Runs(target)}
    with pytest.raises(CheckpointError, match="not read"):
        import_checkpoint(saved(state), CONFIG)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Runs(target), protocol=2))
    with pytest.raises(CheckpointError):
        import_checkpoint(tmp_path / "plain.pkl", CONFIG)
    assert not target.exists()


def test_damaged_files_are_refused(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    content = saved(published_state()).read_bytes()
    for name, data in {"half": content[: len(content) // 2], "empty": b"", "text": b"freq: H"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=name):
            import_checkpoint(tmp_path / name, CONFIG)
    with pytest.raises(CheckpointError, match="no file"):
        import_checkpoint(tmp_path / "absent", CONFIG)
    for other in ([1, 2], {"state_dict": 3}, {"a": 1}):
        with pytest.raises(CheckpointError):
            import_checkpoint(saved(other), CONFIG)


def test_keys_that_do_not_fit_are_named(saved: Callable[[Any], Path]) -> None:
    def changed(name: str, value: Tensor | None) -> Path:
        state = published_state()
        if value is None:
            del state[name]
        else:
            state[name] = value
        return saved(state)

    cases = {
        "backbone.residual_blocks.1.norm_extra": (torch.zeros(2), "unknown key 'residual_blocks.1.norm_extra'"),
        "backbone.residual_blocks.1.time_linear.bias": (None, "missing key 'residual_blocks.1.time_linear.bias'"),
        "backbone.input_init.0.weight": (None, "missing key 'input_init.0.weight'"),
        f"{KERNEL}.C": (torch.zeros(3), "dimensions"),
        f"{KERNEL}.P": (torch.zeros(2, 8, 4, 2), "shape"),
        f"{KERNEL}.w_imag": (torch.full((8, 4), torch.nan), "not finite"),
        f"{KERNEL}.inv_w_real": (torch.ones(8, 4, dtype=torch.int32), "torch.int32, and weights are real numbers"),
    }
    for name, (value, message) in cases.items():
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(changed(name, value), CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_lags": True}, "use_lags"),
        ({"normalization": "zscore"}, "normalization='zscore' cannot be used"),
        ({"normalization": "none"}, "holds the buffers of 'mean'"),
        ({"init_skip": "no"}, "init_skip"),
        ({"context_length": 0}, "context_length"),
        ({"context_lenght": 18}, "context_lenght"),
        ({"diffusion_scheduler": "sigmoid"}, "diffusion_scheduler"),
    ],
)
def test_settings_that_cannot_be_used(saved: Callable[[Any], Path], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        import_checkpoint(saved(published_state()), {**CONFIG, **change})


def test_a_broken_yaml_is_refused(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("freq: [H")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        import_checkpoint(saved(published_state()), tmp_path / "bad.yaml")
