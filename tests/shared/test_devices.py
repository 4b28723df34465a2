"""shared/devices.py: which of several processes this is, and whether they are those that are to train."""

from __future__ import annotations

import pytest

from shared.devices import check_processes, compute_device, first_process, started_together
from shared.errors import ConfigError

NAMES = ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


def torchrun(monkeypatch: pytest.MonkeyPatch, rank: int, size: int, *, local: int = 0) -> None:
    """The variables that torchrun sets."""
    told = {"RANK": rank, "LOCAL_RANK": local, "GROUP_RANK": rank - local, "WORLD_SIZE": size}
    for name, value in {**told, "TORCHELASTIC_RUN_ID": "a", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))


def test_the_first_process_is_the_first_of_the_first_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_process()
    assert not started_together()
    for rank, local in ((0, 0), (1, 0), (1, 1)):
        torchrun(monkeypatch, rank, 2, local=local)
        assert first_process() == (rank == 0)
        assert started_together()
    torchrun(monkeypatch, 0, 1)
    assert not started_together()


@pytest.mark.parametrize("name", ["LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_others_tell_by_one_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert not first_process()


def test_another_number_of_processes_than_were_started(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun(monkeypatch, 0, 2)
    for devices, nodes in ((1, 2), (2, 1), (-1, 1), ("auto", 1)):
        check_processes(devices, nodes)
    with pytest.raises(ConfigError, match=r"devices=1 × hardware.nodes=1 .* torchrun started 2; give its"):
        check_processes(1, 1)


def test_several_machines_that_nothing_started(monkeypatch: pytest.MonkeyPatch) -> None:
    check_processes(2, 1)
    with pytest.raises(ConfigError, match=r"nodes=2: nothing tells .* `torchrun --nnodes 2`"):
        check_processes(1, 2)
    monkeypatch.setenv("SLURM_NTASKS", "2")
    check_processes(1, 2)


@pytest.mark.parametrize("name", ["meta", "hpu", "mps:7", "cud", "CPU", "", -1])
def test_devices_that_cannot_compute_here(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^device '.*' cannot be used here \(.{5,300}\); use cpu$"):
        compute_device(name)
