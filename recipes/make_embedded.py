"""Make the data set that ships with the package from a folder in GluonTS's layout.

The longest entry of each series in the test part is taken whole. Values are stored exactly, as whole
multiples of a power of two, one 32-bit column a series, delta-packed; start and frequency are in the file's
metadata.

    python recipes/make_embedded.py --source ../shared/data/series/pjm_hourly --output tsdiff/embedded
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import typer

from shared.console.command import run, show
from shared.errors import DataError
from shared.files.io import atomic_path
from tsdiff.data import SeriesSet, load_folder

SOURCE = Path("../shared/data/series/pjm_hourly")
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


def main(
    source: Annotated[Path, typer.Option(help="Folder in GluonTS's layout.")] = SOURCE,
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("tsdiff/embedded"),
) -> None:
    """Write the table."""
    folder = load_folder(source)
    target = output / f"{source.resolve().name}.parquet"
    write_table(folder.test or folder.train, target)
    show(f"wrote {target} ({target.stat().st_size:,} bytes)")


if __name__ == "__main__":
    run(main, __doc__)
