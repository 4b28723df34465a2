"""Training shows a bar where it is asked to, and else writes nothing."""

from __future__ import annotations

import pytest

from shared.training import fit
from tests.shared.test_training import Points, make_module


@pytest.mark.parametrize("asked", [True, False])
def test_a_bar_is_shown_when_asked_for(asked: bool, capsys: pytest.CaptureFixture[str]) -> None:
    fit(make_module(max_steps=3), Points(), progress=asked, description="learning points")
    said = capsys.readouterr()
    assert ("learning points" in said.err and "3/3" in said.err) == asked
    assert bool(said.out + said.err) == asked
