"""NCSN++: sizes, the published network's outputs, and what holds of any option."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.errors import ConfigError, DataError
from speech.model.backbones.ncsnpp import PUBLISHED, NCSNpp, NCSNppConfig
from speech.model.backbones.ncsnpp_layers import Attention, Resample
from tests.golden.sgmse_cases import NCSNPP as SMALL
from tests.golden.sgmse_cases import NCSNPP_CASES, key, spectrograms
from tests.golden.sgmse_cases import NCSNPP_OPTIONS as OPTIONS
from tests.golden.store import Golden
from tests.speech.model.test_fir import filtered
from tests.speech.published import layout, put_recipe

OURS_ONLY: dict[str, dict[str, Any]] = {
    "ddpm with convolutions": {"resblock_type": "ddpm"},
    "ddpm without filter": {"resblock_type": "ddpm", "fir": False},
    "residual output": {"progressive": "residual"},
    "residual output without filter": {"progressive": "residual", "fir": False},
}
"""What the published code offers but stops at: a negative stride, or two sizes for one interpolation."""


def network(options: dict[str, Any], variant: str = "ncsnpp") -> NCSNpp:
    """A small one with weights that are not near zero."""
    torch.manual_seed(0)
    model = NCSNpp(NCSNppConfig(**{**asdict(PUBLISHED[variant]), **SMALL, **options}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model.eval()


def inputs(frames: int = 64, bins: int = 32, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(batch, 1, bins, frames, dtype=torch.complex64, generator=generator) for _ in range(2))
    return x, y, torch.linspace(0.03, 0.9, batch)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float(((found - wanted).abs().max() / wanted.abs().max()).detach())


@pytest.mark.parametrize("variant", PUBLISHED)
def test_the_published_settings_have_the_published_number_of_parameters(variant: str) -> None:
    with torch.device("meta"):
        model = NCSNpp(PUBLISHED[variant])
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    assert count == {"ncsnpp": 65_590_822, "ncsnpp_v2": 65_590_822, "ncsnpp_48k": 64_739_854}[variant]


@pytest.mark.slow
def test_the_full_network_takes_spectrograms_of_256_frequencies_and_any_64_frames() -> None:
    with torch.device("meta"):
        model = NCSNpp(NCSNppConfig())
        for frames in (64, 192):
            x = torch.zeros(1, 1, 256, frames, dtype=torch.complex64)
            assert model(x, x, torch.ones(1)).shape == x.shape
    assert model.frame_multiple == 64


@pytest.mark.parametrize(("variant", "option"), NCSNPP_CASES)
def test_outputs_are_the_published_ones(golden: Golden, variant: str, option: str) -> None:
    ours = network(OPTIONS[option], variant)
    assert layout(ours) == golden.lines(key("ncsnpp", variant, option, "layout"))
    put_recipe(ours)
    with torch.no_grad():
        golden.assert_close(ours(*spectrograms(32, 24)), key("ncsnpp", variant, option), 1e-5)


@pytest.mark.slow
def test_the_full_network_gives_the_published_outputs(golden: Golden) -> None:
    ours = NCSNpp(NCSNppConfig())
    put_recipe(ours)
    with torch.no_grad():
        golden.assert_close(ours(*spectrograms(256, 64)), key("ncsnpp", "full"), 1e-5)


@pytest.mark.parametrize("options", [*OPTIONS.values(), *OURS_ONLY.values()], ids=[*OPTIONS, *OURS_ONLY])
def test_gradients_are_finite_and_inference_agrees(options: dict[str, Any]) -> None:
    model = network(options)
    x, y, t = inputs(16)
    y.requires_grad_(True)
    result = model(x, y, t)
    assert result.shape == x.shape
    trained = list(model.parameters())
    for gradient in torch.autograd.grad(result.abs().square().sum(), [y, *trained]):
        assert torch.isfinite(torch.view_as_real(gradient) if gradient.is_complex() else gradient).all()
        assert gradient.abs().sum() > 0
    before = (x.clone(), y.detach().clone(), t.clone())
    with torch.no_grad():
        again = model(x, y, t)
    assert relative(again, result) < 1e-5
    assert all(torch.equal(a, b) for a, b in zip(before, (x, y, t), strict=True))


def test_items_do_not_depend_on_the_batch() -> None:
    model = network(OPTIONS["attention"])
    x, y, t = inputs(batch=3)
    with torch.no_grad():
        together = model(x, y, t)
        alone = torch.cat([model(x[i : i + 1], y[i : i + 1], t[i : i + 1]) for i in range(3)])
    assert relative(alone, together) < 1e-5


def test_low_precision_is_near() -> None:
    model = network({})
    x, y, t = inputs()
    with torch.no_grad():
        wanted = model(x, y, t)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x, y, t)
    assert found.dtype == x.dtype
    assert 0 < relative(found, wanted) < 0.05


@pytest.mark.parametrize("variant", PUBLISHED)
def test_division_by_time(variant: str) -> None:
    """Before the last convolution only its weight is divided, after it its bias too."""
    model = network({}, variant)
    x, y, t = inputs()
    plain = network({"divide_by_time": None}, variant)
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        base, found = plain(x, y, t), model(x, y, t)
        scale = t[:, None, None, None]
        bias = torch.complex(*model.output.bias)
        wanted = {"ncsnpp": (base - bias) / scale + bias, "ncsnpp_v2": base, "ncsnpp_48k": base / scale}[variant]
    assert relative(found, wanted) < 1e-5


def test_attention_is_softmax_of_scaled_products() -> None:
    config = NCSNppConfig(nf=16)
    layer = Attention(config, 16)
    nn.init.normal_(layer.output.weight)
    x = torch.randn(2, 16, 3, 5)
    h = layer.norm(x).flatten(2).mT
    scores = (layer.query(h) @ layer.key(h).mT / 16**0.5).softmax(-1)
    wanted = (x + layer.output(scores @ layer.value(h)).mT.reshape(x.shape)) / 2**0.5
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 2, 3, 2, 1)], ids=str)
def test_convolution_with_resampling_is_the_definition(taps: tuple[float, ...]) -> None:
    x = torch.randn(1, 2, 6, 4, dtype=torch.float64)
    up, down = (Resample(direction, 2, 3, taps).double() for direction in ("up", "down"))  # type: ignore[arg-type]
    for layer in (up, down):
        nn.init.normal_(layer.conv.bias)  # type: ignore[union-attr]
    weight, bias = down.conv.weight, down.conv.bias  # type: ignore[union-attr]
    n = len(taps)
    wanted = F.conv2d(filtered(x, taps, (n + 1) // 2, n // 2), weight, bias, stride=2)
    torch.testing.assert_close(down(x), wanted)
    assert wanted.shape[2:] == (3, 2)
    weight, bias = up.conv.weight, up.conv.bias  # type: ignore[union-attr]
    spread = x.new_zeros(1, 2, 11, 7)
    spread[..., ::2, ::2] = x
    spread = F.conv2d(F.pad(spread, (2, 2, 2, 2)), weight)
    wanted = 4 * filtered(spread, taps, (n - 3) // 2 + 1, (n - 4) // 2 + 1) + bias[:, None, None]  # type: ignore[index]
    torch.testing.assert_close(up(x), wanted)
    assert wanted.shape[2:] == (12, 8)


def test_weights_are_kept_channels_last() -> None:
    model = network({})
    model.load_state_dict({name: value.contiguous() for name, value in model.state_dict().items()})
    assert model.middle[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("bins", "frames", "message"), [(32, 30, "multiple of 4"), (30, 32, "multiple of 4"), (64, 64, "image_size=32")]
)
def test_sizes_that_do_not_fit_are_refused(bins: int, frames: int, message: str) -> None:
    x, y, t = inputs(frames, bins)
    with pytest.raises(DataError, match=message):
        network(OPTIONS["attention"])(x, y, t)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nf", 6),
        ("ch_mult", ()),
        ("num_res_blocks", 0),
        ("dropout", 1.0),
        ("fir_kernel", (1, -1)),
        ("fir_kernel", (1,)),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(NCSNppConfig(), **{name: value})
