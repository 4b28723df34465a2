"""Cards of the models that ship: short, about what ships now, with the numbers of today's tables; links of them and of
the benchmarks' pages hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT

RESULTS = ROOT / "benchmarks" / "results"
CARDS = sorted(ROOT.glob("*/pretrained/*/README.md"))
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NUMBER = re.compile(r"[-−]?\d*\.?\d+")


def rows(path: Path) -> list[list[str]]:
    """Cells of every row of every table of a page, without emphasis."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| "))
    return [[cell.strip().strip("*") for cell in line.strip().strip("|").split("|")] for line in lines]


def row(path: Path, *names: str) -> list[str]:
    """The cells that follow the names in the first row that begins with them."""
    return next(cells[len(names) :] for cells in rows(path) if tuple(cells[: len(names)]) == names)


def numbers(cells: list[str]) -> list[str]:
    """All numbers of some cells in turn."""
    return [number for cell in cells for number in _NUMBER.findall(cell)]


def same(shown: str, measured: str) -> bool:
    """Whether a number is another one, rounded to as many digits."""
    digits = len(shown.partition(".")[2])
    told, exact = (float(one.replace("−", "-")) for one in (shown, measured))
    return abs(told - exact) <= 0.5 * 10**-digits + 1e-9


def anchors(text: str) -> set[str]:
    """What a link may name behind # of a page."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_card_is_short_and_its_history_apart(card: Path) -> None:
    text = card.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    assert re.search(r"\blicence\b", text, re.IGNORECASE)
    history = card.with_name("HISTORY.md")
    assert ("](HISTORY.md" in text) == history.is_file()
    if history.is_file():
        assert "](README.md)" in history.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_hold_to_the_heading(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if "://" in target or name.startswith("api/"):  # made at each build
            continue
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", ["default", "causal"])
def test_scores_of_the_pairs_are_those_of_the_table(name: str) -> None:
    card = ROOT / "speech/pretrained" / name / "README.md"
    for system in ("noisy", "default", "causal", "DeepFilterNet 3"):
        shown = numbers(row(card, system))
        measured = numbers(row(RESULTS / "speech_peers.md", system)[:4])
        assert len(shown) == 8
        assert all(map(same, shown, measured)), system


def test_scores_of_kinds_of_mixtures_are_those_of_the_table() -> None:
    card = rows(ROOT / "speech/pretrained/default/README.md")
    kinds = [cells for cells in card if "→" in cells[-1]]
    assert len(kinds) >= 5
    for kind, *cells in kinds:
        measured = [row(RESULTS / "speech_quality.md", kind, quality) for quality in ("noisy", "standard")]
        assert numbers(cells) == [number for pair in zip(*measured, strict=True) for number in numbers(list(pair))]


@pytest.mark.parametrize("name", ["bandwidth", "extension"])
def test_scores_of_lost_bands_are_those_of_the_table(name: str) -> None:
    tables = (RESULTS / "speech_restoration.md").read_text(encoding="utf-8").split("\n## ")
    shown = [cells for cells in rows(ROOT / "speech/pretrained" / name / "README.md") if " kHz" in cells[0]]
    assert len(shown) >= 6
    for task, way, *cells in shown:
        table = next(table for table in tables if table.startswith(task))
        line = next(line for line in table.splitlines() if line.startswith(f"| {way} |"))
        measured = [cell.partition("±")[0] for cell in line.strip("|").split("|")[1:]]
        assert all(same(number, numbers([cell])[0]) for number, cell in zip(cells, measured, strict=False)), (task, way)


def test_every_table_is_listed() -> None:
    listed = set(_LINK.findall((ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")))
    assert {f"results/{path.name}" for path in RESULTS.glob("*.md")} <= listed


def test_scores_in_rooms_are_those_of_the_table() -> None:
    card = ROOT / "speech/pretrained/dereverb/README.md"
    for way in ("as given", "WPE, 40 taps", "default", "dereverb"):
        measured = [cell.partition("±")[0] for cell in row(RESULTS / "speech_restoration.md", way)]
        assert numbers(row(card, way)) == numbers(measured)[:5]


def test_scores_at_48_khz_are_those_of_the_table() -> None:
    shown = [cells for cells in rows(ROOT / "speech/pretrained/upper_band/README.md") if len(cells) == 9][1:]
    assert len(shown) >= 10
    for noise, way, *cells in shown[1:]:
        measured = row(RESULTS / "speech_fullband.md", noise.replace("by formula", "synthetic"), way)
        means = [cell.partition("±")[0] for cell in (*measured[:4], *measured[6:])]
        assert all(same(one, numbers([other])[0]) for one, other in zip(cells, means, strict=True) if one), way


def test_scores_of_the_forecaster_are_those_of_the_table() -> None:
    card, table = ROOT / "tsdiff/pretrained/default/README.md", RESULTS / "zero_shot.md"
    sets = [cells[0] for cells in rows(card) if len(cells) == 8 and cells[0] not in ("set", "---")]
    assert len([name for name in sets if "_" in name]) == 10
    for name in (name for name in sets if "_" in name):
        measured = row(table, name)
        assert row(card, name) == [*measured[:4], *measured[5:8]]
