"""Tables of results: every row has as many cells as its head, and numbers are where they belong."""

from __future__ import annotations

from tests.tsdiff.evaluation.test_scores import result
from tsdiff.evaluation.tables import results_markdown


def test_every_line_of_a_table_has_the_cells_of_its_head() -> None:
    made = [result("a", "TSDiff", 0, 0.1), result("a", "TSDiff", 1, 0.2), result("b", "naive", None, 0.5)]
    first, second = results_markdown(made).strip().split("\n\n")
    for table in (first, second):
        head, rule, *rows = table.splitlines()
        assert rows
        assert {line.count("|") for line in (head, rule, *rows)} == {head.count("|")}
        assert set(rule) == set("|-:")
