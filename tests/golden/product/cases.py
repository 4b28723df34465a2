"""Enters all cases."""

from __future__ import annotations

import importlib

PARTS = ("core", "sound", "forecasts", "artefacts", "layouts")


def enter_all() -> None:
    """Import what holds cases."""
    for part in PARTS:
        importlib.import_module(f"tests.golden.product.{part}")
