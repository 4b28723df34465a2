"""What of a job is finished, kept beside its results: a file for the settings, and one for each finished unit."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared.errors import ConfigError, DataError
from shared.files.differences import differences
from shared.files.io import UNENCODABLE, remove_unfinished
from shared.scale.places import Folder, read_record, remove, stems, write_record, write_whole
from shared.scale.units import MOST_NOTES, Outcome, Step, Unit

PLACE = ".scale"
"""The folder of the records, in that of the results; readers of Parquet and audio pass over hidden ones."""
FAILED = "_failed.csv"
"""The list of items that failed; readers of Parquet pass over names that begin so."""
_JOB, _UNITS = "job.json", "units"


class Ledger:
    """The records of a job.

    Args:
        folder: of the results; made if need be. All workers need to see it.
        again: whether a unit whose input has changed is worked again, and records of others may be there: for items
            that are files of their own. Otherwise both are refused.
    """

    def __init__(self, folder: Folder, again: bool = False):
        self.folder, self._again = folder, again
        self._units = folder / PLACE / _UNITS

    def open(self, settings: Mapping[str, Any]) -> None:
        """Begin a job with these settings, or go on with one that has the same.

        Raises:
            ConfigError: the folder holds results of other settings, or cannot be written.
        """
        path = self.folder / PLACE / _JOB
        try:
            if not path.exists():
                write_record(path, settings)
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"{self.folder} cannot be written ({why}); choose another folder") from error
        before = read_record(path, remedy=(remedy := f"delete {self.folder} to begin anew"))
        if not isinstance(before, dict):
            raise ConfigError(f"{path} is damaged: it holds no settings by name; {remedy}")
        if before != (now := _as_json(settings)):
            raise ConfigError(
                f"{self.folder} holds results of other settings ({differences(before, now)}); choose another "
                "folder, or delete that one to begin anew"
            )

    def of(self, unit: Unit) -> Outcome | None:
        """What became of a unit, if it is finished.

        Raises:
            DataError: it was, and its input was another, unless that is worked again; or its record is damaged.
        """
        path = self._units / f"{unit.name}.json"
        if not path.exists():
            return None
        record = read_record(path, DataError, (remedy := f"delete it, and {unit.name} is made anew"))
        try:
            digest = record.pop("digest")
            outcome = Outcome(**record)
        except (AttributeError, LookupError, TypeError) as error:
            raise DataError(f"{path} is damaged: it is no record of a unit; {remedy}") from error
        if digest != unit.digest:
            if self._again:
                return None
            raise DataError(
                f"{self.folder}: the input of {unit.name} was another when it was made; choose another folder, or "
                "delete that one to begin anew"
            )
        # What was known without any worker is as it is now: of files, those that are passed over come and go.
        own = {name: why for name, why in outcome.failed.items() if name in unit.items}
        outcome.failed = {**unit.failed, **own}
        return outcome

    def worked(self, step: Step, unit: Unit) -> Outcome:
        """Work a unit, and keep what became of it once its result is written."""
        outcome = step(unit, self.folder)
        outcome.failed = {**unit.failed, **outcome.failed}
        outcome.notes = list(dict.fromkeys(outcome.notes))[:MOST_NOTES]
        self._record(unit, outcome)
        return outcome

    def _record(self, unit: Unit, outcome: Outcome) -> None:
        write_record(self._units / f"{unit.name}.json", {"digest": unit.digest, **asdict(outcome)})

    def sweep(self) -> None:
        """Remove what workers that were killed had begun to write."""
        for folder in (self.folder, self._units):
            if isinstance(folder, Path):
                remove_unfinished(folder, again=True)

    def refuse_strangers(self, names: set[str]) -> None:
        """See that there are records of these units alone.

        Raises:
            DataError: there are others, as where the input has become less.
        """
        others = [name for name in stems(self._units, ".json") if name not in names]
        if others and not self._again:
            raise DataError(
                f"{self.folder} holds {len(others)} results that the input has no items for, {others[0]} among them; "
                "it was longer before. Choose another folder, or delete that one to begin anew"
            )

    def write_failed(self, failed: Mapping[str, str]) -> None:
        """Leave the list of items that failed, or none where none did."""
        path = self.folder / FAILED
        if not failed:
            remove(path)
            return
        told = io.StringIO(newline="")
        csv.writer(told).writerows([("item", "reason"), *failed.items()])
        write_whole(path, told.getvalue().encode("utf-8", UNENCODABLE))


def _as_json(value: Any) -> Any:
    """A value as JSON gives it back."""
    if isinstance(value, Mapping):
        return {str(name): _as_json(inner) for name, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, (list, tuple)) else value
