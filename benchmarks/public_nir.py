"""Other people's `.nir` files in floats and in the integers of the chip: `python -m benchmarks.public_nir CLONE...`.

A clone is a git repository, bare or not, of which every version of every `.nir` file is taken; or a folder of such
files.  Each is run on random spikes.  Nothing of them is kept.

Of each the operations of one recording are counted, and small ones whose neurons are set to a value are computed by the
oracle of the tests too, which knows NIR's equations and nothing of ours.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from energy import count
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.execution.frames import timed
from neuromorphic.execution.reference import run
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.integers import graded
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph, read_nir
from spikeclip.console import results
from tests.neuromorphic import oracle

STEPS = 32
RECORDINGS = 4
RATE = 0.3
"""Of the random spikes, per element and step."""

SMALL = 30_000
"""Products of a time step up to which the oracle, which loops over them, is asked."""

DTS = (None, 1e-3, 1e-6, 1.0)
"""Seconds per step that a file is tried with until something spikes; first what it says itself."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one file.

    Attributes:
        name: of the file, with the beginning of its hash.
        floats: spikes in floats, or why it doesn't run.
        integers: share of neurons and steps that differ in integers, or why it is refused; None where floats don't run.
        operations: SOPs and MACs of one recording; empty where floats don't run.
        oracle: how many spikes differ from the oracle's, of how many; empty where it can't be asked.
    """

    name: str
    floats: int | str
    integers: float | str | None
    operations: str = ""
    oracle: str = ""


def versions(clone: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of every version of every `.nir` file of a clone, or of a folder."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", clone, *arguments], check=True, capture_output=True).stdout

    try:
        objects = git("rev-list", "--objects", "--all", "--missing=allow-any").decode().splitlines()
    except subprocess.CalledProcessError:
        yield from ((path.name, path.read_bytes()) for path in sorted(clone.rglob("*.nir")))
        return
    for line in objects:
        name, _, path = line.partition(" ")
        if path.endswith(".nir"):
            try:
                yield path, git("cat-file", "blob", name)
            except subprocess.CalledProcessError:  # a copy may lack its largest files
                continue


def outcome(name: str, path: Path) -> Outcome:
    """Run the file at `path` both ways."""
    try:
        graph, frames, floats = _in_floats(path)
    except RefusedInput as error:
        return Outcome(name, _said(error, path), None)
    counts = count(graph, run(graph, frames[:1]), frames=frames[:1])
    operations = f"{counts.sops:,}; {counts.macs:,}"
    asked = _asked(graph, frames[:1], path)
    spikes = {key: train.unpack() for key, train in floats.items()}
    spikes_in_all = sum(int(train.sum()) for train in spikes.values())
    try:
        whole, _ = quantise(graph, frames)
        found = run_in_batches(whole, graded(whole, frames), None).spikes
    except RefusedInput as error:
        return Outcome(name, spikes_in_all, _said(error, path), operations=operations, oracle=asked)
    differ = sum(int((found[key].unpack() != train).sum()) for key, train in spikes.items())
    share = differ / max(1, sum(train.size for train in spikes.values()))
    return Outcome(name, spikes_in_all, share, operations=operations, oracle=asked)


def _asked(graph: Graph, frames: NDArray[np.float32], path: Path) -> str:
    """The oracle's judgement; nothing of large graphs, of neurons that subtract, and of files that it doesn't read."""
    if (
        graph.metadata.reset == "subtract"
        or sum(node.operation.products(node.shapes) for node in graph.nodes.values()) > SMALL
    ):
        return ""
    try:
        expected, _ = oracle.run(read_nir(path), frames, graph.metadata.dt)
    except (KeyError, TypeError, ValueError):  # edges without a node, parameters of other shapes
        return ""
    found = {name: train.unpack()[0] for name, train in run(graph, frames).spikes.items()}
    differ = sum(int((spikes != (expected[name].reshape(spikes.shape) != 0)).sum()) for name, spikes in found.items())
    return f"{differ} of {sum(spikes.size for spikes in found.values()):,}"


def _in_floats(path: Path) -> tuple[Graph, NDArray[np.float32], dict]:
    """The graph, random spikes and what it sends on them, at the first dt at which it sends something."""
    refused: RefusedInput | None = None
    last = None
    for dt in DTS:
        try:
            graph = read_graph(path, asked=Asked(dt=dt))
            shape = (RECORDINGS, graph.metadata.time_steps or STEPS, *graph.nodes[graph.input].shape)
            frames = (np.random.default_rng(0).random(shape) < RATE).astype(np.float32)
            graph = timed(graph, frames)
            last = graph, frames, dict(run_in_batches(graph, frames, None).spikes)
        except RefusedInput as error:
            refused = refused or error
            continue
        if any(train.count() for train in last[2].values()):
            return last
    if last is None:
        raise refused or RefusedInput(f"{path}: nothing was tried")
    return last


def _said(error: RefusedInput, path: Path) -> str:
    return str(error).replace(f"{path}: ", "")


def main(clones: Annotated[list[Path], typer.Argument(help="Clones of repositories, or folders of files.")]) -> None:
    """Print a line for every distinct file, and how many of those that run in floats run in integers."""
    found: dict[str, tuple[str, bytes]] = {}
    for clone in clones:
        for path, content in versions(clone):
            found.setdefault(sha256(content).hexdigest(), (path, content))
    table = Table("file", "spikes in floats", "differ from the oracle", "in integers", "SOPs; MACs", box=None)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for digest, (name, content) in sorted(found.items(), key=lambda item: item[1][0]):
            path = Path(folder) / "file.nir"
            path.write_bytes(content)
            outcomes.append(one := outcome(f"{name} {digest[:8]}", path))
            share = f"{one.integers:.2%}" if isinstance(one.integers, float) else one.integers or ""
            spikes = f"{one.floats:,}" if isinstance(one.floats, int) else one.floats
            table.add_row(one.name, spikes, one.oracle, share, one.operations)
    results.print(table)
    run = [one for one in outcomes if isinstance(one.floats, int)]
    whole = [one for one in run if isinstance(one.integers, float)]
    results.print(f"{len(outcomes)} files; {len(run)} run in floats, {len(whole)} of them in integers")


if __name__ == "__main__":
    typer.run(main)
