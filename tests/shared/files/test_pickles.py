"""The restricted reader: what it gives, what it refuses."""

from __future__ import annotations

import argparse
import collections
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.errors import CheckpointError
from shared.files.pickles import Reference, load_pickle, refuse_odd_tensors


class Calls:
    """Pickled, it asks for a call."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Plain:
    """In the place of a namespace."""


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_and_plain_values(tmp_path: Path, zipped: bool) -> None:
    values = {"b": [1, 2.5, None, True, "x"], "c": collections.OrderedDict(d=(1,))}
    content = {"a": torch.arange(6).reshape(2, 3).T, **values}
    torch.save(content, tmp_path / "file", _use_new_zipfile_serialization=zipped)
    found = load_pickle(tmp_path / "file", references=True)
    assert torch.equal(found.pop("a"), torch.arange(6).reshape(2, 3).T)
    assert found == values


def test_names_may_occur_where_that_is_allowed(tmp_path: Path) -> None:
    torch.save({"kind": argparse.Namespace, "again": argparse.Namespace, "other": Path}, tmp_path / "file")
    found = load_pickle(tmp_path / "file", references=True)
    assert issubclass(found["kind"], Reference)
    assert found["kind"].name == "argparse.Namespace"
    assert found["kind"] is found["again"]
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace"):
        load_pickle(tmp_path / "file")


@pytest.mark.parametrize("references", [True, False])
@pytest.mark.parametrize("function", [os.system, eval, exec, Path.touch, getattr, __import__])
def test_calls_are_refused(tmp_path: Path, function: Any, references: bool) -> None:
    mark = tmp_path / "mark"
    argument: Any = mark if function is Path.touch else f"touch {mark}"
    torch.save([Calls(function, argument)], tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"holds more than tensors and plain values and is not read.*; ask"):
        load_pickle(tmp_path / "file", references=references, remedy="ask")
    assert not mark.exists()


def test_stand_ins_are_called_in_the_place_of_what_they_stand_for(tmp_path: Path) -> None:
    torch.save({"settings": argparse.Namespace(rate=3)}, tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace"):
        load_pickle(tmp_path / "file", references=True)
    settings = load_pickle(tmp_path / "file", [(Plain, "argparse.Namespace")])["settings"]
    assert isinstance(settings, Plain)
    assert vars(settings) == {"rate": 3}


def test_files_that_are_damaged(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(500)}, tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "part").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"part .*\(.+\)"):
            load_pickle(tmp_path / "part", references=True)
    with pytest.raises(CheckpointError, match="there is no file"):
        load_pickle(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="is a folder; give the checkpoint in it"):
        load_pickle(tmp_path)


def test_tensors_that_are_not_plain_or_not_in_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(64))
    refuse_odd_tensors({"a": torch.zeros(16), "b": torch.zeros(16)}, path)
    odd = {
        "elsewhere": torch.zeros(2, device="meta"),
        "sparse": torch.zeros(2).to_sparse(),
        "quantised": torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8),
    }
    for name, tensor in odd.items():
        with pytest.raises(CheckpointError, match=f"'{name}' is no plain tensor in memory"):
            refuse_odd_tensors({"a": torch.zeros(2), name: tensor}, path)
    with pytest.raises(CheckpointError, match=r"'b' \(17,\) would take 132 bytes, the file has 64"):
        refuse_odd_tensors({"a": torch.zeros(16), "b": torch.zeros(17)}, path)
