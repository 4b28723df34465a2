"""Networks as ONNX files: the same numbers, and weights that are held once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.errors import DataError
from shared.files.onnx import write_onnx

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)))


def test_an_export_gives_the_networks_numbers_and_beside_its_weights_does_not_hold_them_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, x = Network(), torch.randn(7, 64)
    weights = tmp_path / "own" / "model.safetensors"
    weights.parent.mkdir()
    save_file(network.state_dict(), weights)
    free = torch.export.Dim.DYNAMIC
    found = {}
    for place in (tmp_path / "own" / "network", tmp_path / "alone.onnx"):
        options = {"inputs": ["x"], "outputs": ["y"], "dynamic_shapes": ({0: free},), "stated": {"what": "a test"}}
        path = write_onnx(network, (torch.zeros(2, 64),), place, weights=weights, **options)  # type: ignore[arg-type]
        session = onnxruntime.InferenceSession(path)
        assert session.get_modelmeta().custom_metadata_map["what"] == "a test"
        (y,) = session.run(["y"], {"x": x.numpy()})
        np.testing.assert_allclose(y, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)
        assert str(Path(__file__).parent).encode() not in path.read_bytes()
        found[path.name] = path.stat().st_size
    assert found.keys() == {"network.onnx", "alone.onnx"}
    size = 4 * network.one.weight.numel()
    assert found["alone.onnx"] - found["network.onnx"] > 0.9 * size
    assert sorted(path.name for path in weights.parent.iterdir()) == ["model.safetensors", "network.onnx"]


@pytest.mark.parametrize("inside", ["", "own", "own/", "not there/"])
def test_a_folder_is_no_name_for_an_export(tmp_path: Path, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It became own.onnx beside the folder, or in place of one that was asked for by a slash."""
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"is a folder; name the file in it, {Path(inside) / 'network.onnx'}"):
        write_onnx(Network(), (), inside, inputs=[], outputs=[], dynamic_shapes=None, stated={})
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
