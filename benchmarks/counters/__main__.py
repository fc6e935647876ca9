"""`python -m benchmarks.counters`: what every counter finds in every case, and how far from `energy` that is.

python -m benchmarks.counters [--json counters.json]        (make counters)
"""

from dataclasses import asdict
from typing import Annotated

import torch
import typer
from rich.table import Table

from benchmarks.counters.cases import Case, cases
from benchmarks.counters.tools import TOOLS, Found, ask
from neuromorphic.files import write_json
from spikeclip.console import console, results
from spikeclip.options import JsonOption

COLUMNS = ("dense", "macs", "sops")


def main(
    checkpoint: Annotated[str, typer.Option(help="Name or path of the checkpoint.")] = "spike-driven-small",
    json_path: JsonOption = None,
) -> None:
    """Ask every counter that is installed about every case."""
    torch.set_num_threads(1)
    document = []
    for case in cases():
        answers = {}
        for name, tool in TOOLS.items():
            console.print(f"{case.name}: {name}")
            answers[name] = ask(tool, case.model, case.frames)
        answers["rate × dense"] = Found(sops=case.estimate)
        results.print(table(case, answers))
        found = {name: answer if isinstance(answer, str) else asdict(answer) for name, answer in answers.items()}
        truth = {column: getattr(case, column) for column in COLUMNS}
        document.append({"case": case.name, "energy": truth, "counters": found})
    if json_path is not None:
        write_json(json_path, document)


def table(case: Case, answers: dict[str, Found | str]) -> Table:
    """The case's figures and those of the counters, with what they differ by."""
    table = Table(title=case.name, title_justify="left", box=None, pad_edge=False)
    table.add_column("counter", overflow="fold")
    for column in ("dense", "MACs", "SOPs"):
        table.add_column(column, justify="right")
    table.add_row("energy", *(f"{getattr(case, column):,}" for column in COLUMNS))
    for name, answer in answers.items():
        if isinstance(answer, str):
            table.add_row(f"{name}: {answer}")
        else:
            table.add_row(name, *(difference(getattr(answer, column), getattr(case, column)) for column in COLUMNS))
    return table


def difference(found: float | None, expected: int) -> str:
    """`found`, and by how much it is off where it is."""
    if found is None:
        return ""
    text = f"{found:,.0f}" if float(found).is_integer() else f"{found:,.1f}"
    if found == expected:
        return f"{text} ="
    return f"{text} ({found - expected:+,.0f}{f', {found / expected - 1:+.1%}' if expected else ''})"


if __name__ == "__main__":
    typer.run(main)
