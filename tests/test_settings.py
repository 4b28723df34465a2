"""Settings are values: no dataclass of the packages can be changed after it was made, but for the few with a state."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import shared
import speech
import tsdiff

STATEFUL = {
    "shared.training.batches.Batch",
    "shared.samplers.run.SampleResult",
    "shared.scale.run.Report",
    "shared.scale.units.Outcome",
    "speech.audio.devices.Duplex",
    "speech.inference.folders.FolderReport",
    "speech.inference.plan.Plan",
    "speech.inference.segments.Spread",
    "speech.inference.segments.Tally",
    "tsdiff.evaluation.metrics.CentralCoverage",
}
"""Filled or moved on while they are used."""
GUIDANCES = {"tsdiff.sampling.guidance", "tsdiff.sampling.known_covariance", "tsdiff.sampling.published"}
"""Modules of classes that hold tensors."""


def dataclasses_of_the_packages() -> Iterator[type]:
    for package in (shared, tsdiff, speech):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if found.__module__ == module.name and dataclasses.is_dataclass(found):
                    yield found


def test_dataclasses_are_frozen_but_for_those_with_a_state() -> None:
    names = {f"{found.__module__}.{found.__name__}": found for found in dataclasses_of_the_packages()}
    assert len(names) > 80
    open_ = {
        name
        for name, found in names.items()
        if not found.__dataclass_params__.frozen and found.__module__ not in GUIDANCES  # type: ignore[attr-defined]
    }
    assert open_ <= STATEFUL, "freeze what is a value; a class with a state goes into STATEFUL"
