"""Settings of processes: to and from files, classes of a user's own, what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
import torch

from shared.errors import ConfigError
from shared.kinds import kind_of
from shared.predictions import Denoiser
from shared.sde import (
    BBEDSDE,
    OUVESDE,
    OUVPSDE,
    SBVESDE,
    SDE,
    VESDE,
    VPSDE,
    DiscreteVPSDE,
    Process,
    SubVPSDE,
    cosine_betas,
    linear_betas,
)
from tests.processes import all_sdes


def sde_from(value: object, custom: Sequence[type] = ()) -> SDE:
    found: SDE = get_args(Process)[1].chosen(value, custom)
    return found


# Configuration. --------------------------------------------------------------------------------------------------


@all_sdes()
def test_config_round_trip(name: str, sde: SDE) -> None:
    assert sde_from(json.loads(json.dumps(dataclasses.asdict(sde)))) == sde  # type: ignore[call-overload]
    if not isinstance(sde, DiscreteVPSDE):
        assert sde_from(kind_of(type(sde))) == type(sde)()


def test_config_keeps_every_parameter() -> None:
    for sde in (VPSDE(0.2, 9), OUVESDE(2.0, 0.1, 1.0), OUVPSDE(0.2, 3, 1.5), BBEDSDE(3, 0.1, 0.99), SBVESDE(2, 0.3)):
        assert sde_from(dataclasses.asdict(sde)) == sde


def test_the_key_of_older_files_is_said_to_have_another_name() -> None:
    with pytest.warns(FutureWarning, match="name: ouve is written kind: ouve"):
        assert sde_from({"name": "ouve", "theta": 2.0}) == OUVESDE(2.0)


@dataclasses.dataclass(frozen=True)
class Mine(VPSDE):
    kind: str = dataclasses.field(default="mine", kw_only=True)  # type: ignore[assignment]


def test_a_class_of_a_users_own_is_known_where_it_is_passed() -> None:
    mine = Mine(0.2, 9.0)
    with pytest.raises(ConfigError, match=r"kind='mine': choose one of vp.*passed as custom="):
        sde_from(dataclasses.asdict(mine))
    assert sde_from(dataclasses.asdict(mine), [Mine]) == mine
    assert sde_from(mine) is mine


@dataclasses.dataclass(frozen=True)
class Renamed(VPSDE):
    """Another process, which forgot to say so."""

    def _alpha(self, t: torch.Tensor) -> torch.Tensor:
        return super()._alpha(t) ** 2


def test_a_class_that_a_saved_model_would_not_know_again_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"kind='vp' is that of VPSDE, .* give Renamed a kind of its own"):
        sde_from(Renamed())
    with pytest.raises(ConfigError, match=r"VPSDE'> is a class: give an object, VPSDE\(\)"):
        sde_from(VPSDE)


@pytest.mark.parametrize("custom", [Mine, [Mine()], "mine"])
def test_what_is_no_list_of_classes_is_told(custom: Any) -> None:
    with pytest.raises(ConfigError, match=r"custom=.*: need a list of classes of your own"):
        sde_from({"kind": "mine"}, custom)
    with pytest.raises(ConfigError, match="Denoiser has no kind; give it a field such as kind: str = 'denoiser'"):
        sde_from({"kind": "mine"}, [Denoiser])


BAD: list[Callable[[], object]] = [
    lambda: VPSDE(-0.1, 20),
    lambda: VPSDE(2, 1),
    lambda: VPSDE(0, 0),
    lambda: VPSDE(math.nan, 20),
    lambda: SubVPSDE(5, 1),
    lambda: VESDE(0, 1),
    lambda: VESDE(1, 1),
    lambda: VESDE(2, 1),
    lambda: OUVESDE(theta=0),
    lambda: OUVESDE(theta=-1.5),
    lambda: OUVESDE(sigma_min=0.5, sigma_max=0.05),
    lambda: OUVPSDE(stiffness=0),
    lambda: OUVPSDE(beta_min=3, beta_max=2),
    lambda: BBEDSDE(k=1),
    lambda: BBEDSDE(k=-2),
    lambda: BBEDSDE(c=0),
    lambda: BBEDSDE(t_max=1.0),
    lambda: SBVESDE(k=0),
    lambda: SBVESDE(c=-0.4),
    lambda: DiscreteVPSDE([]),
    lambda: DiscreteVPSDE([0.1, 1.0]),
    lambda: DiscreteVPSDE([0.0, 0.1]),
    lambda: DiscreteVPSDE([0.1, math.nan]),
    lambda: DiscreteVPSDE([[0.1, 0.2]]),  # type: ignore[list-item]
    lambda: linear_betas(0),
    lambda: cosine_betas(0),
    lambda: sde_from({"kind": "vpp"}),
    lambda: sde_from({"beta_min": 0.1}),
    lambda: sde_from({"kind": "vp", "beta_mim": 0.1}),
    lambda: sde_from({"kind": "vp", "beta_min": "abc"}),
    lambda: sde_from({"kind": "discrete_vp", "betas": "abc"}),
    lambda: sde_from(5),
    lambda: SBVESDE().prior_sample((2, 3)),
    lambda: SBVESDE().prior_log_prob(torch.zeros(2, 3)),
]


@pytest.mark.parametrize("build", BAD)
def test_bad_settings_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        build()


def test_refusals_name_the_value() -> None:
    with pytest.raises(ConfigError, match=r"theta=-1\.5"):
        OUVESDE(theta=-1.5)
    with pytest.raises(ConfigError, match=r"1\.7"):
        DiscreteVPSDE([0.1, 1.7])
    with pytest.raises(ConfigError, match="beta_mim"):
        sde_from({"kind": "vp", "beta_mim": 0.1})


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: VPSDE(0.1, bad),
        lambda bad: SubVPSDE(0.1, bad),
        lambda bad: VESDE(0.01, bad),
        lambda bad: OUVESDE(theta=bad),
        lambda bad: OUVPSDE(stiffness=bad),
        lambda bad: BBEDSDE(k=bad),
        lambda bad: SBVESDE(c=bad),
    ],
)
@pytest.mark.parametrize("bad", [math.inf, math.nan, -1.0])
def test_parameters_must_be_finite(make: Callable[[float], SDE], bad: float) -> None:
    with pytest.raises(ConfigError):
        make(bad)
