"""Training on two processes that talk by gloo: other batches on each, the same weights, as one on all of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from safetensors.torch import load_file

from shared.console.notes import Note
from shared.training.batches import Batch
from shared.training.module import LAST_STATE, fit
from tests.data_parallel import two_processes
from tests.data_parallel.two_processes import Replayed, line, trained_line
from tests.isolated import forked

Found = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `two_processes.py` left."""
    folder, port = tmp_path_factory.mktemp("two"), find_free_network_port()
    trained_line(folder / "one", 2, accumulate=4)
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


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """One process that takes four batches a step."""
    return trained_line(accumulate=4)


def assert_close(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for kind in ("weights", "averaged"):
        for name, value in found[kind].items():
            torch.testing.assert_close(value, wanted[kind][name], msg=f"{kind} {name}", rtol=1e-5, atol=1e-6)


def test_each_process_takes_its_share_of_the_batches_of_a_step(ranks: list[Found], alone: dict[str, Any]) -> None:
    one, other = (found["shared"] for found in ranks)
    for step in range(two_processes.CONFIG.max_steps):
        for seen in ("batches", "draws"):
            whole = alone[seen][4 * step : 4 * step + 4]
            shares = one[seen][2 * step : 2 * step + 2] + other[seen][2 * step : 2 * step + 2]
            for mine, theirs in zip(whole, shares, strict=True):
                assert torch.equal(mine[0], theirs[0])
    assert one["losses"] == other["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert_close(one, alone)


def test_two_processes_with_a_batch_each_train_as_one_that_takes_two(ranks: list[Found]) -> None:
    one = ranks[0]["line"]
    alone = trained_line(accumulate=2)
    assert one["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert_close(one, alone)


def test_what_one_process_began_two_end(ranks: list[Found], alone: dict[str, Any]) -> None:
    assert len(ranks[0]["resumed"]["batches"]) == 2 * 3
    assert_close(ranks[0]["resumed"], alone)
    assert ranks[0]["resumed"]["losses"] == pytest.approx(alone["losses"], rel=1e-5)


def test_what_two_processes_began_one_ends(folder: Path, tmp_path: Path, alone: dict[str, Any]) -> None:
    shutil.copy(folder / "two" / LAST_STATE, tmp_path)
    resumed = trained_line(tmp_path, accumulate=4)
    assert len(resumed["batches"]) == 4 * 2
    assert_close(resumed, alone)
    assert resumed["losses"] == pytest.approx(alone["losses"], rel=1e-5)


def test_another_number_of_batches_a_step_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "two" / LAST_STATE, tmp_path)
    with pytest.warns(Note, match=r"with 1 batches a step, where it had 4; training\.accumulate=4"):
        resumed = trained_line(tmp_path)
    assert len(resumed["batches"]) == 2


def test_a_state_that_only_some_processes_see_is_refused(ranks: list[Found]) -> None:
    for found in ranks:
        assert "only some of the processes see the training state" in found["refused"]


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
