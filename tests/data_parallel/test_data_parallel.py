"""Training on two processes that talk by gloo: other batches on each, the same weights, as one on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load_file

from shared.training.batches import Batch
from shared.training.module import LAST_STATE, fit
from tests.data_parallel import two_processes
from tests.data_parallel.two_processes import Replayed, line
from tests.isolated import forked

Found = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `two_processes.py` left."""
    folder, port = tmp_path_factory.mktemp("two"), find_free_network_port()
    processes = [forked(two_processes.main, folder, rank, port) for rank in range(2)]
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[Found]:
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_each_process_draws_batches_and_noise_of_its_own(ranks: list[Found]) -> None:
    one, other = (found["line"] for found in ranks)
    assert len(one["batches"]) == len(other["batches"]) == two_processes.CONFIG.max_steps
    for mine, theirs in zip(one["batches"] + one["draws"], other["batches"] + other["draws"], strict=True):
        assert not torch.equal(mine[0], theirs[0])


@pytest.mark.parametrize("trained", ["line", "forecaster"])
def test_both_processes_end_with_the_same_weights(ranks: list[Found], trained: str) -> None:
    one, other = (found[trained]["weights"] for found in ranks)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_two_processes_train_as_one_on_their_batches_together(ranks: list[Found]) -> None:
    """The mean of the gradients of two batches of a size is the gradient of both as one."""
    one, other = (found["line"] for found in ranks)
    joined = [
        Batch(torch.cat([x, u]), torch.cat([y, v]))
        for (x, y), (u, v) in zip(one["batches"], other["batches"], strict=True)
    ]
    alone = line()
    fit(alone, Replayed(joined), progress=False)
    for kind, module in (("weights", alone.denoiser), ("averaged", alone.ema_denoiser)):
        for name, value in module.state_dict().items():
            torch.testing.assert_close(value, one[kind][name], msg=f"{kind} {name}", rtol=1e-5, atol=1e-6)


def test_the_forecaster_has_the_averaged_weights_of_the_saved_state(folder: Path, ranks: list[Found]) -> None:
    saved = torch.load(folder / "forecaster" / LAST_STATE, weights_only=True)["state_dict"]
    for name, value in ranks[0]["forecaster"]["weights"].items():
        torch.testing.assert_close(value, saved[f"averaged.module.{name}"], rtol=0, atol=0)


def test_the_enhancer_is_measured_and_saved_by_the_first_process(folder: Path, ranks: list[Found]) -> None:
    first, second = (found["enhancer"] for found in ranks)
    assert [row["step"] for row in first["checks"]] == [4]
    assert second["checks"] == []
    saved = load_file(folder / "enhancer" / "last" / "model.safetensors")
    for name, value in saved.items():
        assert torch.equal(value, second["weights"][name]), name
        assert torch.equal(value, first["weights"][name]), name
