"""What errors say: one line of another, some of many."""

from __future__ import annotations

import pytest

from shared.errors import DataError, first_few, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (RuntimeError(" \n"), "RuntimeError"),
        (DataError("no rows; give some"), "no rows; give some"),
    ],
)
def test_the_first_line_of_an_error_is_never_empty(error, line):
    assert first_line(error) == line


def test_of_many_the_first_are_told_and_the_others_counted():
    assert first_few(["a", "b", "c"], 3) == "a, b, c"
    assert first_few(["a", "b", "c", "d"], 2, "; ") == "a; b and 2 more"
    assert first_few([], 2) == ""
