"""Freeze what the toolkit gives now: product.npz, and with --saved also the models and files that it is asked of.

    python -m tests.golden.make_product [--only core/] [--saved]

Without --only all is written anew. Files in `product/saved` stay as they are unless --saved is given: they are what
users have on their disks, and later versions must read them as they lie there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.golden.product import CASES, FILE
from tests.golden.product.case import pack
from tests.golden.product.cases import enter_all
from tests.golden.store import save


def main() -> None:
    """Compute, and write."""
    parser = argparse.ArgumentParser(description="Freeze what the toolkit gives now in tests/golden/product.npz.")
    parser.add_argument("--only", default="", help="beginning of the names of the cases to compute anew")
    parser.add_argument("--saved", action="store_true", help="train and write the saved models and files anew, first")
    options = parser.parse_args()
    if options.saved:
        from tests.golden.product.make_saved import write_all

        write_all()
    enter_all()
    kept = {} if not FILE.is_file() else dict(np.load(FILE))
    known = {name for name in kept if name.rpartition("/")[0] in CASES and not name.startswith(options.only)}
    arrays = {name: kept[name] for name in sorted(known)}
    for name, each in CASES.items():
        if not name.startswith(options.only):
            continue
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            arrays |= pack(name, each.digests(Path(folder)))
        print(f"{name}: {time.perf_counter() - began:.2f} s")
    save(FILE, dict(sorted(arrays.items())))
    print(f"{FILE}: {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
