"""The walls that a drawn room asks for are those that pyroomacoustics would give it."""

from __future__ import annotations

import numpy as np
import pyroomacoustics
import pytest

from speech.data.rooms import WSJ0_REVERB_ROOMS, RoomConfig, _absorption, draw_room


@pytest.mark.parametrize("config", [RoomConfig(), WSJ0_REVERB_ROOMS])
def test_the_absorption_of_drawn_rooms_is_that_of_sabines_formula(config: RoomConfig) -> None:
    for seed in range(20):
        room = draw_room(np.random.default_rng(seed), config)
        absorption, _ = pyroomacoustics.inverse_sabine(room.t60, room.sides)
        assert _absorption(np.array(room.sides), room.t60) == pytest.approx(absorption, rel=1e-3)
        assert absorption < 1


def test_a_room_that_no_walls_can_make_dry_enough_is_not_drawn() -> None:
    """Sabine's T60 of a cube of 10 m whose walls take everything: 24 ln 10 / 343 · V / A = 0.2685 s."""
    sides = np.array([10.0, 10.0, 10.0])
    assert _absorption(sides, 0.2685) == pytest.approx(1.0, rel=1e-3)
    assert _absorption(sides, 0.537) == pytest.approx(0.5, rel=1e-3)
