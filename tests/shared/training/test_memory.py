"""Freed blocks stay with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.training.memory import keep_large_blocks

SCRIPT = """
import resource, sys
import numpy as np
from shared.training.memory import keep_large_blocks
if sys.argv[1] == "keep":
    assert keep_large_blocks()
def use():
    block = np.empty(48 << 20, dtype=np.uint8)
    block[:] = 1
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_blocks_are_used_again() -> None:
    if not keep_large_blocks():
        pytest.skip("the C library is not glibc")
    faults = {}
    for mode in ("keep", "default"):
        ran = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
        faults[mode] = int(ran.stdout)
    assert faults["keep"] < 0.01 * faults["default"], faults
