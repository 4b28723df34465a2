"""Modules of the published SGMSE+ code, where a checkout of it is at hand."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = "SGMSE_PUBLIC_CODE"
"""Environment variable: a checkout of the published repository."""


def public(module: str) -> Any:
    """The published module, such as "sgmse.sdes"; skips the test without it or what it imports."""
    root = os.environ.get(CODE)
    if not root:
        pytest.skip(f"set {CODE} to a checkout of the published SGMSE code to compare with it")
    if not (Path(root) / "sgmse").is_dir():
        pytest.skip(f"{CODE}={root} holds no folder sgmse")
    if root not in sys.path:
        sys.path.append(root)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        pytest.skip(f"{module} of the published code needs a package that is not here: {error}")
