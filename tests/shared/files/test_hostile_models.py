"""Model files that claim what they do not hold: refused before memory or time is taken for it."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.errors import CheckpointError
from shared.files.budget import Budget
from shared.files.checkpoint import CONFIG, WEIGHTS, open_checkpoint, resolve, save_checkpoint
from shared.files.pickles import load_pickle, refuse_odd_tensors
from tests.isolated import outcome_of


def saved(folder: Path, config: dict[str, Any] | None = None) -> Path:
    save_checkpoint(folder, "kind", 1, config or {"width": 2}, nn.Linear(2, 2).state_dict())
    return folder


def layers(count: int, width: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(count)))


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: nn.Linear(3, 2), r"key 'weight' has shape \(2, 2\) where the model has \(2, 3\)"),
        (lambda: nn.Linear(10**5, 10**5), "make a larger model than its 2 tensors of 6 numbers"),
        (lambda: nn.Linear(10**10, 10**10), "make a larger model than its 2 tensors"),
        (lambda: layers(10**6, 2), "make a larger model than its 2 tensors"),
        (lambda: nn.Linear(2, -1), "do not make a model"),
        (lambda: nn.Linear("a", 2), "do not make a model"),
    ],
    ids=["shape", "wide", "overflow", "deep", "negative", "fails"],
)
def test_a_module_is_compared_before_it_is_made(tmp_path: Path, build: Callable[[], nn.Module], why: str) -> None:
    result = outcome_of(lambda: open_checkpoint(saved(tmp_path), "kind", 1).restore(build))
    assert result.kind == "refused", result
    assert re.search(why, result.what)
    assert result.cpu < 5
    assert result.megabytes < 400


def test_what_fits_is_restored(tmp_path: Path) -> None:
    wanted = layers(3, 4)
    save_checkpoint(tmp_path, "kind", 1, {"a": 1}, wanted.state_dict())
    model = open_checkpoint(tmp_path, "kind", 1).restore(lambda: layers(3, 4))
    assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), wanted.parameters(), strict=True))


MAKERS: dict[str, tuple[Callable[[int], Any], int]] = {
    "empty": (lambda n: torch.empty(n, 2), 2),
    "zeros": (lambda n: torch.zeros((n, 2)), 2),
    "ones": (lambda n: torch.ones(size=(n,)), 1),
    "rand": (torch.rand, 1),
    "randn": (lambda n: torch.randn(2, n, dtype=torch.float64), 2),
    "full": (lambda n: torch.full((n,), 1.0), 1),
    "eye": (torch.eye, 1000),
    "linspace": (lambda n: torch.linspace(0, 1, n), 1),
    "logspace": (lambda n: torch.logspace(0, 1, n, dtype=torch.float64), 1),
    "arange": (torch.arange, 1),
    "window": (torch.hann_window, 1),
    "new": (lambda n: torch.tensor([1.0]).new_zeros(n, 2), 2),
    "repeat": (lambda n: torch.tensor([1.0, 2.0]).repeat(n, 1), 2),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_way_to_make_a_tensor_is_counted(name: str) -> None:
    make, each = MAKERS[name]
    budget = Budget([(3,)], "here")
    before = budget.numbers
    with budget:
        assert make(1000).numel() == 1000 * each
        assert before - budget.numbers == 1000 * each
        with pytest.raises(CheckpointError, match="here make a larger model than its 1 tensors of 3 numbers"):
            make(10**12)


def test_tensors_of_another_kind_are_refused(tmp_path: Path) -> None:
    for dtype, why in ((torch.int64, "int64"), (torch.complex64, "complex64")):
        state = {"weight": torch.ones(2, 2, dtype=dtype), "bias": torch.ones(2)}
        save_checkpoint(tmp_path, "kind", 1, {"a": 1}, state)
        with pytest.raises(CheckpointError, match=why):
            open_checkpoint(tmp_path, "kind", 1).restore(lambda: nn.Linear(2, 2))


def header(shape: str, size: int) -> bytes:
    """A file with one tensor of so many bytes."""
    text = f'{{"weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{size}]}}}}'.encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


HEADERS = {
    "longer than the file": struct.pack("<Q", 1 << 40) + b"{}",
    "a gigabyte of tensor": header("[16384,16384]", 8),
    "negative": header("[-2,-2]", 16),
    "deep": struct.pack("<Q", 20_000) + b"[" * 20_000,
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(tmp_path: Path, name: str) -> None:
    (saved(tmp_path) / WEIGHTS).write_bytes(HEADERS[name])
    result = outcome_of(open_checkpoint, tmp_path, "kind", 1)
    assert result.kind == "refused", result
    assert "cannot be read" in result.what
    assert result.megabytes < 100


@pytest.mark.parametrize("name", ["deep", "latin", "long"])
def test_a_configuration_that_is_no_json(tmp_path: Path, name: str) -> None:
    content = {"deep": b"[" * 100_000, "latin": b'{"a": "\xdf"}', "long": b" " * (17 << 20)}[name]
    saved(tmp_path)
    (tmp_path / CONFIG).write_bytes(content)
    assert open_checkpoint(tmp_path, "kind", 1).config == {"width": 2}  # the weights carry it
    save_file(nn.Linear(2, 2).state_dict(), tmp_path / WEIGHTS)
    result = outcome_of(open_checkpoint, tmp_path, "kind", 1)
    assert result.kind == "refused", result
    assert result.cpu < 5
    if name == "deep":
        save_file(nn.Linear(2, 2).state_dict(), tmp_path / WEIGHTS, metadata={"config": content.decode()})
        with pytest.raises(CheckpointError, match="deeper than 64"):
            open_checkpoint(tmp_path, "kind", 1)


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    for name in ("x" * 5000, "a\0b", "y" * 5000 + "/" + "z" * 300 + "/b"):
        with pytest.raises(CheckpointError, match="is neither a folder") as caught:
            resolve(name, tmp_path)
        assert len(str(caught.value)) <= 2000


# --- what torch.save wrote -----------------------------------------------------------------------------------


def odd(name: str) -> Tensor:
    return {
        "repeated": torch.zeros(1).expand(10**6, 10**6),
        "shared": torch.zeros(1000).expand(1000, 1000),
        "without memory": torch.zeros(10**6, 10**6, device="meta"),
        "sparse": torch.ones(1, 1).to_sparse(),
    }[name]


@pytest.mark.parametrize("name", ["repeated", "shared", "without memory", "sparse"])
def test_tensors_that_a_file_does_not_hold(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"a": torch.ones(3), "b": odd(name)}, path)
    content = load_pickle(path)
    with pytest.raises(CheckpointError, match="'b'"):
        refuse_odd_tensors(content, path)
    refuse_odd_tensors({"a": content["a"]}, path)


def test_an_archive_that_unpacks_to_more(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"a": torch.ones(3)}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data/9", bytes(1 << 20))
    with pytest.raises(CheckpointError, match="unpacks to"):
        load_pickle(path)


@pytest.mark.parametrize("text", ["", "{", json.dumps([1])])
def test_files_that_torch_did_not_write(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.ckpt").write_text(text)
    with pytest.raises(CheckpointError):
        load_pickle(tmp_path / "x.ckpt")
