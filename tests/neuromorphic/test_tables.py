"""Tables on narrow terminals."""

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from neuromorphic.tables import NAMES, uncut


@pytest.mark.parametrize("width", [20, 40, 60, 200])
def test_numbers_are_never_cut_and_names_fold(width):
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for column in ("SOPs", "MACs"):
        table.add_column(column, justify="right")
    names = ("stem.layers.0.synapse.conv", "block.1.mlp.hidden")
    for name in names:
        table.add_row(name, "16,777,216", "1,234,567,890")
    console = Console(file=StringIO(), width=width, soft_wrap=True)
    console.print(uncut(table))
    lines = console.file.getvalue().splitlines()
    assert sum("16,777,216  1,234,567,890" in line for line in lines) == 2
    folded = "".join(line[: max(NAMES, line.find("  "))].strip() for line in lines[1:])
    assert all(name[:NAMES] in folded for name in names)
