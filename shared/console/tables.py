"""Tables as Markdown and for a terminal, and the numbers in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.console.harmless import harmless

if TYPE_CHECKING:
    from rich.table import Table


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table that ends with a line break; its first `left` columns begin at the left, the others end at the
    right."""
    rule = "|" + "---|" * left + "---:|" * (len(head) - left)
    return "\n".join([_row(head), rule, *map(_row, rows)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def rich_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, caption: str | None = None
) -> Table:
    """A table for `rich.console.Console.print`; its first column begins at the left, the others end at the right."""
    from rich.table import Table
    from rich.text import Text

    def cell(text: str) -> Text:
        return Text(harmless(text))  # which has no markup

    table = Table(title=title and cell(title), caption=caption and cell(caption))
    for name in head:
        table.add_column(cell(name), justify="right" if table.columns else "left")
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def turned(table: Table) -> Table:
    """A table with its columns as rows."""
    head, *columns = table.columns
    names = [str(head.header), *map(str, head.cells)]
    rows = [[str(column.header), *map(str, column.cells)] for column in columns]
    return rich_table(names, rows, *(str(text) if text else None for text in (table.title, table.caption)))


def shown(value: Any, form: str = ".4f") -> str:
    """What stands in a cell: a number in this form, a dash where there is none."""
    if value is None or value != value:
        return "–"
    return format(value, form) if isinstance(value, float) else str(value)


def json_ready(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers by name, None for those that are undefined."""
    return {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}
