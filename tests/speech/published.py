"""The published speech enhancement networks, where a checkout of their code is at hand."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

CODE = "SGMSE_PUBLIC_CODE"
"""Environment variable: a checkout of the published SGMSE+ repository."""


def published_backbones() -> Any:
    """The published `BackboneRegistry` with its four networks; skips the test without it.

    The package's op folder compiles CUDA code where it finds a GPU; its native form stands in for it.
    """
    root = os.environ.get(CODE)
    if not root:
        pytest.skip(f"set {CODE} to a checkout of the published SGMSE+ code to compare with it")
    folder = Path(root) / "sgmse"
    if not folder.is_dir():
        pytest.skip(f"{CODE}={root} holds no sgmse")
    packages = {"sgmse": folder, "sgmse.util": folder / "util", "sgmse.backbones": folder / "backbones"}
    packages["sgmse.backbones.ncsnpp_utils"] = folder / "backbones" / "ncsnpp_utils"
    packages["sgmse.backbones.ncsnpp_utils.op"] = folder / "backbones" / "ncsnpp_utils" / "op"
    for name, path in packages.items():
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [str(path)]
            sys.modules[name] = package
    native = importlib.import_module("sgmse.backbones.ncsnpp_utils.op.upfirdn2d_native")
    sys.modules["sgmse.backbones.ncsnpp_utils.op"].upfirdn2d = native.upfirdn2d  # type: ignore[attr-defined]
    for name in ("ncsnpp", "ncsnpp_v2", "ncsnpp_48k", "dcunet"):
        importlib.import_module(f"sgmse.backbones.{name}")
    return importlib.import_module("sgmse.backbones.shared").BackboneRegistry
