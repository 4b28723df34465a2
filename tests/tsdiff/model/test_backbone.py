"""The state-space network: its convolution against direct sums, its kernel against the recurrence, its cache."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from tsdiff.model.backbones import PatchedS4D, S4DConfig
from tsdiff.model.backbones.s4d import DiagonalConvolution, kernel_basis
from tsdiff.model.config import TSDiffConfig

WIDTH, STATE, TOKENS = 3, 4, 11


def convolution(seed: int = 0) -> DiagonalConvolution:
    torch.manual_seed(seed)
    return DiagonalConvolution(WIDTH, STATE, kernel_basis(WIDTH, STATE, TOKENS)).double()


def lag_kernel(layer: DiagonalConvolution) -> np.ndarray:
    """The kernel by lag −(tokens−1) … tokens−1, (width, 2·tokens−1), put together from the layer's parameters."""
    basis, readout = layer.basis.numpy(), layer.readout.detach().numpy()[:, :, 0]
    forward = np.einsum("cs,cst->ct", readout[0], basis)
    backward = np.einsum("cs,cst->ct", readout[1], basis)
    kernel = np.concatenate([backward[:, :0:-1], forward], axis=1)
    kernel[:, TOKENS - 1] += layer.direct.detach().numpy()
    return kernel


def net(length: int = 12, features: int = 0, channels: int = 1, seed: int = 0, **sizes: float) -> PatchedS4D:
    """A tiny network whose last layer is not zero, so that everything shows in the output."""
    torch.manual_seed(seed)
    made = PatchedS4D(
        S4DConfig(**{"patch": 3, "width": 6, "blocks": 2, "state": 2, **sizes}), length, channels, features
    )  # type: ignore[arg-type]
    torch.nn.init.normal_(made.output.weight, std=0.5)
    for block in made.blocks:
        torch.nn.init.normal_(block.film.weight, std=0.1)
    return made.eval()


# --- convolution -------------------------------------------------------------------------------------------


def test_convolution_is_the_direct_sum_in_both_directions():
    layer, x = convolution(), torch.randn(WIDTH, 2, TOKENS, dtype=torch.float64)
    kernel, result = lag_kernel(layer), layer(x).detach().numpy()
    expected = np.zeros_like(result)
    for i in range(TOKENS):
        for j in range(TOKENS):
            expected[:, :, i] += kernel[:, None, i - j + TOKENS - 1] * x[:, :, j].numpy()
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_convolution_is_the_fft_convolution_of_its_kernel():
    layer, x = convolution(1), torch.randn(WIDTH, 2, TOKENS, dtype=torch.float64)
    size = 4 * TOKENS
    kernel = np.fft.rfft(lag_kernel(layer), n=size)[:, None]
    full = np.fft.irfft(np.fft.rfft(x.numpy(), n=size) * kernel, n=size)
    np.testing.assert_allclose(layer(x).detach().numpy(), full[..., TOKENS - 1 : 2 * TOKENS - 1], atol=1e-12)


def test_a_shifted_impulse_gives_a_shifted_answer():
    layer = convolution()
    impulse = torch.zeros(WIDTH, 2, TOKENS, dtype=torch.float64)
    impulse[:, 0, 4], impulse[:, 1, 6] = 1.0, 1.0
    early, late = layer(impulse).detach().unbind(1)
    torch.testing.assert_close(early[:, :-2], late[:, 2:])


def test_the_basis_is_the_zero_order_hold_recurrence_step_by_step():
    basis = kernel_basis(WIDTH, STATE, TOKENS).double().numpy()
    steps = np.logspace(math.log10(0.01), math.log10(0.5), WIDTH)
    for channel, step in enumerate(steps):
        for n in range(STATE):
            pole = -0.5 + 1j * math.pi * n
            decay, gain = np.exp(pole * step), (np.exp(pole * step) - 1) / pole
            state, outputs = 0j, []
            for token in range(TOKENS):
                state = decay * state + gain * (token == 0)
                outputs.append(2 * state)
            np.testing.assert_allclose(basis[channel, n], np.real(outputs), atol=1e-6)
            np.testing.assert_allclose(basis[channel, STATE + n], -np.imag(outputs), atol=1e-6)


# --- the cached matrix -------------------------------------------------------------------------------------


def fresh(layer: DiagonalConvolution, x: Tensor) -> Tensor:
    """What the layer should answer: a new layer with the same parameters and nothing cached."""
    made = DiagonalConvolution(WIDTH, STATE, layer.basis).to(layer.direct.dtype)
    made.load_state_dict(layer.state_dict())
    with torch.no_grad():
        return made(x)


def assert_cache_is_fresh(layer: DiagonalConvolution, x: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(layer(x), fresh(layer, x), rtol=0, atol=0)


def test_the_cache_is_used_and_follows_optimiser_loading_copies_and_dtype():
    layer, x = convolution(), torch.randn(WIDTH, 1, TOKENS, dtype=torch.float64)
    with torch.no_grad():
        before = layer(x)
        assert layer.matrix() is layer.matrix()
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        layer(x).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        assert_cache_is_fresh(layer, x)
    with torch.no_grad():
        assert not torch.allclose(layer(x), before)
    layer.load_state_dict(convolution(5).state_dict())
    assert_cache_is_fresh(layer, x)
    assert_cache_is_fresh(copy.deepcopy(layer), x)
    layer.direct.data.mul_(2.0)
    assert_cache_is_fresh(layer, x)
    assert_cache_is_fresh(layer.float(), x.float())
    assert_cache_is_fresh(layer.double(), x)


def test_a_matrix_cached_in_inference_mode_can_be_differentiated_through():
    layer = convolution().requires_grad_(False)
    x = torch.randn(WIDTH, 1, TOKENS, dtype=torch.float64)
    with torch.inference_mode():
        layer(x)
    x.requires_grad_(True)
    layer(x).sum().backward()
    assert x.grad is not None
    moved = torch.randn_like(x)
    change = layer(x.detach() + moved).sum() - layer(x.detach()).sum()  # the layer is linear
    torch.testing.assert_close((x.grad * moved).sum(), change)


# --- the network -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("features", [0, 3])
def test_output_has_the_shape_of_the_window(channels, features):
    known = torch.randn(5, 12, features) if features else None
    out = net(features=features, channels=channels)(torch.randn(5, 12, channels), torch.zeros(5), known)
    assert out.shape == (5, 12, channels)


def test_a_new_network_says_nothing():
    made = PatchedS4D(S4DConfig(patch=3, width=4, blocks=1, state=2), 12)
    assert not made(torch.randn(2, 12, 1), torch.zeros(2)).any()


@pytest.mark.parametrize("shape", [(2, 12), (2, 9, 1), (2, 12, 2)])
def test_windows_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(ConfigError, match=r"\(batch, 12, 1\), not") as caught:
        net()(torch.zeros(shape), torch.zeros(2))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("features", [None, torch.zeros(2, 12, 2), torch.zeros(2, 9, 3)])
def test_missing_or_misshaped_features_are_refused(features):
    with pytest.raises(ConfigError, match=r"needs features \(batch, 12, 3\)"):
        net(features=3)(torch.zeros(2, 12, 1), torch.zeros(2), features)


def test_a_length_that_is_no_multiple_of_the_patch_is_refused():
    with pytest.raises(ConfigError, match="13 points is not a multiple of the patch, 3"):
        PatchedS4D(S4DConfig(patch=3), 13)


@pytest.mark.parametrize("bad", [{"patch": 0}, {"width": -1}, {"blocks": 0}, {"state": 0}, {"dropout": 1.0}])
def test_sizes_that_cannot_be_are_refused_by_name(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        S4DConfig(**bad)


def test_items_of_a_batch_do_not_see_each_other():
    made, x, level = net(features=2), torch.randn(6, 12, 1), torch.linspace(-3, 3, 6)
    known = torch.randn(6, 12, 2)
    together = made(x, level, known)
    apart = torch.cat([made(x[i : i + 1], level[i : i + 1], known[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-6)


def test_features_shared_by_the_batch_are_the_same_as_repeated_ones():
    made, x, known = net(features=2), torch.randn(4, 12, 1), torch.randn(1, 12, 2)
    level = torch.full((4,), 0.7)
    torch.testing.assert_close(made(x, level, known), made(x, level, known.expand(4, -1, -1)))


def test_one_level_for_all_and_a_level_each_agree():
    made, x = net(), torch.randn(4, 12, 1)
    level = torch.full((4,), 0.7)
    made.train()  # training embeds every item's level, inference only one where all are equal; there is no dropout
    each = made(x, level)
    torch.testing.assert_close(made.eval()(x, level), each, rtol=1e-5, atol=1e-6)


def test_level_and_features_matter():
    made, x, known = net(features=2), torch.randn(2, 12, 1), torch.randn(2, 12, 2)
    base = made(x, torch.zeros(2), known)
    assert not torch.allclose(base, made(x, torch.full((2,), 2.0), known))
    assert not torch.allclose(base, made(x, torch.zeros(2), -known))


def test_every_token_reaches_every_other_one():
    made = net()
    x = torch.randn(1, 12, 1).requires_grad_(True)
    for place in (0, 11):
        (gradient,) = torch.autograd.grad(made(x, torch.zeros(1))[0, place, 0], x)
        assert (gradient.abs() > 0).all()


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences():
    made = net(length=6, features=1, width=3).double().train()
    x, level = torch.randn(2, 6, 1, dtype=torch.float64), torch.tensor([0.3, -0.8], dtype=torch.float64)
    known = torch.randn(2, 6, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: made(w, level, known), (x.requires_grad_(True),), atol=1e-6)
    names = ["blocks.0.convolution.readout", "blocks.1.film.weight", "feature_input.weight", "input.bias"]
    values = tuple(dict(made.named_parameters())[name].detach().clone().requires_grad_(True) for name in names)

    def of_parameters(*given: Tensor) -> Tensor:
        return torch.func.functional_call(made, dict(zip(names, given, strict=True)), (x.detach(), level, known)).sum()

    assert torch.autograd.gradcheck(of_parameters, values, atol=1e-6)


def test_dropout_only_in_training():
    made, x = net(dropout=0.5), torch.randn(2, 12, 1)
    level = torch.zeros(2)
    torch.testing.assert_close(made(x, level), made(x, level), rtol=0, atol=0)
    made.train()
    assert not torch.allclose(made(x, level), made(x, level))


@dataclass(frozen=True)
class Unnamed:
    """Settings of a backbone of one's own that lack a kind: a model saved with them could not be read again."""

    width: int = 4

    def build(self, length: int, channels: int, features: int) -> nn.Module:
        return nn.Identity()


@pytest.mark.parametrize(
    ("backbone", "told"),
    [
        (Unnamed(), "backbone: Unnamed has no kind; give it a field such as kind: str = 'unnamed'"),
        (S4DConfig, r"backbone: .*S4DConfig'> is a class: give an object, S4DConfig\(\)"),
        (nn.Identity(), r"backbone: Identity\(\): need a kind .* or a frozen dataclass of your own that has a kind"),
    ],
)
def test_a_backbone_that_could_not_be_saved_is_refused_before_it_is_trained(backbone: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TSDiffConfig("h", 24, 48, backbone=backbone)
