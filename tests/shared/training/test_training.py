"""Training for real: exact resume, averaged weights, stops that name their cause."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import CheckpointError, ConfigError, DataError, TrainingError
from shared.objectives import DiffusionLoss
from shared.predictions import Denoiser
from shared.sde import VPSDE
from shared.training.batches import Batch
from shared.training.module import LAST_STATE, DiffusionModule, TrainingConfig, fit, seconds_of


class Net(nn.Module):
    """Small, with dropout, so that resuming must restore its randomness too."""

    def __init__(self, width: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.layers(torch.cat([x, t[:, None]], dim=1))


class Points:
    """Two clusters; from `poison` on, one item of a batch is NaN."""

    def __init__(self, poison: bool = False) -> None:
        self.poison = poison

    def batch(self, rng: np.random.Generator) -> Batch:
        x0 = rng.normal(size=(16, 2)) * 0.1 + rng.choice([-1.0, 1.0], size=(16, 1))
        if self.poison:
            x0[3] = np.nan
        return Batch(torch.from_numpy(x0.astype(np.float32)), ids=[f"point {i}" for i in range(16)])


class Endless:
    """Batches that no memory holds, of NumPy's or of torch's."""

    def __init__(self, by_torch: bool):
        self.by_torch = by_torch

    def batch(self, rng: np.random.Generator) -> Batch:
        rows = 1 << 50
        return Batch(torch.zeros(rows, 2) if self.by_torch else torch.from_numpy(np.zeros((rows, 2), np.float32)))


class StopAt(L.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("stopped")


def make_module(seed: int = 0, width: int = 32, dropout: float = 0.2, **changes: Any) -> DiffusionModule:
    torch.manual_seed(seed)
    settings = {"max_steps": 60, "save_every_seconds": 1e-3, "seed": seed, **changes}
    return DiffusionModule(Denoiser(Net(width, dropout), VPSDE(), "noise"), DiffusionLoss(), TrainingConfig(**settings))


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for (name, left), right in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(left, right), name


@pytest.fixture(scope="module")
def uninterrupted() -> DiffusionModule:
    module = make_module()
    fit(module, Points(), progress=False)
    return module


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path, uninterrupted: DiffusionModule) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        fit(make_module(), Points(), tmp_path, callbacks=[StopAt(35)], progress=False)
    saved = torch.load(tmp_path / LAST_STATE, weights_only=True)
    assert 0 < saved["global_step"] <= 35
    resumed = make_module(seed=0)
    fit(resumed, Points(), tmp_path, progress=False)
    assert_same(resumed, uninterrupted)


class Slow(L.Callback):
    """Each step takes its time."""

    def on_train_batch_start(self, *_: Any) -> None:
        time.sleep(0.01)


@pytest.mark.slow
def test_the_seconds_of_a_training_are_counted_over_its_runs(tmp_path: Path) -> None:
    assert seconds_of(tmp_path) == 0
    with pytest.raises(RuntimeError, match="stopped"):  # as a kill: nothing is written on the way out
        fit(make_module(), Points(), tmp_path, callbacks=[Slow(), StopAt(35)], progress=False)
    saved = torch.load(tmp_path / LAST_STATE, weights_only=True)["global_step"]
    first = seconds_of(tmp_path)
    assert 0.01 * saved <= first
    started = time.perf_counter()
    fit(make_module(), Points(), tmp_path, callbacks=[Slow()], progress=False)
    spent = time.perf_counter() - started
    assert first + 0.01 * (60 - saved) <= seconds_of(tmp_path) <= first + spent
    (tmp_path / LAST_STATE).write_bytes(b"damaged")
    assert seconds_of(tmp_path) == 0


class PressCtrlC(L.Callback):
    """In the middle of a step, as often as told; or another signal."""

    def __init__(self, step: int, times: int = 1, number: int = signal.SIGINT) -> None:
        self.step, self.times, self.number = step, times, number

    def on_before_optimizer_step(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            for _press in range(self.times):
                os.kill(os.getpid(), self.number)
                time.sleep(0)  # lets Python see the signal


@pytest.mark.usefixtures("hangups_are_heard")
@pytest.mark.parametrize(("name", "times"), [("SIGTERM", 1), ("SIGHUP", 2)])
def test_a_request_to_end_saves_the_step_it_came_in(
    tmp_path: Path, uninterrupted: DiffusionModule, name: str, times: int
) -> None:
    """As of a scheduler, and of a terminal that is closed, where both the kernel and the shell send it."""
    number = getattr(signal, name)
    before = signal.getsignal(number)
    never = {"save_every_seconds": 1e6}
    with pytest.raises(KeyboardInterrupt) as stopped:
        fit(make_module(**never), Points(), tmp_path, callbacks=[PressCtrlC(20, times, number)], progress=False)
    assert stopped.value.args == (number,)
    assert signal.getsignal(number) is before
    assert torch.load(tmp_path / LAST_STATE, weights_only=True)["global_step"] == 21
    resumed = make_module(**never)
    fit(resumed, Points(), tmp_path, progress=False)
    assert_same(resumed, uninterrupted)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_saves_the_step_it_came_in(tmp_path: Path, uninterrupted: DiffusionModule, times: int) -> None:
    before = signal.getsignal(signal.SIGINT)
    never = {"save_every_seconds": 1e6}
    with pytest.raises(KeyboardInterrupt):
        fit(make_module(**never), Points(), tmp_path, callbacks=[PressCtrlC(20, times)], progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / LAST_STATE).is_file() == (times == 1)  # the second does not wait for the end of the step
    if times == 1:
        assert torch.load(tmp_path / LAST_STATE, weights_only=True)["global_step"] == 21
    resumed = make_module(**never)
    fit(resumed, Points(), tmp_path, progress=False)
    assert_same(resumed, uninterrupted)


class StartsAnother(L.Callback):
    """Tries to train into the same folder at step 20."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 20:
            with pytest.raises(ConfigError, match="another process is training in"):
                fit(make_module(), Points(), self.folder, progress=False)


def test_a_second_training_in_the_folder_of_one_that_runs_is_refused(
    tmp_path: Path, uninterrupted: DiffusionModule
) -> None:
    module = make_module()
    fit(module, Points(), tmp_path, callbacks=[StartsAnother(tmp_path)], progress=False)
    assert_same(module, uninterrupted)
    fit(make_module(), Points(), tmp_path, progress=False)  # now it is free


def test_a_finished_run_is_found_finished(tmp_path: Path, uninterrupted: DiffusionModule) -> None:
    fit(make_module(save_every_seconds=1e6), Points(), tmp_path, progress=False)
    again = make_module(save_every_seconds=1e6)
    fit(again, Points(poison=True), tmp_path, progress=False)  # not one more batch is drawn
    assert_same(again, uninterrupted)


@pytest.mark.slow
def test_compiled_training_has_the_same_weights_by_the_same_names() -> None:
    module, plain = make_module(compile=True, dropout=0.0), make_module(dropout=0.0)
    for one in (module, plain):  # without dropout, which draws other numbers when compiled
        fit(one, Points(), progress=False)
    assert module.denoiser.network._compiled_call_impl is None
    own, other = module.state_dict(), plain.state_dict()
    assert own.keys() == other.keys()
    for name, value in own.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_resume_false_starts_afresh(tmp_path: Path, uninterrupted: DiffusionModule) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        fit(make_module(learning_rate=0.1), Points(), tmp_path, callbacks=[StopAt(10)], progress=False)
    module = make_module()
    fit(module, Points(), tmp_path, resume=False, progress=False)
    assert_same(module, uninterrupted)


def test_worker_processes_give_the_same_batches(uninterrupted: DiffusionModule) -> None:
    module = make_module(num_workers=2)
    fit(module, Points(), progress=False)
    assert_same(module, uninterrupted)


class Gone(Points):
    def batch(self, rng: np.random.Generator) -> Batch:
        raise DataError("a.wav: no such file")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_is_told_as_it_is(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        fit(make_module(num_workers=workers), Gone(), progress=False)
    assert str(caught.value) == "a.wav: no such file"


def test_a_source_that_cannot_be_sent_to_processes_that_start_afresh_is_refused(
    request: pytest.FixtureRequest,
) -> None:
    """As they start on macOS and Windows, and since Python 3.14 on Linux."""

    class Here(Points):
        """Known in this function alone."""

    before = multiprocessing.get_start_method()
    request.addfinalizer(lambda: multiprocessing.set_start_method(before, force=True))
    multiprocessing.set_start_method("spawn", force=True)
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ConfigError, match=r"cannot be sent to them .*Here.*num_workers=0"):
        fit(make_module(num_workers=1), Here(), progress=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == signals


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_goes_on_with_other_processes_that_prepare_batches(
    tmp_path: Path, uninterrupted: DiffusionModule, workers: int
) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        fit(make_module(num_workers=2 - workers), Points(), tmp_path, callbacks=[StopAt(35)], progress=False)
    resumed = make_module(num_workers=workers)
    fit(resumed, Points(), tmp_path, progress=False)
    assert_same(resumed, uninterrupted)


BY_THREES = {"max_steps": 12, "accumulate": 3, "save_every_seconds": 1e6}
"""Settings of steps of three batches, whose state nothing saves but its end."""


@pytest.fixture(scope="module")
def by_threes() -> DiffusionModule:
    """What was trained so without a stop."""
    module = make_module(**BY_THREES)
    fit(module, Points(), progress=False)
    return module


def test_a_run_stopped_within_a_step_begins_that_step_again(tmp_path: Path, by_threes: DiffusionModule) -> None:
    class Save(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 19:
                trainer.save_checkpoint(tmp_path / LAST_STATE)
                raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fit(make_module(**BY_THREES), Points(), tmp_path, callbacks=[Save()], progress=False)
    saved = torch.load(tmp_path / LAST_STATE, weights_only=True)
    assert saved["global_step"] == 6
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 6 * 3 + 2
    resumed = make_module(**BY_THREES, num_workers=2)
    fit(resumed, Points(), tmp_path, progress=False)
    assert_same(resumed, by_threes)


def test_ctrl_c_waits_for_the_last_batch_of_a_step(tmp_path: Path, by_threes: DiffusionModule) -> None:
    class Press(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 16:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        fit(make_module(**BY_THREES), Points(), tmp_path, callbacks=[Press()], progress=False)
    assert torch.load(tmp_path / LAST_STATE, weights_only=True)["global_step"] == 6
    resumed = make_module(**BY_THREES)
    fit(resumed, Points(), tmp_path, progress=False)
    assert_same(resumed, by_threes)


def test_batches_that_processes_cannot_share_are_refused() -> None:
    assert [TrainingConfig(accumulate=6).share(processes) for processes in (1, 2, 3)] == [6, 3, 2]
    assert TrainingConfig().share(4) == 1
    with pytest.raises(ConfigError, match=r"training\.accumulate=6: 4 processes .* a multiple of 4"):
        TrainingConfig(accumulate=6).share(4)


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    module = make_module(max_steps=2)
    torch.manual_seed(5)
    fit(module, Points(), progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_loss_falls_and_a_seed_decides() -> None:
    def loss(module: DiffusionModule) -> float:
        x0 = Points().batch(np.random.default_rng(9)).x0.repeat(20, 1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            return float(module.loss(module.ema_denoiser.eval(), x0, generator=generator).mean())

    before, after, other = make_module(), make_module(max_steps=150, learning_rate=1e-2), make_module(seed=1)
    fit(after, Points(), progress=False)
    assert loss(after) < 0.8 * loss(before)
    assert loss(other) != loss(before)


def test_a_loss_that_is_not_finite_names_step_and_items(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 0 .* 1 of 16 items: point 3\."):
        fit(make_module(), Points(poison=True), tmp_path, progress=False)


@pytest.mark.parametrize("hardware", [{"strategy": "psychic"}, {"devices": -1}])
def test_hardware_that_lightning_refuses_is_told(hardware: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"hardware: devices=.*strategy=.* take devices=1 and strategy=auto"):
        fit(make_module(), Points(), progress=False, **hardware)


class Cusp(DiffusionLoss):
    """|x|^(1/2) of nothing added at step 4: the value is finite, its gradient is not."""

    calls = 0

    def __call__(self, denoiser: Any, x0: Tensor, *args: Any, **named: Any) -> Tensor:
        losses = super().__call__(denoiser, x0, *args, **named)
        Cusp.calls += 1
        return losses if Cusp.calls < 5 else losses + (0 * losses).sqrt()


def test_a_gradient_that_is_not_finite_never_gets_into_the_weights(tmp_path: Path) -> None:
    module = make_module()
    module.loss = Cusp()
    with pytest.raises(TrainingError, match=r"gradient of step 4 is not finite, its loss is: point 0, .*last state"):
        fit(module, Points(), tmp_path, progress=False)
    saved = torch.load(tmp_path / LAST_STATE, weights_only=True)["state_dict"]
    assert all(bool(torch.isfinite(value).all()) for value in saved.values())
    assert all(bool(torch.isfinite(value).all()) for value in module.state_dict().values())


def test_damaged_state_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / LAST_STATE).write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="remove it"):
        fit(make_module(), Points(), tmp_path, progress=False)


def test_state_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        fit(make_module(), Points(), tmp_path, callbacks=[StopAt(5)], progress=False)
    with pytest.raises(CheckpointError, match="another model"):
        fit(make_module(width=16), Points(), tmp_path, progress=False)


def test_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    torch.save({"state_dict": Evil()}, tmp_path / LAST_STATE)
    with pytest.raises(CheckpointError):
        fit(make_module(), Points(), tmp_path, progress=False)
    assert not marker.exists()


@pytest.mark.parametrize("by_torch", [False, True])
def test_batches_that_no_memory_holds_are_told(tmp_path: Path, by_torch: bool) -> None:
    with pytest.raises(TrainingError, match=r"more memory than there is \(.*allocate .*make batches smaller"):
        fit(make_module(), Endless(by_torch), tmp_path, progress=False)
