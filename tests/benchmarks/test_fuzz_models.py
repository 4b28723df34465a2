"""Damaged and hostile models by fixed seeds: nothing but this toolkit's errors, and no hang."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_models import KINDS, case


@pytest.mark.parametrize("name", KINDS)
def test_a_few_damaged_models(name: str) -> None:
    _check(name, range(1000, 1004))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_damaged_models(name: str) -> None:
    _check(name, range(150 if "folder" in name else 80))


def _check(name: str, seeds: range) -> None:
    found = {seed: case(name, seed) for seed in seeds}
    assert not {seed: outcome for seed, outcome in found.items() if outcome.kind not in ("done", "refused")}
    assert any(outcome.kind == "refused" for outcome in found.values())
    assert max(outcome.cpu for outcome in found.values()) < 10
