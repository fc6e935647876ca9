"""Tables on a terminal of any width: names fold, numbers never do."""

from rich.table import Table

NAMES = 12
"""Columns of the terminal that a column of names keeps."""


def uncut(table: Table) -> Table:
    """`table` with its right-aligned columns, those of numbers, as wide as these; a narrow terminal folds the others.

    Where that is not enough, lines are longer than the terminal is wide.
    """
    for column in table.columns:
        longest = max(len(str(cell)) for cell in (column.header, *column.cells))
        column.min_width = longest if column.justify == "right" else min(longest, NAMES)
    return table
