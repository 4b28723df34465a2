"""Tables as spreadsheets and offices write them: other separators, decimal commas, encodings, names of columns."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from tsdiff.data import load_dataset
from tsdiff.data.frames import load_table
from tsdiff.data.tables import parsed_csv
from tsdiff.predictor import TSDiffPredictor

DAYS = pd.date_range("2024-01-01", periods=12, freq="D")
SOLD = 1000.0 + np.arange(12.0) / 4


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def german(value: float) -> str:
    """1234.5 as 1.234,5."""
    whole, _, part = f"{value:,.2f}".partition(".")
    return f"{whole.replace(',', '.')},{part}"


@pytest.mark.parametrize("mark", [",", ";"])
def test_a_table_without_a_header_is_told(tmp_path: Path, mark: str, recwarn: pytest.WarningsRecorder) -> None:
    rows = "\n".join(f"{day:%Y-%m-%d}{mark}{value:.2f}" for day, value in zip(DAYS, SOLD, strict=True))
    with pytest.warns(UserWarning, match=r"no names of columns but '2024-01-01', '1000\.00': .* put a line of names"):
        load_table(written(tmp_path / "a.csv", rows))
    for names in ("day,2024", "id,2024-01-01", "2023,2024", "Q1 2024,x"):
        load_table(written(tmp_path / "b.csv", f"{names}\n2024-01-01,1\n"))
    assert not [one for one in recwarn if "no names of columns" in str(one.message)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_an_export_with_decimal_commas_is_the_table(tmp_path: Path, mark: str, encoding: str) -> None:
    """Dates with points have the day first, even where no day is above 12; thousands are parted by points."""
    rows = [f"{day:%d.%m.%Y}{mark}{german(value)}" for day, value in zip(DAYS, SOLD, strict=True)]
    path = written(tmp_path / "a.csv", "\n".join([f"Datum{mark}Erlöse", *rows]), encoding)
    if encoding == "utf-16" and mark == "|":
        path = written(tmp_path / "a.csv", "\r\n".join([f"Datum{mark}Erlöse", *rows]), encoding)
    (entry,) = load_dataset(path)
    assert entry["item_id"] == "Erlöse"
    assert entry["start"] == pd.Period("2024-01-01", "D")
    np.testing.assert_array_equal(entry["target"], SOLD)


def test_commas_separate_where_both_lines_have_as_many(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'date,"a;b"\n2024-01-01,1.5\n2024-01-02,2.5\n2024-01-03,3\n')
    (entry,) = load_dataset(path)
    assert entry["item_id"] == "a;b"
    path = written(tmp_path / "b.csv", "date;net, in euros\n2024-01-01;1,5\n2024-01-02;2\n2024-01-03;-3,25\n")
    (entry,) = load_dataset(path)
    assert (entry["item_id"], entry["target"].tolist()) == ("net, in euros", [1.5, 2.0, -3.25])


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\ufeffSEP=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_first_line_may_tell_the_separator(tmp_path: Path, first: str, end: str) -> None:
    text = end.join([first, "shop;date;net, in euros", *(f"007;{day:%Y-%m-%d};1,5" for day in DAYS), ""])
    (entry,) = load_dataset(written(tmp_path / "a.csv", text), item_id="shop")
    assert (entry["item_id"], entry["target"].tolist()) == ("007", [1.5] * len(DAYS))


def test_texts_that_are_no_numbers_stay_texts(tmp_path: Path) -> None:
    frame = load_table(written(tmp_path / "a.csv", "id;note;x\n1,2,3;3;1.234\n4;5,5;2,5\n"))
    assert frame["id"].tolist() == ["1,2,3", "4"]
    assert frame["note"].tolist() == [3.0, 5.5]
    assert frame["x"].tolist() == [1234.0, 2.5]


@pytest.mark.parametrize(
    ("mark", "texts", "values"),
    [
        (",", ["1,200", "-12,345,678.5", "0.25", "999"], [1200, -12345678.5, 0.25, 999]),
        (",", ["12 %", "3.5%", "-1 %", "100%"], [12, 3.5, -1, 100]),
        (",", ["$1,200.50", "-$3.00", "$0.99", "$7"], [1200.5, -3, 0.99, 7]),
        (",", ["1 200", "12\u00a0345.5", "7", "-1\u202f000\u202f000"], [1200, 12345.5, 7, -1000000]),
        (";", ["1.200,50 €", "3 €", "-0,5 €", "12 €"], [1200.5, 3, -0.5, 12]),
        (";", ["1\u202f200,50", "3", "-0,5", "12"], [1200.5, 3, -0.5, 12]),
        (";", ["12 %", "3 %", "-1 %", "100 %"], [12, 3, -1, 100]),
    ],
)
def test_numbers_as_people_write_them_are_read_and_told(tmp_path: Path, mark: str, texts: list, values: list) -> None:
    rows = [f"{day:%Y-%m-%d}{mark}" + f'"{text}"' for day, text in zip(DAYS, texts, strict=False)]
    path = written(tmp_path / "a.csv", "\n".join([f"day{mark}sold", *rows]))
    if mark == "," or any(sign in texts[0] for sign in "%€\u202f"):
        shown = re.escape(" ".join(texts[0].split()))
        with pytest.warns(UserWarning, match=rf"column 'sold': '{shown}' is read as {values[0]:g}"):
            (entry,) = load_dataset(path)
    else:
        (entry,) = load_dataset(path)
    np.testing.assert_array_equal(entry["target"], values)


@pytest.mark.parametrize(
    ("mark", "texts"),
    [
        (",", ["0,125", "1,250"]),  # decimals, by the first
        (",", ["1,5", "2,25"]),
        (",", ["1,200", "n/a?"]),
        (",", ["12 %", "12"]),
        (",", ["$5", "€5"]),
        (",", ["12%%", "3%%"]),
        (";", ["1.200 €", "3.500 €"]),  # nothing says whether points part thousands
        (",", ["555 1234", "555 0199"]),
        (",", ["2024 001", "2023 002"]),
        (",", ["(1)", "(2)"]),  # marks of notes
    ],
)
def test_numbers_that_could_be_others_stay_texts(tmp_path: Path, mark: str, texts: list[str]) -> None:
    frame = load_table(written(tmp_path / "a.csv", f"id{mark}x\n" + "".join(f'1{mark}"{one}"\n' for one in texts)))
    assert frame["x"].tolist() == texts


@pytest.mark.parametrize(
    ("rows", "values", "told"),
    [
        (["1.000;3,5", "950;3", "12.500;2"], [1000, 950, 12500], "'1.000' is read as 1000, .* decimal commas"),
        (["1.000;1", ";2", "0;3"], [1, np.nan, 0], "'1.000' is read as 1, .* if points part thousands"),
        (["1.000;3,5", "950;1.5", "12.500;2"], [1, 950, 12.5], "'1.000' is read as 1, "),
        (["1.000;0.5", "950;3", "12.500;2"], [1, 950, 12.5], None),  # decimal points, as beside it
        (["1.000;3,5", "0.950;3", "12.500;2"], [1, 0.95, 12.5], None),
        (["1.000;3,5", "1950;3", "12.500;2"], [1, 1950, 12.5], None),
        (["1.000;1", "1.234.567;2", "3;3"], [1000, 1234567, 3], None),
    ],
)
def test_points_that_part_thousands_are_told_from_decimal_ones(
    tmp_path: Path, rows: list[str], values: list[float], told: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    text = "\n".join(["sold;price", *rows])
    np.testing.assert_array_equal(load_table(written(tmp_path / "a.csv", text))["sold"], values)
    np.testing.assert_array_equal(parsed_csv(io.StringIO(text), text.encode().split(b"\n"))["sold"], values)
    notes = [str(one.message) for one in recwarn]
    assert len(notes) == (0 if told is None else 2)
    assert all(re.search(f"column 'sold': {told}", note) for note in notes)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_without_its_mark(tmp_path: Path, encoding: str) -> None:
    rows = "".join(f"{day:%Y-%m-%d};{place},5\n" for place, day in enumerate(DAYS))
    (entry,) = load_dataset(written(tmp_path / "a.csv", "День;Продано\n" + rows, encoding))
    assert (entry["item_id"], entry["target"].tolist()) == ("Продано", (np.arange(12) + 0.5).tolist())


@pytest.mark.parametrize(
    ("mark", "texts", "values", "told"),
    [
        (
            ",",
            ["1,200", "(300)", "(4,000.5)", "7"],
            [1200, -300, -4000.5, 7],
            "'1,200' is read as 1200, '(300)' .* -300",
        ),
        (",", ["($300)", "$4"], [-300, 4], "'($300)' is read as -300, and"),
        (";", ["3", "(300,5)"], [3, -300.5], "'3' is read as 3, '(300,5)' is read as -300.5"),
    ],
)
def test_numbers_in_parentheses_are_negative(
    tmp_path: Path, mark: str, texts: list[str], values: list[float], told: str
) -> None:
    rows = [f'{place}{mark}"{text}"\n' for place, text in enumerate(texts)]
    path = written(tmp_path / "a.csv", f"n{mark}profit\n" + "".join(rows))
    with pytest.warns(UserWarning, match=re.escape(f"column 'profit': {told}").replace(r"\.\*", ".*")):
        np.testing.assert_array_equal(load_table(path)["profit"], values)


def test_ids_that_look_like_numbers_stay_as_they_are_or_are_told(tmp_path: Path) -> None:
    rows = "".join(f"110 001;{day:%Y-%m-%d};{place},5\n" for place, day in enumerate(DAYS[:4]))
    (entry,) = load_dataset(written(tmp_path / "a.csv", "item_id;day;sold\n" + rows))
    assert entry["item_id"] == "110 001"
    with pytest.warns(UserWarning, match="column 'shop': '110 001' is read as 110001"):
        (entry,) = load_dataset(written(tmp_path / "a.csv", "shop;day;sold\n" + rows), item_id="shop", target="sold")
    assert entry["item_id"] == "110001"


@pytest.mark.parametrize("packed", [False, True])
def test_tables_parted_by_tabs_may_be_called_so(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("a.tsv.gz" if packed else "a.tsv")
    pd.DataFrame({"day": DAYS, "sold": SOLD}).to_csv(path, sep="\t", index=False)
    (entry,) = load_dataset(path)
    np.testing.assert_array_equal(entry["target"], SOLD)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-1e9, 1e9).map(lambda value: round(value, 2)), min_size=2, max_size=9))
def test_decimal_commas_are_the_numbers_that_were_written(tmp_path_factory, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("numbers") / "a.csv"
    written(path, "\n".join(["n;x", *(f"{place};{german(value)}" for place, value in enumerate(values))]))
    np.testing.assert_array_equal(load_table(path)["x"], np.array(values))


@pytest.mark.parametrize(
    ("times", "freq"),
    [
        ([f"2023-{month:02d}" for month in range(1, 13)], "M"),
        ([f"{2020 + n // 4}Q{n % 4 + 1}" for n in range(12)], "Q-DEC"),
        ([f"{2020 + n // 4}-q{n % 4 + 1}" for n in range(12)], "Q-DEC"),
        ([f"{day:%Y/%m/%d}" for day in DAYS], "D"),
        (DAYS, "D"),
        (DAYS.to_period("D"), "D"),
    ],
)
def test_the_only_column_of_dates_holds_the_times(times, freq: str) -> None:
    for frame in (pd.DataFrame({"when": times, "sold": SOLD}), pd.DataFrame({"sold": SOLD, "when": times})):
        series = load_dataset(frame)
        assert (series.freq, series[0]["item_id"], len(series[0]["target"])) == (freq, "sold", 12)
        assert series.origin.timestamp == "when"


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%m.%d.%Y", "%d/%m/%Y", "%m-%d-%Y"])
def test_the_order_of_day_and_month_follows_from_days_above_12(form: str) -> None:
    days = pd.date_range("2024-02-01", periods=29, freq="D")
    series = load_dataset(pd.DataFrame({"when": days.strftime(form), "sold": np.arange(29.0)}))
    assert (series.freq, series[0]["start"]) == ("D", pd.Period("2024-02-01", "D"))


def test_years_may_be_numbers() -> None:
    series = load_dataset(pd.DataFrame({"Year": range(1990, 2002), "people": SOLD}))
    assert (series.freq, series[0]["start"]) == ("Y-DEC", pd.Period("1990", "Y"))
    with pytest.raises(DataError, match="no column of timestamps"):
        load_dataset(pd.DataFrame({"year": [2020] * 12, "month": range(1, 13), "people": SOLD}))
    with pytest.raises(DataError, match="holds numbers"):
        load_dataset(pd.DataFrame({"year": range(12), "people": SOLD}))


@pytest.mark.parametrize("format", ["%Y", "%Y.%m", "%Y%m", "%Y%m%d", "s", "ms"])
def test_times_that_are_numbers_are_told_a_call_that_reads_them(format) -> None:
    days = pd.date_range("2020-01-01", periods=12, freq="YS")
    numbers = days.strftime(format).astype(float) if "%" in format else days.as_unit(format).asi8
    df = pd.DataFrame({"time": numbers, "sold": SOLD})
    with pytest.raises(DataError, match="holds numbers") as caught:
        load_dataset(df)
    read = eval(str(caught.value).rpartition("with ")[2], {"pd": pd, "df": df})  # as its reader would
    assert list(read) == list(days)


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%b-%y", "%Y", "dates", "years"])
@pytest.mark.parametrize("named", ["column", "index", "no name"])
def test_a_table_with_a_column_for_each_time_is_told_how_to_be_turned(form: str, named: str) -> None:
    """As of page views or countries: the names of all columns were told, and to name that of the times."""
    times = pd.date_range("2012-01-01", periods=12, freq={"%Y": "YS", "years": "YS", "%b-%y": "MS"}.get(form, "D"))
    columns = {"dates": times, "years": times.year}.get(form, times.strftime(form))
    df = pd.DataFrame([SOLD, 2 * SOLD], columns=columns, index=pd.Index(["x", "y"], name="shop"))
    if named != "index":
        df = df.reset_index() if named == "column" else df.rename_axis(None)
    with pytest.raises(DataError, match=r"its columns are times .*, and its rows series") as caught:
        load_dataset(df)
    turned = eval(str(caught.value).rpartition("in pandas, ")[2], {"df": df})  # as its reader would
    series = load_dataset(turned)
    assert [entry["item_id"] for entry in series] == ["x", "y"]
    assert series[0]["start"] == pd.Period(times[0], freq=series.freq)
    np.testing.assert_array_equal(series[1]["target"], 2 * SOLD)


@pytest.mark.parametrize("name", [None, "Datum"])
def test_an_index_of_texts_or_date_objects_may_be_the_times(name: str | None) -> None:
    for times in (DAYS.strftime("%Y-%m-%d"), DAYS.date):
        frame = pd.DataFrame({"a": SOLD, "b": SOLD}, index=pd.Index(times, name=name))
        series = load_dataset(frame)
        assert (series.freq, series[0]["start"], len(series)) == ("D", pd.Period(DAYS[0], "D"), 2)
        assert load_dataset(frame[["a"]].reset_index(names="when"))[0]["start"] == pd.Period(DAYS[0], "D")


def test_two_columns_of_dates_have_to_be_told_apart() -> None:
    frame = pd.DataFrame({"ordered": DAYS, "sent": DAYS, "sold": SOLD})
    told = r"no column of timestamps.*name the column.*timestamp_column.*--time.*'ordered', 'sent', 'sold'.*'sent' hold"
    with pytest.raises(DataError, match=told):
        load_dataset(frame)
    assert load_dataset(frame, timestamp="sent").origin.timestamp == "sent"
    with pytest.raises(DataError, match="no column of timestamps"):
        load_dataset(pd.DataFrame([["2024-01-01", "2024-01-02", 1.0]] * 3, columns=["x", "x", "y"]))


def test_the_only_numbers_beside_ids_are_the_values() -> None:
    frame = pd.DataFrame({"item_id": np.repeat(["a", "b"], 12), "day": [*DAYS] * 2, "sold": [*SOLD] * 2})
    assert [entry["target"].tolist() for entry in load_dataset(frame)] == [SOLD.tolist()] * 2
    both = frame.assign(price=1.0)
    with pytest.raises(DataError, match=r"no column 'target'.*'price'; name that of the values.*--target"):
        load_dataset(both)
    assert load_dataset(both, dynamic=["price"])[0]["target"].tolist() == SOLD.tolist()


@pytest.mark.parametrize("cell", ["closed", "-", "$1,200.00", "12 %"])
def test_a_cell_that_is_no_number_is_named_in_the_only_column_of_values(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    pd.DataFrame({"day": DAYS, "sold": [*map(str, SOLD[:7]), cell, *map(str, SOLD[8:])]}).to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"'sold' is not numeric: row 7 holds '{re.escape(cell)}'"):
        load_dataset(path)
    with pytest.raises(DataError, match=rf"row 7 holds '{re.escape(cell)}'"):
        TSDiffPredictor.from_pretrained("default").predict_df(pd.read_csv(path), prediction_length=3)


def test_the_cell_at_fault_is_named_among_numbers_as_people_write_them(tmp_path: Path) -> None:
    rows = "".join(f'{day:%Y-%m-%d},"{cell}"\n' for day, cell in zip(DAYS, ["1,200", "(300)", "-", "5"], strict=False))
    with pytest.raises(DataError, match="row 2 holds '-'"):
        load_dataset(written(tmp_path / "a.csv", "day,sold\n" + rows))


def test_names_are_no_values() -> None:
    with pytest.raises(DataError, match="no column 'target'"):
        load_dataset(pd.DataFrame({"day": DAYS, "who": ["shop"] * len(DAYS)}))


def tall(ids: tuple[str, str], header: str = "item_id") -> str:
    """A table of two series, in CSV."""
    rows = [f"{name},{day:%Y-%m-%d},{value}" for name in ids for day, value in zip(DAYS, SOLD, strict=True)]
    return "\n".join([f"{header},timestamp,target", *rows])


@pytest.mark.parametrize(
    "ids", [("DE", "NA"), ("None", "some"), ("007", "010"), ("7", "07"), ("1.1", "1.10"), ("7", "NA"), ("NA", "null")]
)
def test_ids_are_as_they_are_written(tmp_path: Path, ids: tuple[str, str]) -> None:
    path = written(tmp_path / "a.csv", tall(ids))
    assert {entry["item_id"] for entry in load_dataset(path)} == set(ids)
    made = TSDiffPredictor.from_pretrained("default").predict_df(load_table(path), prediction_length=1, num_samples=2)
    assert set(made["item_id"]) == set(ids)


@pytest.mark.parametrize("ids", [("007", "010"), ("1.10", "2.20"), ("7", "07"), ("007", "NA")])
def test_ids_of_a_column_that_is_named_are_as_they_are_written(tmp_path: Path, ids: tuple[str, str]) -> None:
    path = written(tmp_path / "a.csv", tall(ids, "shop"))
    assert {entry["item_id"] for entry in load_dataset(path, item_id="shop")} == set(ids)
    assert set(load_table(path, "shop")["shop"]) == set(ids)


def test_ids_that_are_numbers_stay_numbers(tmp_path: Path) -> None:
    assert load_table(written(tmp_path / "a.csv", tall(("7", " 12"))))["item_id"].unique().tolist() == [7, 12]


def test_a_word_that_pandas_takes_for_missing_is_a_category(tmp_path: Path) -> None:
    text = "\n".join(
        f"{line},{kind}"
        for line, kind in zip(tall(("a", "b")).split("\n"), ["kind"] + 12 * ["NA"] + 12 * ["EU"], strict=True)
    )
    assert load_dataset(written(tmp_path / "a.csv", text), static=["kind"]).vocabulary == {"kind": ("EU", "NA")}


@pytest.mark.parametrize("other", ["a", "7", "NA"])
def test_an_empty_id_is_still_missing(tmp_path: Path, other: str) -> None:
    with pytest.raises(DataError, match="column 'item_id' has 12 missing item ids, the first in row 12"):
        load_dataset(written(tmp_path / "a.csv", tall((other, ""))))
