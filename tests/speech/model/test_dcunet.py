"""DCUNet: complex layers against complex arithmetic, sizes, and the published network's outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.errors import ConfigError, DataError
from speech.model.backbones.dcunet import (
    ARCHITECTURES,
    ComplexBatchNorm,
    ComplexConv,
    ComplexConvTranspose,
    ComplexLinear,
    DCUNet,
    DCUNetConfig,
    Layer,
)
from tests.golden.sgmse_cases import DCUNET_BINS, DCUNET_CASES, key, spectrograms
from tests.golden.sgmse_cases import DCUNET_OPTIONS as OPTIONS
from tests.golden.store import Golden
from tests.speech.published import layout, put_recipe

CASES = [pytest.param("DCUNet-10", options, id=name) for name, options in OPTIONS.items()]
CASES += [
    pytest.param(name, {}, id=name, marks=pytest.mark.slow if name != "DCUNet-16" else ())
    for name in ARCHITECTURES
    if name != "DCUNet-10"
]


def network(architecture: str, options: dict[str, Any]) -> DCUNet:
    torch.manual_seed(0)
    return DCUNet(DCUNetConfig(architecture=architecture, embed_dim=16, **options)).eval()  # type: ignore[arg-type]


def inputs(bins: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(2, 1, bins, frames, dtype=torch.complex64, generator=generator) for _ in range(2))
    return x, y, torch.tensor([0.1, 0.9])


def bins_of(model: DCUNet) -> int:
    """A small number of frequencies that fits the strides, and the dilated kernels."""
    return 1 + model.strides[0] * (16 if model.config.architecture == "DilDCUNet-v2" else 2)


def parts(x: Tensor) -> Tensor:
    return torch.view_as_real(x).movedim(-1, 1)


def whole(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.movedim(1, -1).contiguous())


def test_convolutions_are_those_of_complex_numbers() -> None:
    layer = Layer(4, (5, 3), (2, 1), (2, 1))
    x = torch.randn(2, 3, 21, 9, dtype=torch.complex128)
    conv, back = ComplexConv(3, 4, layer, bias=True).double(), ComplexConvTranspose(4, 3, layer, bias=True).double()
    weight = torch.complex(conv.real.weight, conv.imaginary.weight)
    # The published bias of the real part is that of one layer less that of the other.
    bias = torch.complex(conv.real.bias - conv.imaginary.bias, conv.real.bias + conv.imaginary.bias)  # type: ignore[operator]
    wanted = F.conv2d(x, weight, bias, layer.stride, (2, 1), layer.dilation)
    torch.testing.assert_close(whole(conv(parts(x))), wanted)
    weight = torch.complex(back.real.weight, back.imaginary.weight)
    bias = torch.complex(back.real.bias - back.imaginary.bias, back.real.bias + back.imaginary.bias)  # type: ignore[operator]
    again = F.conv_transpose2d(wanted, weight, bias, layer.stride, (2, 1), (0, 0), dilation=layer.dilation)
    found = back(parts(wanted), again.shape[2:])
    torch.testing.assert_close(whole(found), again)
    assert back(parts(wanted), torch.Size((again.shape[2] + 1, again.shape[3]))).shape[3] == again.shape[2] + 1


def test_linear_layers_are_those_of_complex_numbers() -> None:
    layer, x = ComplexLinear(5, 3).double(), torch.randn(2, 5, dtype=torch.complex128)
    weight = torch.complex(layer.real.weight, layer.imaginary.weight)
    bias = torch.complex(layer.real.bias - layer.imaginary.bias, layer.real.bias + layer.imaginary.bias)
    torch.testing.assert_close(whole(layer(parts(x))), x @ weight.T + bias)


def test_complex_batch_norm_whitens() -> None:
    norm = ComplexBatchNorm(3).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([[1.0], [0.0], [1.0]]))
    mix = torch.tensor([[2.0, 0.5], [-1.0, 1.5]], dtype=torch.float64)
    x = torch.einsum("ij,bjcft->bicft", mix, torch.randn(4, 2, 3, 16, 16, dtype=torch.float64)) + 3
    y = norm(x)
    for channel in y.unbind(2):
        covariance = channel.transpose(0, 1).flatten(1).cov(correction=0)
        torch.testing.assert_close(covariance, torch.eye(2, dtype=torch.float64), atol=1e-4, rtol=0)
    assert y.mean((0, 3, 4)).abs().max() < 1e-12


@pytest.mark.parametrize(("architecture", "option"), DCUNET_CASES)
def test_outputs_are_the_published_ones(golden: Golden, architecture: str, option: str) -> None:
    ours = network(architecture, OPTIONS[option])
    assert layout(ours) == golden.lines(key("dcunet", architecture, option, "layout"))
    put_recipe(ours)
    with torch.no_grad():
        found = ours(*spectrograms(DCUNET_BINS[architecture], 18))
    golden.assert_close(found, key("dcunet", architecture, option), 1e-5)


@pytest.mark.parametrize(("architecture", "options"), CASES)
def test_shapes_and_gradients(architecture: str, options: dict[str, Any]) -> None:
    model = network(architecture, options).train()
    x, y, t = inputs(bins_of(model), 18)
    y.requires_grad_(True)
    result = model(x, y, t)
    assert result.shape == x.shape
    names = ["y", *(name for name, _ in model.named_parameters())]
    gradients = torch.autograd.grad(result.abs().square().sum(), [y, *model.parameters()])
    for name, gradient in zip(names, gradients, strict=True):
        assert torch.isfinite(torch.view_as_real(gradient) if gradient.is_complex() else gradient).all(), name
        assert gradient.abs().sum() > 0, name


def test_number_of_parameters() -> None:
    with torch.device("meta"):
        model = DCUNet(DCUNetConfig())
    assert sum(weight.numel() for weight in model.parameters()) == 3_531_906


def test_running_statistics_are_used_in_evaluation_only() -> None:
    model = network("DCUNet-10", {})
    norm = model.down[0].norm.real
    assert isinstance(norm, nn.BatchNorm2d)
    x, y, t = inputs(bins_of(model), 18)
    before = norm.running_mean.clone()  # type: ignore[union-attr]
    model(x, y, t)
    assert torch.equal(norm.running_mean, before)  # type: ignore[arg-type]
    model.train()(x, y, t)
    assert not torch.equal(norm.running_mean, before)  # type: ignore[arg-type]


def test_sizes_that_do_not_fit_are_refused() -> None:
    model = network("DCUNet-10", {"fix_length": None})
    bins = bins_of(model)
    with pytest.raises(DataError, match="frames, not 18"):
        model(*inputs(bins, 18))
    assert model(*inputs(bins, 17)).shape[-1] == 17
    with pytest.raises(DataError, match="frequencies, not 256"):
        model(*inputs(256, 17))


@pytest.mark.parametrize(("name", "value"), [("embed_dim", 5), ("temb_layers_local", 0)])
def test_settings_that_cannot_be_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        DCUNetConfig(**{name: value})
