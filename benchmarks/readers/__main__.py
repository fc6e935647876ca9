"""`python -m benchmarks.readers`: other people's NIR readers on files of ours, every spike against the reference.

python -m benchmarks.readers [--images SPEC] [--limit N] [--json readers.json]        (make readers)
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

import neuromorphic
from benchmarks.readers.files import files
from benchmarks.readers.networks import READERS, ask
from neuromorphic.execution.reference import run_in_batches
from neuromorphic.files import write_json
from neuromorphic.ir.parity import compare
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.read import read_graph
from spikeclip.console import console, refusals, results
from spikeclip.data import load_images
from spikeclip.options import JsonOption


def main(
    images: Annotated[str, typer.Option(help="SPEC of images.")] = "samples",
    limit: Annotated[int, typer.Option(min=1, help="Take the first N images only.")] = 16,
    json_path: JsonOption = None,
) -> None:
    """Ask every reader that is installed to run every file."""
    torch.set_num_threads(1)
    document = []
    with TemporaryDirectory() as folder, refusals():
        for name, path in files(Path(folder), images):
            graph = read_graph(path)
            size = graph.nodes[graph.input].shape[1]
            frames = neuromorphic.encode(graph, load_images(images, size, limit).images)
            console.print(f"{name}: reference")
            reference = run_in_batches(graph, frames)
            found = {}
            for reader, read in READERS.items():
                console.print(f"{name}: {reader}")
                found[reader] = judge(ask(read, path, graph, frames), reference)
            results.print(table(f"{name}, {len(frames)} images", found))
            document.append({"file": name, "images": len(frames), "readers": found})
    if json_path is not None:
        write_json(json_path, document)


def judge(answer: Trace | str, reference: Trace) -> dict[str, object]:
    """The comparison of a reader's trace with the reference, or what the reader said instead."""
    if isinstance(answer, str):
        return {"error": answer}
    report = compare(answer, reference)
    differing = [name for name, node in report.nodes.items() if node.mismatches]
    return {
        "spikes_compared": report.spikes_compared,
        "mismatches": report.mismatches,
        "populations": len(report.nodes),
        "populations_differing": differing,
        "outputs_equal": bool(np.array_equal(answer.outputs, reference.outputs)),
    }


def table(title: str, found: dict[str, dict[str, object]]) -> Table:
    """A row per reader."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("reader", "spikes compared", "mismatches", "outputs"):
        table.add_column(column, justify="left" if column == "reader" else "right", overflow="fold")
    for reader, answer in found.items():
        if "error" in answer:
            table.add_row(f"{reader}: {answer['error']}")
            continue
        equal = "equal" if answer["outputs_equal"] else "differ"
        table.add_row(reader, f"{answer['spikes_compared']:,}", f"{answer['mismatches']:,}", equal)
    return table


if __name__ == "__main__":
    typer.run(main)
