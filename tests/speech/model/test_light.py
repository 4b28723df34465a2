"""The light network: shapes, causality, streaming, locality in time, gradients, size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from shared.errors import ConfigError
from shared.sde import OUVESDE, SBVESDE
from speech.model.backbones.light import LightBackbone, LightConfig
from speech.model.backbones.light_layers import BandConv

TINY: dict[str, Any] = {
    "width": 8,
    "edge_width": 4,
    "blocks": 3,
    "dilations": (1, 2),
    "mixed": 2,
    "mixing_width": 8,
    "embedding": 8,
}
BINS, FRAMES = 19, 40


def network(bins: int = BINS, seed: int = 0, **options: Any) -> LightBackbone:
    """A tiny one with weights of all layers drawn, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    backbone = LightBackbone(LightConfig(**TINY | options), bins, SBVESDE())
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim > 1:
                fan_in = max(parameter[0].numel(), 1)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)
    return backbone


def spectrograms(batch: int = 2, bins: int = BINS, frames: int = FRAMES, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = 0.1 * torch.randn(2, batch, 1, bins, frames, generator=generator, dtype=torch.complex64)
    return x, y


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("patch", [1, 3, 4])
@given(bins=st.integers(1, 40), frames=st.integers(1, 12), batch=st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_takes_any_number_of_frequencies_and_frames(
    causal: bool, patch: int, bins: int, frames: int, batch: int
) -> None:
    backbone = network(bins, causal=causal, patch=patch)
    x, y = spectrograms(batch, bins, frames)
    with torch.no_grad():
        out = backbone(x, y, torch.full((batch,), 0.5))
    assert out.shape == x.shape
    assert out.dtype == torch.complex64
    assert torch.view_as_real(out).isfinite().all()


def test_fresh_weights_give_the_noisy_spectrogram() -> None:
    x, y = spectrograms()
    out = LightBackbone(LightConfig(**TINY), BINS, SBVESDE())(x, y, torch.tensor([0.3, 1.0]))
    assert torch.equal(out, y)


@pytest.mark.parametrize("mixed", [0, 2])
def test_causal_network_sees_no_later_frame(mixed: int) -> None:
    backbone, (x, y), t = network(causal=True, mixed=mixed), spectrograms(), torch.tensor([0.4, 1.0])
    other_x, other_y = x.clone(), y.clone()
    other_x[..., 23:] += 1
    other_y[..., 23:] *= -2
    with torch.no_grad():
        first, second = backbone(x, y, t), backbone(other_x, other_y, t)
    torch.testing.assert_close(first[..., :23], second[..., :23], rtol=0, atol=1e-6)
    assert (first[..., 23:] - second[..., 23:]).abs().max() > 1e-2
    assert backbone.context_frames[1] == 0


@given(pieces=st.lists(st.integers(1, 9), min_size=1, max_size=8), blocks=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_steps_equal_the_whole(pieces: list[int], blocks: int) -> None:
    backbone = network(causal=True, blocks=blocks)
    (x, y), t = spectrograms(frames=sum(pieces)), torch.tensor([0.4, 1.0])
    state, parts = backbone.initial_state(2), []
    with torch.no_grad():
        for part_x, part_y in zip(x.split(pieces, -1), y.split(pieces, -1), strict=True):
            part, state = backbone.step(part_x, part_y, t, state)
            parts.append(part)
        whole = backbone(x, y, t)
    torch.testing.assert_close(torch.cat(parts, -1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_part_with_its_context_equals_the_whole(causal: bool) -> None:
    backbone, (x, y), t = network(causal=causal), spectrograms(frames=60), torch.tensor([0.4, 1.0])
    before, after = backbone.context_frames
    start, stop = 25, 33
    window = slice(start - before, stop + after)
    with torch.no_grad():
        whole, part = backbone(x, y, t), backbone(x[..., window], y[..., window], t)
        half = slice(start - before // 2, stop + after)
        short = backbone(x[..., half], y[..., half], t)
    torch.testing.assert_close(part[..., before : before + stop - start], whole[..., start:stop], rtol=0, atol=1e-5)
    assert (short[..., before // 2] - whole[..., start]).abs().max() > 1e-5, "context_frames claims more than is used"


def test_only_a_causal_network_runs_by_steps() -> None:
    backbone, (x, y) = network(), spectrograms()
    with pytest.raises(ConfigError, match="causal=False"):
        backbone.initial_state()
    with pytest.raises(ConfigError, match="causal=False"):
        backbone.step(x, y, torch.ones(2), ())


def test_starting_without_look_ahead_leaves_out_later_frames_alone() -> None:
    ahead, causal, (x, y), t = network(), network(seed=1, causal=True), spectrograms(), torch.tensor([0.3, 1.0])
    causal.load_without_look_ahead(ahead)
    with torch.no_grad():
        for layer in ahead.modules():
            if isinstance(layer, BandConv):
                layer.weight[..., 2] = 0
        torch.testing.assert_close(causal(x, y, t), ahead(x, y, t), rtol=0, atol=1e-5)
    for target, source in ((ahead, causal), (causal, causal), (network(causal=True, blocks=1), ahead)):
        with pytest.raises(ConfigError, match="cannot start from"):
            target.load_without_look_ahead(source)


def test_items_of_a_batch_do_not_meet() -> None:
    backbone, (x, y), t = network(), spectrograms(3), torch.tensor([0.1, 0.5, 1.0])
    with torch.no_grad():
        together = backbone(x, y, t)
        alone = torch.cat([backbone(x[i : i + 1], y[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_values_and_gradients_are_finite(scale: float) -> None:
    backbone, (x, y) = network(), spectrograms()
    x, y = (x * scale).requires_grad_(), (y * scale).requires_grad_()
    out = backbone(x, y, torch.tensor([0.0, 1.0]))
    torch.view_as_real(out).square().mean().backward()
    assert torch.view_as_real(out).isfinite().all()
    for tensor in (x, y, *backbone.parameters()):
        assert tensor.grad is not None
        assert (torch.view_as_real(tensor.grad) if tensor.grad.is_complex() else tensor.grad).isfinite().all()


def test_learns_and_then_depends_on_the_time_of_the_process() -> None:
    torch.manual_seed(0)
    backbone, (x, y), t = LightBackbone(LightConfig(**TINY), BINS, SBVESDE()), spectrograms(8), torch.rand(8)
    target = torch.where(t.view(-1, 1, 1, 1) < 0.5, x, 0.3 * y)
    optimizer = torch.optim.Adam(backbone.parameters(), 2e-2)
    losses = []
    for _ in range(30):
        loss = torch.view_as_real(backbone(x, y, t) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        early, late = backbone(x, y, torch.zeros(8)), backbone(x, y, torch.ones(8))
    assert (early - late).abs().mean() > 1e-3


@pytest.mark.parametrize("sde", [SBVESDE(), OUVESDE()], ids=["sbve", "ouve"])
def test_default_size_stays_within_its_limits(sde: SBVESDE | OUVESDE) -> None:
    backbone = LightBackbone(LightConfig(), 257, sde)
    second = torch.zeros(1, 1, 257, 63, dtype=torch.complex64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(second, second, torch.ones(1))
    assert sum(parameter.numel() for parameter in backbone.parameters()) < 2e6
    assert counter.get_total_flops() / 2 < 1e9, "multiply-adds for a second of sound"


@pytest.mark.parametrize(
    "options",
    [{"width": 0}, {"patch": 0}, {"mixing_every": 0}, {"mixed": -1}, {"dilations": ()}, {"embedding": 3}],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        LightConfig(**options)


def test_spectrogram_of_another_front_end_is_refused() -> None:
    x, y = spectrograms(bins=7)
    with pytest.raises(ConfigError, match=r"7 frequencies.*19"):
        network()(x, y, torch.ones(2))
