"""What is asked for and what comes of it: what the server and the processes that work hand each other.

Nothing here loads torch, so that the server does not either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    import pandas as pd

Tell = Callable[[float, str], None]
"""Told of progress: the share that is done, and what is being done."""

ModelName = Literal["default", "causal", "dereverb", "bandwidth", "default + causal"]
MODELS: tuple[ModelName, ...] = ("default", "causal", "dereverb", "bandwidth", "default + causal")
PAIR: ModelName = "default + causal"
"""The default with its companion: its best quality."""
RATES: dict[ModelName, int] = {"bandwidth": 48000}
"""Hz of the results of models that need room for what they add."""
LOUDNESS = ("as it comes", "keep", "-16", "-23")
"""What the page offers; any LUFS that `speech.audio.loudness.checked_goal` takes will do."""

Task = Literal["forecast", "fill", "anomalies"]
Example = Literal["noisy recording", "load"]

NO_ID, WIDE = "(one series)", "(every column is a series)"
"""What stands for no column of ids, and for no column of values."""


@dataclass(frozen=True)
class Request:
    """What a process is sent.

    Attributes:
        work: module and function that do it: (request, folder for results, `Tell`, `Limits`) → `Result`.
    """

    work: ClassVar[tuple[str, str]]

    @property
    def sent(self) -> tuple[Path | None, str]:
        """The file that was sent with it, if any, and what its sender calls that."""
        return None, ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a process sends back.

    Attributes:
        about: what was done, in a line.
        notes: what else there is to say.
    """

    about: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SoundRequest(Request):
    """A recording, and what to make of it.

    Attributes:
        source: the file.
        name: what its sender calls it.
        model: one that ships.
        mix: share of the enhanced signal in the result, 0 (dry) to 1.
        loudness: LUFS of the result, "keep" that of the recording, or `LOUDNESS[0]`.
    """

    work: ClassVar = (f"{__package__}.sound", "enhance")
    source: Path
    name: str
    model: ModelName = "default"
    mix: float = 1.0
    loudness: str = LOUDNESS[0]

    @property
    def sent(self) -> tuple[Path | None, str]:
        return self.source, self.name


@dataclass(frozen=True)
class SoundResult(Result):
    """What came of it.

    Attributes:
        before, after: FLAC that every browser plays, of two channels at most.
        result: the enhanced file, of the recording's own kind where that can be written.
        picture: both spectrograms, PNG.
    """

    before: Path
    after: Path
    result: Path
    picture: Path


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        item: of ids, or `NO_ID`.
        time: of timestamps.
        target: of values, or `WIDE`.
    """

    item: str
    time: str
    target: str


@dataclass(frozen=True)
class TableRequest(Request):
    """Where a table is.

    Attributes:
        source: the file; None where it was pasted.
        name: what its sender calls it.
        pasted: CSV.
    """

    work: ClassVar = (f"{__package__}.tables", "look")
    source: Path | None
    name: str = ""
    pasted: str = ""

    @property
    def sent(self) -> tuple[Path | None, str]:
        return self.source, self.name


@dataclass(frozen=True)
class TableLook(Result):
    """What a table has.

    Attributes:
        found: what its columns seem to be; None where that cannot be told, as `about` then says.
        columns: all of them.
    """

    found: Columns | None
    columns: list[str]


@dataclass(frozen=True)
class SeriesRequest(Request):
    """A table, what its columns are, and what to make of it.

    Attributes:
        task: forecast what comes after the end, fill the gaps, or score every step.
        table: where it is.
        columns: of the table.
        horizon: steps to forecast.
        freq: of the series, in any pandas spelling; "" finds it.
        share: of the steps that are pointed at as anomalies.
    """

    work: ClassVar = (f"{__package__}.series", "work_on")
    task: Task
    table: TableRequest
    columns: Columns
    horizon: int = 24
    freq: str = ""
    share: float = 0.01

    @property
    def sent(self) -> tuple[Path | None, str]:
        return self.table.sent


@dataclass(frozen=True)
class SeriesResult(Result):
    """What came of it.

    Attributes:
        picture: PNG.
        download: CSV of all of it.
        shown: its first rows.
    """

    picture: Path
    download: Path
    shown: pd.DataFrame


@dataclass(frozen=True)
class ExampleRequest(Request):
    """Something to try the page with.

    Attributes:
        which: what.
    """

    work: ClassVar = (f"{__package__}.examples", "make")
    which: Example


@dataclass(frozen=True)
class ExampleResult(Result):
    """It.

    Attributes:
        path: the file.
    """

    path: Path
