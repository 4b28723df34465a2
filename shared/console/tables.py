"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table that ends with a line break; its first `left` columns begin at the left, the others end at the
    right."""
    rule = "|" + "---|" * left + "---:|" * (len(head) - left)
    return "\n".join([_row(head), rule, *map(_row, rows)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
