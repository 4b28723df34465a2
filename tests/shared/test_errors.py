"""What an error says in one line."""

from __future__ import annotations

import pytest

from shared.errors import DataError, first_line


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
