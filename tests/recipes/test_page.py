"""The functions behind the page to try: bounds, columns, downloads, results of series, and the processes that work."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from recipes.page import examples, series, tables, work
from recipes.page.limits import Limits
from recipes.page.requests import (
    NO_ID,
    WIDE,
    Columns,
    SeriesRequest,
    SeriesResult,
    SoundRequest,
    TableRequest,
    Task,
)
from shared.errors import DataError, DiffusionError
from tests.conftest import ROOT
from tests.recipes import page_work

LIMITS = Limits()


ROWS = 600


def quiet(share: float, what: str) -> None:
    """Nobody is told."""


def table_of(text: str) -> pd.DataFrame:
    return tables.read_table(TableRequest(None, pasted=text), LIMITS)


# Tables


def test_a_pasted_table_may_have_decimal_commas() -> None:
    pasted = table_of("Datum;Umsatz\n01.02.2024;1.000,5\n02.02.2024;3\n")
    assert pasted["Umsatz"].tolist() == [1000.5, 3.0]
    assert tables.find_columns(pasted) == Columns(NO_ID, "Datum", "Umsatz")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("item_id,timestamp,target\na,2024-01-01,1\na,2024-01-02,2\n", Columns("item_id", "timestamp", "target")),
        ("shop,day,sold\nx,2024-01-01,1\nx,2024-01-02,2\n", Columns("shop", "day", "sold")),
        ("sold;day;shop\n1;2024-01-01;x\n2;2024-01-02;x\n", Columns("shop", "day", "sold")),
        ("day\tsold\n2024-01-01\t1\n2024-01-02\t2\n", Columns(NO_ID, "day", "sold")),
        ("day\tnorth\tsouth\n2024-01-01\t1\t3\n2024-01-02\t2\t4\n", Columns(NO_ID, "day", WIDE)),
        ("ds,y\n2024-01-01,1\n2024-01-02,2\n", Columns(NO_ID, "ds", "y")),
        ("date,north,south\n2024-01-01,1,2\n2024-01-02,3,4\n", Columns(NO_ID, "date", WIDE)),
        ("shop,day,sold,price\nx,2024-01-01,1,7\nx,2024-01-02,2,8\n", Columns("shop", "day", "sold")),
        (
            "day,sold,shop\n2024-01-01,5,1\n2024-01-01,6,2\n2024-01-02,7,1\n2024-01-02,8,2\n",
            Columns("shop", "day", "sold"),
        ),
        ("day,sold,price\n2024-01-01,5,1.5\n2024-01-01,5,2.5\n", Columns(NO_ID, "day", WIDE)),
    ],
)
def test_columns_are_found(text: str, columns: Columns) -> None:
    assert tables.find_columns(table_of(text)) == columns


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "paste CSV with a header line"),
        ("a,b\n", "has no rows"),
        ('a,b\n"1,2\n', "cannot be read as a table"),
        ("a,b\n1,2\n3,4\n", "no column of timestamps"),
        ("time,name\n2024-01-01,x\n2024-01-02,y\n", "no column of values"),
    ],
)
def test_tables_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        tables.find_columns(table_of(text))


def test_no_cell_of_a_download_is_a_formula(tmp_path: Path) -> None:
    hostile = ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "a\r=1", "＝1", "  =1", "fine"]
    frame = pd.DataFrame({"=HYPERLINK()": hostile, "value": [-1.5, *range(8)]})
    with open(tables.write_download(tmp_path / "a.csv", frame), newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["'=HYPERLINK()", "value"]
    cells = [row[0] for row in rows[1:]]
    assert cells == [
        "'=1+1",
        "'+cmd",
        "'-2+3",
        "'@SUM(A1)",
        "' =1",
        "a =1",
        "'＝1",
        "'  =1",
        "fine",
    ]
    assert float(rows[1][1]) == -1.5, "numbers stay numbers"
    assert frame["=HYPERLINK()"].tolist() == hostile


def test_a_table_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSDIFF_MAX_BYTES", str(1 << 20))
    bomb = tmp_path / "bomb.csv.gz"
    bomb.write_bytes(gzip.compress(b"time,y\n" + b"2024-01-01,1\n" * 200_000))
    with pytest.raises(DataError, match="unpacks to more than"):
        tables.read_table(TableRequest(bomb, bomb.name), LIMITS)


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    small = replace(LIMITS, rows=5, upload_bytes=200, pasted=60)
    rows = "".join(f"2024-01-0{day},{day}\n" for day in range(1, 7))
    with pytest.raises(DataError, match="6 rows, and this page takes 5"):
        tables.read_table(TableRequest(None, pasted=f"day,y\n{rows}"), replace(small, pasted=200))
    with pytest.raises(DataError, match="characters were pasted, more than 60"):
        tables.read_table(TableRequest(None, pasted=f"day,y\n{rows}"), small)
    path = tmp_path / "a.csv"
    path.write_text(rows * 10)
    with pytest.raises(DataError, match=r"a\.csv has 0 MB, and this page takes 0"):
        tables.read_table(TableRequest(path, "a.csv"), small)


# Series


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> TableRequest:
    """The example's table, shorter."""
    path = tmp_path_factory.mktemp("table") / "load.csv"
    examples.load_table(ROWS).to_csv(path, index=False)
    return TableRequest(path, path.name)


def ask(load: TableRequest, task: Task, folder: Path, **changes: object) -> SeriesResult:
    request = SeriesRequest(task, load, Columns("region", "hour", "megawatts"))
    return series.work_on(replace(request, **changes), folder, quiet, LIMITS)  # type: ignore[arg-type]


def is_picture(path: Path) -> bool:
    """Whether it is a PNG with something drawn on it."""
    with Image.open(path) as image:
        return image.format == "PNG" and np.ptp(np.asarray(image.convert("L"))) > 100


def test_forecasts(load: TableRequest, tmp_path: Path) -> None:
    made = ask(load, "forecast", tmp_path, horizon=30)
    table = pd.read_csv(made.download, parse_dates=["hour"])
    assert list(table.columns) == ["region", "hour", "mean", "0.05", "0.25", "0.5", "0.75", "0.95"]
    assert len(table) == 30
    last = examples.load_table(ROWS)["hour"].iloc[-1]
    assert table["hour"].iloc[0] == last + pd.Timedelta(hours=1)
    levels = table[["0.05", "0.25", "0.5", "0.75", "0.95"]].to_numpy()
    assert (np.diff(levels, axis=1) >= 0).all()
    assert is_picture(made.picture)
    assert made.about == "one series of 600 steps, 30 steps ahead of frequency h"


def test_gaps_are_filled_and_nothing_else_is_changed(load: TableRequest, tmp_path: Path) -> None:
    made = ask(load, "fill", tmp_path)
    table, given = pd.read_csv(made.download), examples.load_table(ROWS)
    gap = given["megawatts"].isna()
    assert table["imputed"].tolist() == gap.tolist()
    assert table["mean"].notna().all()
    assert np.allclose(table.loc[~gap, "mean"], given.loc[~gap, "megawatts"], rtol=1e-5)
    assert made.shown["imputed"].head(24).all()
    assert is_picture(made.picture)
    whole = TableRequest(None, pasted=given[~gap].tail(100).to_csv(index=False))
    with pytest.raises(DataError, match="nothing to fill"):
        ask(whole, "fill", tmp_path)


def test_ids_of_the_column_that_is_chosen_are_as_they_are_written(load: TableRequest, tmp_path: Path) -> None:
    text = examples.load_table(ROWS).assign(region="007").to_csv(index=False)
    dropped = tmp_path / "dropped.csv"
    dropped.write_text(text)
    for table in (TableRequest(None, pasted=text), TableRequest(dropped, dropped.name)):
        made = ask(table, "anomalies", tmp_path)
        assert pd.read_csv(made.download, dtype=str)["region"].unique().tolist() == ["007"]


@pytest.mark.parametrize("task", ["fill", "anomalies"])
def test_only_forecasts_need_a_horizon(load: TableRequest, tmp_path: Path, task: Task) -> None:
    """As where the field of steps to forecast is empty, or holds more than the page forecasts."""
    tables = []
    for horizon in (0, 501, 24):
        tables.append(pd.read_csv(ask(load, task, tmp_path, horizon=horizon).download))
    pd.testing.assert_frame_equal(tables[0], tables[2])
    pd.testing.assert_frame_equal(tables[1], tables[2])


@pytest.mark.slow
def test_the_hour_that_was_misread_is_the_strangest(load: TableRequest, tmp_path: Path) -> None:
    made = ask(load, "anomalies", tmp_path)
    assert made.shown.index[0] == 3 * ROWS // 4
    assert len(pd.read_csv(made.download)) == ROWS
    assert is_picture(made.picture)


def test_series_in_columns_of_their_own(tmp_path: Path) -> None:
    times = pd.date_range("2024-01-01", periods=40, freq="D")
    wide = pd.DataFrame({"day": times, "=1+1": np.arange(40.0) % 7, "b": 5.0})
    table = TableRequest(None, pasted=wide.to_csv(index=False))
    found = tables.look(table, tmp_path, quiet, LIMITS)
    assert found.found == Columns(NO_ID, "day", WIDE)
    assert found.about == "40 rows, 3 columns"
    assert found.found is not None
    made = ask(table, "forecast", tmp_path, columns=found.found, horizon=7)
    assert pd.read_csv(made.download)["item_id"].tolist() == ["'=1+1"] * 7 + ["b"] * 7


def test_many_series_in_columns_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = ",".join(["day", *(f"s{place}" for place in range(51))])
    rows = "".join(f"2024-01-{day:02}{',1' * 51}\n" for day in range(1, 11))
    table = TableRequest(None, pasted=f"{wide}\n{rows}")
    monkeypatch.delattr(series, "read_frame")
    with pytest.raises(DataError, match="the table has 51 series, and this page takes 50"):
        ask(table, "forecast", tmp_path, columns=Columns(NO_ID, "day", WIDE))


def test_a_row_is_counted_as_one(tmp_path: Path) -> None:
    table = TableRequest(None, pasted="day,sold\n2024-01-01,1\n")
    assert tables.look(table, tmp_path, quiet, LIMITS).about == "1 row, 2 columns"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"horizon": 501}, "this page forecasts 500 steps at most"),
        ({"horizon": 0}, "horizon"),
        ({"freq": "fortnight"}, "fortnight"),
        ({"columns": Columns("region", "hour", "euros")}, "no column 'euros'"),
        ({"columns": Columns("region", "megawatts", "megawatts")}, "megawatts"),
        ({"task": "guess"}, "this page does forecast, fill, anomalies"),
    ],
)
def test_requests_that_cannot_be_are_refused(
    load: TableRequest, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(DiffusionError, match=said):
        ask(load, **{"task": "forecast", "folder": tmp_path, **changes})  # type: ignore[arg-type]


# Processes


def test_messages_name_the_file_as_its_sender_does(tmp_path: Path) -> None:
    hidden = tmp_path / "abc.wav"
    hidden.write_text("no sound")
    with pytest.raises(DataError, match=r"^talk\.wav is not audio"):
        work.perform(SoundRequest(hidden, "talk.wav"), tmp_path, LIMITS)
    soundfile.write(hidden, np.zeros((1000, 6)), 16_000)
    with pytest.raises(DataError, match=r"^talk-enhanced\.mp3: MP3 .* 6 channels .*\.flac$"):
        work.perform(SoundRequest(hidden, "talk.mp3"), tmp_path, LIMITS)


@pytest.mark.parametrize("task", ["forecast", "fill", "anomalies"])
def test_notes_come_with_the_result(task: Task, tmp_path: Path) -> None:
    rows = "".join(f"2024-01-{day:02},a,{day % 7}\n2024-01-{day:02},b,\n" for day in range(1, 31) if day != 9)
    table = TableRequest(None, pasted=f"day,shop,sold\n{rows}")
    request = SeriesRequest(task, table, Columns("shop", "day", "sold"), 3)
    made = work.perform(request, tmp_path, LIMITS)
    for told in ("series 'a': 1 gap filled as missing", "series 'b' left out: no observed value"):
        assert made.notes.count(told) == 1


def test_a_change_of_the_clocks_near_a_gap_is_told(tmp_path: Path) -> None:
    hours = pd.date_range("2024-03-29", periods=96, freq="h", tz="Europe/Berlin").delete(slice(50, 54))
    frame = pd.DataFrame({"hour": hours, "load": np.arange(92.0) % 24})
    path = tmp_path / "load.parquet"
    frame.to_parquet(path)
    request = SeriesRequest("fill", TableRequest(path, path.name), Columns(NO_ID, "hour", "load"), 3)
    assert any("the clocks of Europe/Berlin change" in note for note in work.perform(request, tmp_path, LIMITS).notes)


@pytest.fixture
def bare_desk(tmp_path: Path) -> Iterator[work.Desk]:
    """One whose processes load nothing."""
    with work.open_desk(tmp_path / "home", replace(LIMITS, job_seconds=1.0), first=page_work.begin) as desk:
        yield desk


def test_work_that_takes_too_long_or_dies_is_told_and_the_next_goes_on(bare_desk: work.Desk) -> None:
    for name, said in (("slow", "slow takes more than 1 s of work"), ("dies", "dies cannot be worked on")):
        with pytest.raises(DataError, match=said):
            bare_desk.run(page_work.Misbehaviour(name), quiet)
    assert bare_desk.run(page_work.Misbehaviour("none"), quiet).about == "done"
    with pytest.raises(DataError, match="no such file was sent"):
        bare_desk.look(TableRequest(Path("/etc/passwd"), "passwd"), quiet)


def test_what_is_old_is_removed_and_the_rest_at_the_end(bare_desk: work.Desk) -> None:
    kept = bare_desk.folder() / "new"
    old = bare_desk.uploads / "hash" / "old.wav"
    old.parent.mkdir()
    for path in (kept, old):
        path.write_text("x")
    for path in (old, old.parent):
        os.utime(path, (1, 1))
    assert bare_desk.sweep() == 1
    assert kept.exists()
    assert not old.parent.exists()
    assert bare_desk.uploads.is_dir()
    with pytest.raises(DataError, match=r"old\.wav is no longer here.*after 30 minutes; send it again"):
        bare_desk.enhance(SoundRequest(old, "old.wav"), quiet)
    bare_desk.close()
    assert not bare_desk.home.exists()


def test_a_process_that_is_stopped_leaves_no_semaphore() -> None:
    code = (
        "import multiprocessing; multiprocessing.set_start_method('spawn')\n"  # as in a process of the desk
        "from recipes.page.work import leave_no_semaphore; leave_no_semaphore()\n"
        "from shared.console.progress import bar; bar(1, 'work', 's', show=False)\n"
        "import os; os._exit(0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stderr == ""


def test_work_ends_where_the_page_is_stopped(bare_desk: work.Desk) -> None:
    begun = threading.Event()
    closing = threading.Thread(target=lambda: begun.wait() and bare_desk.close())
    closing.start()
    with pytest.raises(DataError, match="slow: this page was stopped"):
        bare_desk.run(page_work.Misbehaviour("slow"), lambda share, what: begun.set())
    closing.join()
