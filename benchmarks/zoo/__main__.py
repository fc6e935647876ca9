"""`python -m benchmarks.zoo FOLDER`: other people's networks through the front door, every spike compared.

FOLDER holds clones of the public repositories, under their own names (`docs/frontend.md`); without them their networks
are reported as missing.  Prints a table in Markdown.

python -m benchmarks.zoo FOLDER [NAME ...] [--images N] [--seeds N] [--lava] [--chip] [--counts] [--json zoo.json]

With `--json`, a run that was cut off goes on when the command is given again: what the file has is not run anew.
"""

import json
import resource
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.zoo import further, stand_ins
from export.frontend.door import PreparedModule, to_nir
from export.frontend.parity import compare_module
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run_in_batches
from neuromorphic.files import write_json
from neuromorphic.reading.build import from_nir
from spikeclip.options import JsonOption


def main(
    folder: Annotated[Path, typer.Argument(help="Clones of the public repositories.")],
    names: Annotated[list[str] | None, typer.Argument(help="Networks; all by default.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Random inputs to compare.")] = 16,
    seeds: Annotated[int, typer.Option(min=1, help="Random networks of each kind.")] = 2,
    lava: Annotated[bool, typer.Option(help="Through Lava too.")] = False,
    chip: Annotated[bool, typer.Option(help="In Loihi 2's integers, on cores.")] = False,
    counts: Annotated[bool, typer.Option(help="Compare SOPs with those of SpikingJelly and NeuroBench.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Trace, lower, prove and compare."""
    warnings.simplefilter("ignore")
    stand_ins.install()
    from benchmarks.zoo.networks import ZOO

    asked = _Asked(lava, chip, counts)
    rows = json.loads(json_path.read_text()) if json_path is not None and json_path.exists() else []
    print(_HEAD)
    for name in names or ZOO:
        for seed in range(seeds):
            what = {"network": name, "seed": seed, "images": images, **vars(asked)}
            row = next((row for row in rows if row["asked"] == what), None)
            if row is None:
                row = {"asked": what, "network": name, **_row(name, folder, images, seed, asked)}
                rows.append(row)
            print(_line(row), flush=True)
            if json_path is not None:
                write_json(json_path, rows)


_COLUMNS = ("network", "seconds", "nodes", "rungs", "spikes", "different", "in Lava", "cores", "layers counted alike")
_HEAD = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"


@dataclass(frozen=True)
class _Asked:
    """Questions to every network beside its spikes."""

    lava: bool
    chip: bool
    counts: bool


def _row(name: str, folder: Path, images: int, seed: int, asked: "_Asked") -> dict[str, Any]:
    from benchmarks.zoo.networks import ZOO, made

    network = ZOO[name]
    start = time.process_time()
    try:
        net = made(name, folder, seed)
        start = time.process_time()
        kind, bounds = ("spikes", None) if network.events else ("real", (-2.0, 2.0))
        prepared = to_nir(
            net,
            torch.zeros(network.shape),
            time_steps=network.time_steps,
            axes=network.axes,
            input_kind=kind,
            bounds=bounds,
        )
        seconds = time.process_time() - start
        return {"seconds": round(seconds, 1), **_compared(prepared, name, images, seed, asked)}
    except (FileNotFoundError, ModuleNotFoundError) as error:
        return {"refused": f"missing: {error}"}
    except RefusedInput as error:
        return {"refused": str(error)}


def _compared(prepared: PreparedModule, name: str, images: int, seed: int, asked: "_Asked") -> dict[str, Any]:
    graph = from_nir(prepared.graph, name)
    frames = prepared.inputs.random(images, prepared.time_steps, seed)
    one_by_one = name.endswith("one image")
    recording = prepared.record(frames, batch=1 if one_by_one else 4)
    trace = run_in_batches(graph, frames, batch=4)
    found = compare_module(prepared, trace, recording)
    row = {
        "nodes": len(prepared.graph.nodes),
        "rungs": prepared.certificate.rungs,
        "unproven": {n: prepared.certificate.nodes[n].reason for n in prepared.certificate.unproven},
        "spikes": found.spikes_compared,
        "different": found.mismatches,
        "output_difference": found.output_difference,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "notes": list(prepared.notes),
    }
    if asked.chip:
        row |= further.on_the_chip(graph, frames)
    if asked.counts:
        row |= further.other_counts(prepared, graph, trace, frames)
    if asked.lava:
        from neuromorphic.lava.simulation import simulate

        try:
            trace = simulate(graph, frames, batch=min(16, images), timeout=600)
            row["lava"] = compare_module(prepared, trace, recording).mismatches
        except RefusedInput as error:
            row["lava"] = f"refused: {error}"
    return row


def _line(row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"| {row['network']} | | | refused: {row['refused']} | | | | | |"
    rungs = ", ".join(f"{count} × {rung}" for rung, count in row["rungs"].items())
    cells = (
        row["network"],
        row["seconds"],
        row["nodes"],
        rungs,
        f"{row['spikes']:,}",
        row["different"],
        row.get("lava", ""),
        row.get("chip", ""),
        _alike(row),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def _alike(row: dict[str, Any]) -> str:
    """Layers whose SOPs are those of both counters, of how many that could be compared."""
    if "layers_counted" not in row:
        return ""
    return f"{row['layers_counted'] - len(row['counted_otherwise'])} of {row['layers_counted']}"


if __name__ == "__main__":
    typer.run(main)
