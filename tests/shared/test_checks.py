"""Settings declare what they take: each declared range of each class is held, and the messages have one wording."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import pickle
import pkgutil
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf

import shared
import speech
import tsdiff
from shared.checks import DISTINCT, RISING, Checked, Count, Even, NonNegative, Positive, checked, require
from shared.errors import ConfigError
from shared.files.settings import dataclass_from
from shared.kinds import OneOf
from shared.noise import GaussianProcess, OrnsteinUhlenbeck
from shared.sde import OUVESDE, SDE, VPSDE, Process

REQUIRED = {
    "freq": "h",
    "prediction_length": 24,
    "context_length": 48,
    "values": torch.zeros(1, 72, 1),
    "observed": torch.ones(1, 72, 1),
    "covariance": None,
    "season": 24.0,
    "length_scale": 2.0,
    "period": 24.0,
    "kernels": (OrnsteinUhlenbeck(2.0),),
    "kernel": OrnsteinUhlenbeck(2.0),
    "process": GaussianProcess(OrnsteinUhlenbeck(2.0)),
    "known": 1,
    "source": Path("noisy.wav"),
}
"""What classes ask for without a default."""
FAR = 10**6


def settings_classes() -> list[type]:
    """Every class of the packages that declares what it takes."""
    for package in (shared, tsdiff, speech):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, left = set(), [Checked]
    while left:
        below = left.pop().__subclasses__()
        found |= {cls for cls in below if is_dataclass(cls) and cls.__dataclass_params__.init}
        left += below
    ours = (cls for cls in found if cls.__module__.split(".")[0] in {"shared", "tsdiff", "speech"})
    return sorted(ours, key=lambda cls: (cls.__module__, cls.__qualname__))


CLASSES = settings_classes()


def example(cls: type) -> Any:
    """One with the defaults."""
    needed = [one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING]
    hints = get_type_hints(cls, include_extras=True)
    return cls(**{name: REQUIRED[name] if name in REQUIRED else inside(hints[name]) for name in needed})


def inside(hint: Any) -> Any:
    """A value that a type takes."""
    for value in (*(get_args(hint) if get_origin(hint) is Literal else ()), 1, 0.5, 4, (1,), (1, 2)):
        with contextlib.suppress(ConfigError):
            return checked(hint, value=value)
    raise AssertionError(f"REQUIRED lacks a value for {hint}")


def number_outside(kind: type, marks: Any) -> Iterator[Any]:
    """Values just outside a declared range, and what is no number."""
    for mark in marks:
        bound: Any = next(
            (getattr(mark, name) for name in ("ge", "le", "gt", "lt", "multiple_of") if hasattr(mark, name)), 0
        )
        if isinstance(mark, Ge):
            yield bound - 1 if kind is int else math.nextafter(bound, -math.inf)
        elif isinstance(mark, Le):
            yield bound + 1 if kind is int else math.nextafter(bound, math.inf)
        elif isinstance(mark, (Gt, Lt)):
            yield bound
        elif isinstance(mark, MultipleOf):
            yield FAR * bound + 1
    if kind is int or any(isinstance(mark, (Ge, Le, Gt, Lt)) for mark in marks):
        yield from ("1", 1.5 if kind is int else math.nan)


def outside(hint: Any) -> Iterator[Any]:
    """Values that a type refuses."""
    origin, parts = get_origin(hint), get_args(hint)
    base, marks = (parts[0], parts[1:]) if origin is Annotated else (hint, ())
    if any(isinstance(mark, OneOf) for mark in marks):
        yield "no such kind"
    elif base is bool:
        yield from ("no", ["x"])
    elif base in (int, float):
        yield from number_outside(base, marks)
    elif get_origin(base) is Literal:
        yield "no such choice"
    elif get_origin(base) is tuple:
        yield from tuple_outside(get_args(base), marks)
    elif NoneType in parts:
        others = [part for part in parts if part is not NoneType]
        yield from outside(others[0]) if len(others) == 1 else ()


def tuple_outside(parts: tuple[Any, ...], marks: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    length = 1 if parts[-1] is ... else len(parts)
    yield from ((bad,) * length for bad in outside(parts[0]))
    if parts[-1] is not ...:
        yield ()
    for mark in marks:
        if isinstance(mark, MinLen):
            yield ()
        elif isinstance(mark, MaxLen):
            yield (1,) * (mark.max_length + 1)
        elif mark is DISTINCT:
            yield (1, 1)
        elif mark is RISING:
            yield (0.5, 0.25)


DECLARED = {
    cls: [
        (name, bad)
        for name, hint in get_type_hints(cls, include_extras=True).items()  # raises where a type cannot be told
        if name in {one.name for one in fields(cls) if one.init} and "Guidance" not in cls.__name__
        for bad in outside(hint)
    ]
    for cls in CLASSES
    if not getattr(cls, "__abstractmethods__", None)
}
"""Names of settings, and values that they refuse."""


@pytest.mark.parametrize("cls", [cls for cls in DECLARED if DECLARED[cls]], ids=lambda cls: cls.__qualname__)
def test_a_value_just_outside_is_refused_by_its_name(cls: type) -> None:
    settings = example(cls)
    for name, bad in DECLARED[cls]:
        spoken = settings._spoken(name)
        with pytest.raises(ConfigError) as refused:
            replace(settings, **{name: bad})
        said = str(refused.value)
        assert said.startswith((f"{spoken}={bad!r}: ", f"{spoken}={bad}: ", f"{spoken}: ")), said
        assert "\n" not in said
        assert "need" in said or "choose" in said


def test_there_are_as_many_as_there_should_be() -> None:
    assert sum(map(bool, DECLARED.values())) > 40
    assert sum(map(len, DECLARED.values())) > 400


@dataclass(frozen=True)
class Method(Checked):
    name: Literal["ode", "elbo"] = "ode"
    steps: Annotated[int, Ge(1), Le(1000)] = 16
    size: Positive = 1.0
    power: NonNegative | None = None
    lags: Annotated[tuple[Count, ...], DISTINCT] = ()
    sde: Process = field(default_factory=VPSDE)
    exact: bool = False


@dataclass(frozen=True)
class Few(Method):
    """A subclass of a narrower range."""

    steps: Annotated[int, Ge(1), Le(4), "more take long"] = 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "x"}, "name='x': choose one of ode, elbo"),
        ({"steps": 0}, "steps=0: need a whole number from 1 to 1000"),
        ({"steps": 2.0}, "steps=2.0: need a whole number from 1 to 1000"),
        ({"steps": True}, "steps=True: need a whole number from 1 to 1000"),
        ({"lags": (True, 2)}, "lags=(True, 2): need values, each a whole number"),
        ({"size": -1}, "size=-1: need a positive number"),
        ({"size": math.inf}, "size=inf: need a positive number"),
        ({"power": -1.0}, "power=-1.0: need a number, at least 0, or None"),
        ({"lags": (1, 0)}, "lags=(1, 0): need values, each a whole number, at least 1, each only once"),
        ({"lags": 3}, "lags=3: need values, each a whole number, at least 1, each only once"),
        ({"sde": {"kind": "ouve", "theta": -1.0}}, "sde: theta=-1.0: need"),
        ({"exact": "no"}, "exact='no': need True or False"),
        ({"exact": None}, "exact=None: need True or False"),
        ({"exact": np.ones(2)}, "exact=[1. 1.]: need True or False"),
    ],
)
def test_one_wording(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Method(**wrong)
    assert str(refused.value).startswith(said)


def test_what_is_taken_is_kept_as_declared() -> None:
    made = Method(steps=np.int64(3), size=2, lags=[np.int32(1), 24], sde="ouve")  # type: ignore[arg-type]
    assert made == Method(steps=3, size=2, lags=(1, 24), sde=OUVESDE())
    assert json.dumps([made.steps, made.lags]) == "[3, [1, 24]]"
    assert pickle.loads(pickle.dumps(made)) == made
    assert Method(size=np.float32(0.5), power=None).size == 0.5  # type: ignore[arg-type]
    assert Method(sde={"kind": "ouve", "theta": 2.0}).sde == OUVESDE(theta=2.0)  # type: ignore[arg-type]


def test_a_subclass_has_its_own_ranges_and_the_rest_of_its_bases() -> None:
    with pytest.raises(ConfigError, match="steps=5: need a whole number from 1 to 4; more take long"):
        Few(steps=5)
    with pytest.raises(ConfigError, match="size=0"):
        Few(size=0)


def test_a_class_whose_types_cannot_be_told_from_outside_is_checked_in_what_it_inherits() -> None:
    class Here:
        pass

    @dataclass(frozen=True)
    class Local(Method):
        here: Here | None = None
        steps: Annotated[int, Here] = 0

    assert Local(here=Here()).steps == 0
    with pytest.raises(ConfigError, match="size=0"):
        Local(size=0)


def test_a_process_of_a_users_own_declares_ranges_or_nothing() -> None:
    @dataclass(frozen=True)
    class Mine(OUVESDE):
        theta: Annotated[float, Ge(1)] = 2.0
        note: str = ""

    assert isinstance(Mine(note="x"), SDE)
    with pytest.raises(ConfigError, match=r"theta=0\.5: need a number, at least 1"):
        Mine(theta=0.5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "a.yaml: steps=0: need a number, at least 1; "),
        ({"steps": True}, "a.yaml: steps=True: need a number; "),
        ({"lags": [2, True]}, "a.yaml: lags.1=True: need a number; "),
        ({"sde": {"kind": "ouve", "theta": True}}, "a.yaml: sde.theta=True: need a number; "),
        ({"name": "x"}, "a.yaml: name='x': choose one of 'ode' or 'elbo'; "),
        ({"lags": [1, 1]}, "a.yaml: lags=(1, 1): need values, each a whole number, at least 1, each only once; "),
        ({"size": "x"}, "a.yaml: size: Input should be a valid number"),
    ],
)
def test_files_are_refused_in_the_same_words(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        dataclass_from(Method, wrong, "a.yaml", ConfigError)
    assert str(refused.value).startswith(said)


def test_values_outside_of_a_class_are_checked_the_same_way() -> None:
    assert checked(Count, n=np.int64(2)) == 2
    assert checked(Count | None, a=None, b=3) == [None, 3]
    with pytest.raises(ConfigError, match="width=3: need a whole number, at least 2 and a multiple of 2"):
        checked(Even, width=3)
    with pytest.raises(TypeError, match="declares nothing"):
        checked(str, name="x")
    with pytest.raises(ConfigError, match="low=2, high='a': need low before high"):
        require(False, "need low before high", low=2, high="a")
