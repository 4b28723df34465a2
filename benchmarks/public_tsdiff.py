"""The published TSDiff code as a module, for the benchmarks that time it beside ours."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

CODE = "TSDIFF_PUBLIC_CODE"
"""Environment variable that tells workers where the checkout is; `reason_without` says what it needs besides."""


def _package() -> None:
    """Make the published package importable without its `__init__`, which asks for more than is timed."""
    folder = Path(os.environ[CODE]) / "src" / "uncond_ts_diff"
    for part in ("", "arch", "model", "model/diffusion", "sampler"):
        name = ".".join(["uncond_ts_diff", *part.split("/")] if part else ["uncond_ts_diff"])
        package = types.ModuleType(name)
        package.__path__ = [str(folder / part)]
        sys.modules.setdefault(name, package)


def published_code() -> tuple[Any, Any]:
    """The published modules `arch.s4` and `arch.backbones`, in their pure-torch form."""
    _package()
    s4 = importlib.import_module("uncond_ts_diff.arch.s4")
    if s4.has_pykeops or s4.has_cauchy_extension:
        sys.exit("the published code's pure-torch sums are timed; uninstall pykeops")
    return s4, importlib.import_module("uncond_ts_diff.arch.backbones")


def published_samplers() -> Any:
    """The published module `sampler.observation_guidance`."""
    _package()
    # GluonTS has moved it since.
    sys.modules.setdefault("gluonts.torch.modules.scaler", importlib.import_module("gluonts.torch.scaler"))
    arch: Any = sys.modules["uncond_ts_diff.arch"]
    arch.BackboneModel = importlib.import_module("uncond_ts_diff.arch.backbones").BackboneModel
    model: Any = sys.modules["uncond_ts_diff.model"]
    model.TSDiff = importlib.import_module("uncond_ts_diff.model.diffusion.tsdiff").TSDiff
    return importlib.import_module("uncond_ts_diff.sampler.observation_guidance")
