"""Models from a hub, fetched by its client from one on this machine: whole, with all that belongs to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from speech.model.config import Companion
from speech.model.model import SpeechModel
from tests.conftest import ROOT
from tests.hub import hub_of
from tests.speech.models import tiny_model
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.model.backbones import S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.sampling.settings import Sampling

FETCH = """
import json
from speech import Enhancer
from tsdiff import TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor
pair = Enhancer.from_pretrained("owner/pair", quality="best")
beside = pair.engine.members.beside
print(json.dumps({
    "forecaster": repr(TSDiffPredictor.from_pretrained("owner/forecaster")),
    "ensemble": repr(EnsemblePredictor.from_pretrained("owner/ensemble").members),
    "beside": beside.relative_to(pair.model.folder).as_posix(),
    "files": sorted(path.relative_to(pair.model.folder).as_posix() for path in pair.model.folder.rglob("*.*")),
}))
"""

CACHED = """
import json, warnings, huggingface_hub
from speech import Enhancer
from tsdiff import TSDiffPredictor
for name in ("owner/pair", "owner/forecaster"):
    huggingface_hub.snapshot_download(name, allow_patterns=["config.json", "model.safetensors"])
huggingface_hub.constants.HF_HUB_OFFLINE = True
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    pair = Enhancer.from_pretrained("owner/pair")
    forecaster = TSDiffPredictor.from_pretrained("owner/forecaster")
print(json.dumps({
    "files": sorted(path.name for path in pair.model.folder.iterdir()),
    "forecaster": repr(forecaster.model),
    "told": [str(one.message) for one in caught],
}))
"""
"""As an earlier release fetched, which took the weights and their settings alone; and then without a network."""


def forecaster(seed: int) -> TSDiffPredictor:
    torch.manual_seed(seed)
    backbone = S4DConfig(patch=4, width=8, blocks=1, state=2)
    model = TSDiff(TSDiffConfig(freq="h", prediction_length=4, context_length=8, backbone=backbone))
    return TSDiffPredictor(model, Sampling(steps=2 + seed, nonnegative=True)).with_horizon(3)


def fetched(script: str, root: Path, cache: Path) -> Any:
    """What a script prints as JSON, in a process of its own beside a hub with what lies below `root`."""
    with hub_of(root) as address:
        told = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", script]
        run = subprocess.run(command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_what_belongs_to_a_model_comes_from_the_hub_with_it(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    hub = tmp_path / "hub" / "owner"
    model: SpeechModel = tiny_model()
    model.config = replace(model.config, companion=Companion("beside"))
    model.save_pretrained(hub / "pair")
    tiny_model(sampler="ode1", steps=1).save_pretrained(hub / "pair" / "beside")
    (hub / "pair" / "large.wav").write_bytes(bytes(1000))
    one, other = forecaster(0), forecaster(1)
    one.serialize(hub / "forecaster")
    EnsemblePredictor([one, other]).serialize(hub / "ensemble")
    found = fetched(FETCH, hub.parent, tmp_path / "cache")
    assert found["forecaster"] == repr(one)
    assert found["ensemble"] == repr(EnsemblePredictor([one, other]).members)
    assert found["beside"] == "beside"
    assert found["files"] == [
        "beside/config.json",
        "beside/model.safetensors",
        "config.json",
        "model.safetensors",
    ]


def test_a_cache_of_the_weights_alone_serves_offline(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    hub = tmp_path / "hub" / "owner"
    tiny_model().save_pretrained(hub / "pair")
    tiny_model().save_pretrained(hub / "pair" / "beside")
    forecaster(0).serialize(hub / "forecaster")
    found = fetched(CACHED, hub.parent, tmp_path / "cache")
    assert found["files"] == ["config.json", "model.safetensors"]
    assert found["forecaster"] == repr(forecaster(0).model)
    pair, series = found["told"]
    for told, name, lacking in (
        (pair, "owner/pair", "beside/model.safetensors"),
        (series, "owner/forecaster", "gluonts-config.json"),
    ):
        assert told.startswith(f"of '{name}' the weights in the cache are used, by themselves: ")
        assert lacking in told
