"""shared/random.py: noise that depends on its place; items that do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.random import PlacedGenerator, log_uniform, make_generator, natural, randn


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 70), length=st.integers(0, 90))
def test_a_piece_sees_its_part_of_the_whole(start, length):
    whole, piece = PlacedGenerator("a", 3), PlacedGenerator("a", 3, start=start)
    for _ in range(2):
        full = whole.randn((2, 160), torch.complex64)
        assert torch.equal(piece.randn((2, length), torch.complex64), full[:, start : start + length])


def test_draws_seeds_and_blocks_differ():
    one, other = PlacedGenerator("a", 3), PlacedGenerator("a", 4)
    first, second, third = one.randn((400, 64)), one.randn((400, 64)), other.randn((400, 64))
    noise = torch.cat([first, second, third], dim=1)
    correlation = torch.corrcoef(noise.T) - torch.eye(192)
    assert correlation.abs().max() < 0.3
    assert noise.mean().abs() < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)


def test_any_whole_number_is_a_seed_and_those_from_0_are_as_they_were():
    assert [natural(seed) for seed in (0, 1, 2**70)] == [0, 1, 2**70]
    others = {natural(seed) for seed in (-1, -2, -(2**70))}
    assert len(others) == 3
    assert min(others) > 2


def test_logarithms_are_uniform_and_one_number_is_the_first_of_many():
    drawn = log_uniform(np.random.default_rng(0), 2, 200, (4000,))
    assert drawn.min() > 2
    assert drawn.max() < 200
    shares = np.histogram(np.log10(drawn / 2), 10, (0, 2))[0] / 400
    np.testing.assert_allclose(shares, 1, atol=0.2)
    assert log_uniform(np.random.default_rng(0), 2, 200) == drawn[0]


def test_items_mix_kinds_of_generators():
    mixed = randn((2, 3, 40), [PlacedGenerator(1, start=5), make_generator(2)])
    assert torch.equal(mixed[0], PlacedGenerator(1).randn((3, 45))[:, 5:])
    assert torch.equal(mixed[1], torch.randn(3, 40, generator=make_generator(2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("shape", [(), (1,), (7, 3), (257, 11)])
def test_an_item_is_what_its_generator_alone_draws(shape, dtype):
    drawn = randn((3, *shape), [make_generator("item", n) for n in range(3)], dtype)
    for n, item in enumerate(drawn):
        assert torch.equal(item, torch.randn(shape, generator=make_generator("item", n), dtype=dtype))


def test_a_place_before_the_start_is_refused():
    with pytest.raises(ConfigError, match="start=-1"):
        PlacedGenerator(0, start=-1)
