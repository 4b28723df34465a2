"""The toolkit gives what it gave when its results were frozen (`make_product.py`), before it was rebuilt.

Frozen anew since then, because a fault was mended: samples from the end of the bridge SB-VE by deterministic methods
(ode1, ode2, ode3, any of them with 0 < eta < 1, euler, heun, rk45), which were one point whatever the seed. The cases
are core/sbve/samplers, core/sbve/single precision, speech/saved bridge, and layouts/…, sbve. And the bundled causal
enhancer, which let the noise of its first frames pass: speech/causal and speech/causal/stream. And the level of the
bundled enhancers, which was .3 and 1 dB too low: speech/default and speech/causal. And rk45 down to clean data on
even steps in t, which left out the last one: core/discrete_…/samplers. And, by choice, the
bundled enhancers with weights that were trained on, and the bundled forecaster in three calls, later with its anchor's
quantiles in its own, then with gaps that meet what lies beyond them: tsdiff/default/….
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.golden.product import CASES, FILE
from tests.golden.product.case import differences, unpack
from tests.golden.product.cases import enter_all
from tests.golden.store import Golden

enter_all()
FROZEN = Golden(FILE)

PUBLISHED_START = 2e-3
"""Tolerance of `sb_ode`, whose start at the bridge's end multiplies rounding, which processors do differently."""


def test_every_case_is_frozen_and_nothing_else_is() -> None:
    assert {name.rpartition("/")[0] for name in np.load(FILE).files} == set(CASES)
    assert FILE.stat().st_size < 500_000


def slow(name: str) -> bool:
    """Whether a case is of a process, a network or a sampler that is like others."""
    part, process = name.split("/")[:2]
    if part == "layouts":
        return process.startswith(("ncsnpp_v2", "ncsnpp_48k", "dcunet"))
    return (part == "core" and process in LIKE_OTHERS) or process == "saved score, adaptive"


LIKE_OTHERS = ("sub_vp", "discrete_linear", "discrete_cosine", "ouvp", "bbed")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if slow(n) else ()) for n in CASES])
def test_it_gives_what_it_gave(name: str, tmp_path: Path) -> None:
    wanted = unpack(name, FROZEN.array(f"{name}/numbers"), FROZEN.lines(f"{name}/names"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CASES[name].digests(tmp_path)
    shares = differences(found, wanted)
    limits = {label: PUBLISHED_START if label.endswith("sb_ode") else CASES[name].tolerance for label in shares}
    wrong = {label: f"{share:.1e}" for label, share in shares.items() if not share < limits[label]}
    assert not wrong, f"{name}: differences from the frozen results, as shares of their largest numbers: {wrong}"
