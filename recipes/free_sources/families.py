"""Which series of a family are kept, and how they are written."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from zlib import crc32

import numpy as np

from tsdiff.data.frequency import normalise_freq
from tsdiff.tasks.synthesis import save_series

from .tables import Checkout, Family, series_of

MOST, MOST_YEARLY = 300, 60
"""Series of a family; of more, so many are drawn."""
LAST, LAST_FINE = 3000, 20000
"""Values of a series that are kept, and of one that is hourly or finer."""
FEWEST, HORIZONS = 20, 3
"""Values and horizons that a series has to have."""
STRAIGHT = 1 / 3
"""Share of steps that go on exactly as the one before, from which a series is taken for interpolated or projected."""
STILL = 3 / 4
"""Share of steps without a change, from which a series is taken for held."""


def reason_against(values: np.ndarray, horizon: int) -> str | None:
    """Why a series, NaN where missing, is left out, or None."""
    known = values[~np.isnan(values)]
    if len(values) < max(FEWEST, HORIZONS * horizon):
        return "short"
    if len(known) < len(values) / 2:
        return "missing"
    if np.ptp(known) == 0:
        return "constant"
    steps = np.diff(values)
    steps = steps[~np.isnan(steps)]
    if len(steps) and np.mean(steps == 0) > STILL:
        return "held"
    if straight(values) > STRAIGHT:
        return "interpolated"
    return None


def straight(values: np.ndarray) -> float:
    """Share of steps that are the step before, or the same growth, and not nothing."""
    steps, size = np.diff(values), np.nanmax(np.abs(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = values[1:] / values[:-1]
    known = ~np.isnan(steps[1:]) & ~np.isnan(steps[:-1])
    moves = np.abs(steps[1:]) > 1e-9 * size
    same = np.abs(np.diff(steps)) <= 1e-6 * np.abs(steps[1:])
    grown = np.abs(np.diff(growth)) <= 1e-6 * np.abs(growth[1:] - 1)
    return float(np.sum(known & moves & (same | grown)) / max(int(known.sum()), 1))


def fingerprint(values: np.ndarray) -> bytes:
    """The same for series that differ by unit and level alone."""
    scaled = (values - np.nanmean(values)) / np.nanstd(values)
    return np.round(scaled, 3).astype(np.float32).tobytes()


def entries_of(
    family: Family, checkout: Checkout, day: str, seen: set[bytes], seed: int
) -> tuple[list[dict[str, object]], Counter[str]]:
    """GluonTS entries of a family, at most `MOST`, and how many series were left out for which reason."""
    left_out: Counter[str] = Counter()
    entries: list[dict[str, object]] = []
    fine = normalise_freq(family.freq).lstrip("0123456789") in ("h", "min", "s")
    for name, series in series_of(family, checkout, day):
        values = series.to_numpy(np.float64)[-(LAST_FINE if fine else LAST) :]
        reason = reason_against(values, int(family.horizon))
        if reason is None and (mark := fingerprint(values)) in seen:
            reason = "duplicate"
        if reason is not None:
            left_out[reason] += 1
            continue
        seen.add(mark)
        start = series.index[len(series) - len(values)]
        entries.append({"item_id": name or family.name, "start": start, "target": values.astype(np.float32)})
    most = MOST_YEARLY if normalise_freq(family.freq).startswith("Y") else MOST
    if len(entries) > most:
        rng = np.random.default_rng([seed, crc32(family.name.encode())])
        left_out["drawn from more"] = len(entries) - most
        entries = [entries[place] for place in sorted(rng.choice(len(entries), most, replace=False))]
    return entries, left_out


def write(entries: list[dict[str, object]], horizon: int, folder: Path) -> None:
    """Write a family in GluonTS's layout: the test part whole, the training part without its last horizon."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shorter = [{**entry, "target": entry["target"][:-horizon]} for entry in entries]  # type: ignore[index]
    save_series(shorter, gluonts_folder=folder, prediction_length=horizon)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        save_series(entries, gluonts_folder=Path(beside) / "whole", prediction_length=horizon)
        (Path(beside) / "whole" / "train").rename(folder / "test")
