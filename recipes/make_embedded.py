"""Make the data set that ships with the package from a folder in GluonTS's layout.

The longest entry of each series in the test part is taken whole. Values are stored exactly, as whole
multiples of a power of two, one 32-bit column a series, delta-packed; start and frequency are in the file's
metadata.

Example:
    python recipes/make_embedded.py --source ../shared/data/series/pjm_hourly --output tsdiff/embedded
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shared.errors import DataError, DiffusionError
from shared.io import atomic_path
from tsdiff.data import SeriesSet, load_folder

ROOT = Path(__file__).resolve().parents[1]
SCALES = (1.0, 0.5, 0.25, 0.125)


def longest_of_each(series: SeriesSet) -> dict[str, np.ndarray]:
    """The longest target of each item, float64 (length,); all must start together and be equally long."""
    longest: dict[str, np.ndarray] = {}
    for entry in series:
        item = entry["item_id"]
        if entry["start"] != series[0]["start"]:
            raise DataError(f"series {item!r} starts at {entry['start']}, the first at {series[0]['start']}")
        if item not in longest or len(entry["target"]) > len(longest[item]):
            longest[item] = entry["target"].astype(np.float64)
    lengths = {len(target) for target in longest.values()}
    if len(lengths) != 1:
        raise DataError(f"the series differ in length ({sorted(lengths)}), but one table needs one length")
    return longest


def exact_scale(columns: dict[str, np.ndarray]) -> float:
    """The largest unit of which every value is a whole 32-bit multiple."""
    values = np.concatenate(list(columns.values()))
    for scale in SCALES:
        scaled = values / scale
        if np.isfinite(scaled).all() and (scaled == np.round(scaled)).all() and np.abs(scaled).max() < 2**31:
            return scale
    raise DataError(f"the values are not whole multiples of {SCALES[-1]}; they cannot be stored exactly")


def write_table(series: SeriesSet, target: Path) -> None:
    """Write the set to `target` (.parquet), atomically."""
    columns = longest_of_each(series)
    scale = exact_scale(columns)
    table = pa.table({item: (values / scale).astype(np.int32) for item, values in columns.items()})
    about = {"start": str(series[0]["start"]), "freq": series.freq, "scale": str(scale)}
    with atomic_path(target) as temporary:
        parquet.write_table(
            table.replace_schema_metadata(about),
            temporary,
            compression="zstd",
            compression_level=22,
            use_dictionary=False,
            column_encoding=dict.fromkeys(columns, "DELTA_BINARY_PACKED"),
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT.parent / "shared" / "data" / "series" / "pjm_hourly"
    parser.add_argument("--source", type=Path, default=default, help="folder in GluonTS's layout")
    parser.add_argument("--output", type=Path, default=ROOT / "tsdiff" / "embedded", help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        folder = load_folder(options.source)
        target = options.output / f"{options.source.resolve().name}.parquet"
        write_table(folder.test or folder.train, target)
    except DiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {target} ({target.stat().st_size:,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
