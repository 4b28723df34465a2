"""recipes/series_sets.py: how tables become families of series, what is left out and why, and what the table says."""

from __future__ import annotations

import csv
import gzip
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recipes.free_sources.families import MOST, entries_of, fingerprint, reason_against, straight
from recipes.free_sources.listing import read_listing
from recipes.free_sources.tables import TABLE, Checkout, Family, Source, finished, periods_of
from shared.errors import ConfigError, DataError
from tests.recipes.harness import Recipes
from tsdiff.data import load_folder

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
LONG = "shop,day,sold,price\n"
SOURCES = "#source\tshops+sales\tGitHub shops/sales\t{commit}\t2021-03-20\n"


def _line(name: str, paths: str, freq: str, horizon: int, split: str, layout: str) -> str:
    return f"{name}\tshops+sales\t{paths}\tCC0-1.0\tLICENSE\tsomebody\t{freq}\t{horizon}\t{split}\t{layout}\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Daily sales of shops, one of them closed, one copied in another currency; a wide table of months; totals."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "sources" / "shops+sales"
    (folder / "data").mkdir(parents=True)
    days = np.arange("2020-06-03", "2021-04-01", dtype="datetime64[D]")  # the last eleven are after the source's day
    rows = []
    for place, day in enumerate(days):
        sold, copied = 50 + int(rng.poisson(20)), place
        rows.append(f"a,{day},{sold},{rng.normal():.3f}")
        rows.append(f"b,{day},{2 * sold + 7},{rng.normal():.3f}")  # a, in another unit
        rows.append(f"shut,{day},0,{rng.normal():.3f}")
        rows.append(f"drawn,{day},{copied},{rng.normal():.3f}")  # with a ruler
    (folder / "data" / "long.csv").write_text(LONG + "\n".join(rows) + "\n", encoding="utf-8")
    months = ["year;" + ";".join(MONTHS)]
    months += [
        f"{year};" + ";".join(f"{value:.1f}".replace(".", ",") for value in rng.normal(9, 1, 12))
        for year in range(1990, 2021)
    ]
    (folder / "data" / "months.csv").write_text("\n".join(months) + "\n", encoding="utf-8")
    total = np.cumsum(rng.poisson(9, 40))
    total[20] -= 500  # a correction
    weeks = [f"2020-W{week + 1:02d},{value}" for week, value in enumerate(total)]
    with gzip.open(folder / "data" / "totals.csv.gz", "wt") as stream:
        stream.write("week,total\n" + "\n".join(weeks) + "\n")
    events = [f"{day},fall" for day in days for _ in range(int(rng.integers(0, 3)))]
    (folder / "data" / "events.csv").write_text("on,kind\n" + "\n".join(events) + "\n", encoding="utf-8")
    lines = [
        SOURCES.format(commit="0" * 40),
        "#source\tabsent\tGitHub nobody/absent\tabc\t2021-01-01\n",
        _line("sales", "data/long.csv", "D", 14, "train", "day\tshop\tsold\t"),
        _line("prices", "data/long.csv", "W", 2, "valid", "day\tshop\tprice\thow=sum; where=shop:a|b"),
        _line(
            "months",
            "data/months.csv",
            "M",
            12,
            "train",
            "year+melted:%Y-%b\t\tvalue\tsep=semicolon; decimal=,; melt=[A-Z]{3}",
        ),
        _line("totals", "data/totals.csv.gz", "W", 8, "train", "week:%G-W%V\t\t*\tdiff=1"),
        _line("events", "data/events.csv", "D", 14, "valid", "on\tkind\tcount\thow=count"),
        _line("gone", "data/gone.csv", "D", 14, "train", "on\tkind\tcount\t"),
        "far\tabsent\t*\tCC0-1.0\tLICENSE\tx\tD\t14\ttrain\tday\t\t*\t\n",
    ]
    (tmp_path / "table.tsv").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "sources"


def _series(folder: Path) -> dict[str, tuple[list[float], str]]:
    return {
        str(one["item_id"]): (np.round(one["target"], 3).tolist(), str(one["start"]))
        for one in load_folder(folder).train
    }


def test_tables_become_families_that_load_and_come_again(tmp_path: Path, sources: Path) -> None:
    recipes, table = Recipes(tmp_path), tmp_path / "table.tsv"
    made = [tmp_path / "first", tmp_path / "second"]
    for output in made:
        ran = recipes.run("series_sets", "--sources", sources, "--table", table, "--output", output)
        assert ran.code == 0, ran.said
        assert "train/sales: 1 series, 291 values; left out: 1 constant, 1 duplicate, 1 interpolated" in ran.said
        assert "gone: no series (no such file)" in ran.said
        assert "2 families are not there, the first: gone" in ran.said
        assert "5 families, " in ran.said
    names = ["train/months", "train/sales", "train/totals", "valid/events", "valid/prices"]
    for name in names:
        assert str(_series(made[0] / name)) == str(_series(made[1] / name))  # NaN is no NaN
    sales = load_folder(made[0] / "train/sales")
    assert (sales.freq, sales.prediction_length) == ("D", 14)
    assert sales.test is not None
    (short,), (whole,) = list(sales.train), list(sales.test)
    assert len(whole["target"]) == 291  # to 20 March: later days were not yet observed
    np.testing.assert_array_equal(short["target"], whole["target"][:-14])
    with open(made[0] / "SOURCES.tsv", encoding="utf-8", newline="") as stream:
        told = {row["folder"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert sorted(told) == names
    assert told["train/sales"]["got"] == "GitHub shops/sales at " + "0" * 40
    assert told["train/sales"]["licence"] == "CC0-1.0"


def test_layouts_are_read(tmp_path: Path, sources: Path) -> None:
    recipes, table, made = Recipes(tmp_path), tmp_path / "table.tsv", tmp_path / "made"
    ran = recipes.run("series_sets", "--sources", sources, "--table", table, "--output", made)
    assert ran.code == 0, ran.said
    rows = [row.split(",") for row in (sources / "shops+sales/data/long.csv").read_text().split()[1:]]
    week = [float(row[3]) for row in rows if row[0] == "a" and "2020-06-08" <= row[1] <= "2020-06-14"]
    values, start = _series(made / "valid/prices")["a/price"]
    assert start == "2020-06-08/2020-06-14"  # the first five days are no whole week
    assert values[0] == pytest.approx(sum(week), abs=1e-3)
    months = next(iter(load_folder(made / "train/months").test or []))
    assert str(months["start"]) == "1990-01"
    cells = (sources / "shops+sales/data/months.csv").read_text().split()[1].split(";")[1:]
    np.testing.assert_allclose(months["target"][:12], [float(cell.replace(",", ".")) for cell in cells], atol=1e-5)
    totals = next(iter(load_folder(made / "train/totals").test or []))["target"]
    assert np.isnan(totals[19])  # where the total was corrected
    assert np.nanmin(totals) >= 0
    events = next(iter(load_folder(made / "valid/events").test or []))
    assert str(events["start"]) == "2020-06-04"
    assert 0 in events["target"]


def test_a_clone_is_read_at_its_commit(tmp_path: Path, sources: Path) -> None:
    folder = sources / "shops+sales"
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    before = (folder / "data/long.csv").read_bytes()
    (folder / "data/long.csv").write_text("changed", encoding="utf-8")
    checkout = Checkout(folder, commit)
    assert checkout.matching("data/l*.csv|data/totals*") == ["data/long.csv", "data/totals.csv.gz"]
    assert checkout.read("data/long.csv") == before
    assert checkout.read("data/totals.csv.gz").startswith(b"week,total")
    with pytest.raises(DataError, match="git ls-tree"):
        Checkout(folder, "f" * 40)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.random.default_rng(0).normal(size=50), None),
        (np.random.default_rng(0).poisson(0.6, 80).astype(float), None),  # counts that stand still are no ruler's
        (np.random.default_rng(0).normal(size=23), "short"),
        (np.full(50, 3.0), "constant"),
        (np.where(np.arange(50) % 5 > 1, np.nan, np.random.default_rng(0).normal(size=50)), "missing"),
        (np.repeat(np.random.default_rng(0).normal(size=10), 5), "held"),
        (np.interp(np.arange(60), np.arange(0, 60, 6), np.random.default_rng(0).normal(size=10)), "interpolated"),
        (1e6 * 1.02 ** np.arange(40), "interpolated"),
    ],
)
def test_series_that_teach_nothing_are_left_out(values: np.ndarray, reason: str | None) -> None:
    assert reason_against(values, 8) == reason


def test_of_many_series_some_are_drawn_each_once(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=30, name="day")
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(30, MOST + 5)), days)
    table.to_csv(tmp_path / "wide.csv")
    family = Family("f", "s", "wide.csv", "", "", "", "D", "3", "train", "day", "", "*", "")
    found, left_out = entries_of(family, Checkout(tmp_path, ""), "2021-01-01", set(), 0)
    assert len({entry["item_id"] for entry in found}) == len(found) == MOST
    assert left_out == {"drawn from more": 5}


def test_periods_before_and_after_those_wanted_are_left_out() -> None:
    table = pd.DataFrame({"a": np.arange(10.0)}, pd.period_range("2020-01-01", periods=10, freq="D"))
    family = Family(*"xxxxxxxxxxxx", "from=2020-01-03; until=2020-01-08")
    assert finished(table, family, "2021-01-01")["a"].tolist() == [2, 3, 4, 5, 6, 7]


def test_what_is_straight_is_a_share_of_steps() -> None:
    values = np.cumsum(np.concatenate([np.ones(21), np.random.default_rng(0).normal(size=20)]))
    assert straight(values) == pytest.approx(19 / 39)


def test_units_and_levels_make_no_other_series() -> None:
    values = np.random.default_rng(0).normal(size=50)
    assert fingerprint(values) == fingerprint(1000 * values + 32)
    assert fingerprint(values) != fingerprint(values**2)


@pytest.mark.parametrize(
    ("text", "style", "freq", "period"),
    [
        ("2021-02-03", "", "D", "2021-02-03"),
        ("2021-02-03T23:50:00Z", "", "15min", "2021-02-03 23:45"),
        ("2020-W53", "%G-W%V", "W-SUN", "2020-12-28/2021-01-03"),
        ("1959-4.0", "Q", "Q-DEC", "1959Q4"),
        ("1959Q1", "Q", "Q-DEC", "1959Q1"),
        ("1984 (est.)", "%Y", "Y-DEC", "1984"),
        ("total", "", "D", "NaT"),
        ("1959Q7", "Q", "Q-DEC", "NaT"),
    ],
)
def test_times_are_read(text: str, style: str, freq: str, period: str) -> None:
    assert str(periods_of(pd.Series([text]), style, freq)[0]) == period


def test_without_tables_it_says_where_to_look(tmp_path: Path, sources: Path) -> None:
    recipes, table = Recipes(tmp_path), tmp_path / "table.tsv"
    listed = recipes.run("series_sets", "--list", "--table", table)
    assert "shops+sales: GitHub shops/sales at 0000" in listed.said
    for folder in (tmp_path / "nowhere", tmp_path):
        ran = recipes.run("series_sets", "--sources", folder, "--table", table, "--output", tmp_path / "made")
        assert ran.code == 1
        assert "--list says what belongs into it" in ran.said
        assert "Traceback" not in ran.said
    ran = recipes.run("series_sets", "--sources", sources, "--table", table, "--only", "sale")
    assert ran.code == 1
    assert "has no such family" in ran.said


def test_a_layout_that_does_not_fit_is_named(tmp_path: Path, sources: Path) -> None:
    table = tmp_path / "table.tsv"
    written = table.read_text(encoding="utf-8")
    for old, new, said in (
        ("\tday\tshop\tsold\t", "\tdate\tshop\tsold\t", "there is no column 'date', only shop, day, sold, price"),
        ("how=sum; ", "haw=sum; ", "prices: unknown option 'haw'"),
    ):
        table.write_text(written.replace(old, new), encoding="utf-8")
        ran = Recipes(tmp_path).run(
            "series_sets", "--sources", sources, "--table", table, "--output", tmp_path / "made"
        )
        assert ran.code == 1
        assert said in ran.said
        assert "Traceback" not in ran.said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sales\tshops", "13 fields"),
        ("#source\tshops", "how, commit, day"),
        (
            "\t".join(["sales", "shops", "*.csv", "CC0-1.0", "LICENSE", "x", "D", "14", "test", "", "", "*", ""]),
            "train or",
        ),
    ],
)
def test_a_line_that_is_short_or_of_another_split_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(f"# notes\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"table.tsv, line 2: .*{said}"):
        read_listing(path, Source, Family)


def test_the_table_names_free_licences_and_keeps_kinds_apart() -> None:
    sources, families = read_listing(TABLE, Source, Family)
    assert {one.source for one in families} == set(sources)
    assert len({one.name for one in families}) == len(families) >= 100
    for one in families:
        words = set(re.split(r"[^A-Z]+", one.licence.upper()))
        assert not words & {"SA", "NC", "ND", "GPL", "AGPL", "LGPL", "ODBL"}, one
        assert words & {"CC", "PDDL", "MIT", "BSD", "APACHE", "OGL", "GOVERNMENT", "PUBLIC"}, one
        assert all(len(source.commit) == 40 for source in sources.values())
        assert one.option is not None
    kinds = {
        split: {one.name.rpartition("_")[0] for one in families if one.split == split} for split in ("train", "valid")
    }
    assert kinds["train"].isdisjoint(kinds["valid"])
    steps = {one.freq for one in families}
    assert {one.freq for one in families if one.split == "valid"} >= steps - {"B"}
