"""Tables on a terminal: those that are too wide are turned, and none is broken."""

from __future__ import annotations

import pytest

from shared.console.command import show
from shared.console.tables import markdown, rich_table, turned

HEAD = ["method", *(f"a score of {place}" for place in range(6))]
ROWS = [["seasonal naive (168)", *["0.1234"] * 6], ["TSDiff", *["0.4321"] * 6]]


def test_turned_twice_is_as_before():
    table = rich_table(HEAD, ROWS, title="t", caption="c")
    again = turned(turned(table))
    assert [str(one.header) for one in again.columns] == HEAD
    assert [list(one.cells) for one in again.columns] == [list(one.cells) for one in table.columns]
    assert (str(again.title), str(again.caption)) == ("t", "c")


@pytest.mark.parametrize(("width", "rows"), [(200, 2), (60, 6), (20, 2)])
def test_no_cell_is_broken_or_cut(width, rows, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    show(rich_table(HEAD, ROWS))
    shown = capsys.readouterr().out
    assert "…" not in shown
    for cell in (*HEAD, *ROWS[0]):
        assert cell in shown
    lines = shown.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == rows + 4


def test_markdown_begins_at_the_left_and_ends_numbers_at_the_right():
    made = markdown(["set", "what", "score"], [["a|b", "c\nd", "1"], ["e", "f", "2"]], left=2)
    assert made == "| set | what | score |\n|---|---|---:|\n| a\\|b | c d | 1 |\n| e | f | 2 |\n"
