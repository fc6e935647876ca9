"""Tables on a terminal of any width: names fold, numbers never do."""

from rich.table import Table

NAMES = 12
"""Least width of a column of names, in characters."""


def uncut(table: Table) -> Table:
    """`table` with right-aligned columns, those of numbers, never narrower than their text; others may fold.

    If that is not enough, lines are longer than a narrow terminal is wide.
    """
    for column in table.columns:
        longest = max(len(str(cell)) for cell in (column.header, *column.cells))
        column.min_width = longest if column.justify == "right" else min(longest, NAMES)
    return table
