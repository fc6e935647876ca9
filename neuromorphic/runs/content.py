"""The data of a run's page: all that is known of each node, and some of the spikes."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.inspection.proof import find_proof
from neuromorphic.inspection.report import Inspection, inspect, synapses
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import Mismatch, ParityReport
from neuromorphic.ir.totals import Totals
from neuromorphic.ir.trace import Trace
from neuromorphic.ops import Weighted
from neuromorphic.placement import Placement, place

BINS = 31
"""Bins of a histogram of weights."""

SAMPLED = 48
"""Neurons of a population in the raster, at most."""

SPIKES = 4_000_000
"""Neurons times steps times images in the raster, at most: half a megabyte."""

SHOWN = 12
"""Images that are shown."""


@dataclass(frozen=True)
class Run:
    """The run that a page shows.

    Attributes:
        found: the description of the graph.
        totals: of the run, with the spikes of each neuron.
        first: the trace of at least the first `SHOWN` images.
        comparisons: with other runs on the same images, by name, as `PyTorch` or `floats`.
        images: uint8 `[N, H, W, 3]`; None for a run on frames.
        described: each image's file, label and best classes (`predictions.describe_images`); empty without classes.
        accuracy: if labels are known.
        placement: on cores; None if it wasn't asked for: then the graph is placed for the page, if it can be.
        said: sentences on the run.
    """

    found: Inspection
    totals: Totals
    first: Trace
    comparisons: Mapping[str, ParityReport] = field(default_factory=dict)
    images: NDArray[np.uint8] | None = None
    described: Sequence[Mapping[str, Any]] = ()
    accuracy: float | None = None
    placement: Placement | None = None
    said: Sequence[str] = ()

    def placed(self) -> Placement | None:
        """The placement; None where the graph can't be placed."""
        with suppress(RefusedInput):
            return self.placement or place(self.found.graph, trace=self.totals)
        return None


def described_graph(graph: Graph, model: Path | None) -> Inspection:
    """The description of `graph`; with its proof, if it is of floats and from a file.

    Raises:
        RefusedInput: the file's certificate has the form of none.
    """
    proof = None if model is None else find_proof(graph, prove=graph.precision == "float")
    return inspect(graph, synapses(graph), proof)


def nodes(run: Run, placement: Placement | None) -> list[dict[str, Any]]:
    """Every node: shapes, edges, settings, weights, rates, latency, proof, cores and agreement, JSON-compatible."""
    proofs = (run.found.proof.proven or run.found.proof.claimed or {}).get("nodes", {})
    readers: dict[str, list[str]] = {}
    for node in run.found.nodes:
        for source in node.sources:
            readers.setdefault(source, []).append(node.name)
    cores = Counter(core.population for core in (() if placement is None else placement.cores))
    return [
        {
            "name": node.name,
            "type": node.type,
            "words": node.words,
            "input_shape": list(node.input_shape),
            "shape": list(node.shape),
            "latency": node.latency,
            "sources": [[source, node.delays.get(source, 0)] for source in node.sources],
            "readers": readers.get(node.name, []),
            "neurons": node.neurons,
            "parameters": node.parameters,
            "synapses": node.synapses,
            "weights": _histogram(run.found.graph.nodes[node.name].operation),
            "rates": _rates(run.totals, node.name),
            "proof": proofs.get(node.name),
            "cores": cores.get(node.name),
            "agreement": {
                name: [report.nodes[node.name].compared, report.nodes[node.name].mismatches]
                for name, report in run.comparisons.items()
                if node.name in report.nodes
            },
        }
        for node in run.found.nodes
    ]


def raster(run: Run, first: Mismatch | None) -> dict[str, Any]:
    """Spikes of some neurons of every population, evenly spaced, and of the neuron with the first difference.

    Returns:
        `{"images": n, "steps": T, "populations": [{"name", "neurons": [index, ...], "of": number}], "bits": base64}`:
        numpy's packbits of `[images, T, neurons]` of all populations side by side.
    """
    trains = run.first.spikes
    steps = run.first.time_steps
    images = min(run.first.images, SHOWN)
    most = max(1, min(SAMPLED, SPIKES // max(1, images * steps * len(trains))))
    populations, columns = [], []
    for name, train in trains.items():
        chosen = np.unique(np.linspace(0, train.neurons - 1, min(most, train.neurons)).astype(np.int64))
        if first is not None and first.node == name:
            chosen = np.union1d(chosen, [np.ravel_multi_index(first.index, train.shape)])
        populations.append({"name": name, "neurons": chosen.tolist(), "of": train.neurons})
        columns.append(train.unpack(0, images).reshape(images, steps, -1)[..., chosen])
    bits = np.packbits(np.concatenate(columns, axis=-1)) if columns else np.zeros(0, np.uint8)
    return {
        "images": images,
        "steps": steps,
        "populations": populations,
        "bits": base64.b64encode(bits.tobytes()).decode(),
    }


def _rates(totals: Totals, name: str) -> list[float] | None:
    """Spikes per neuron in each step, over all images; None for nodes that don't spike."""
    count = totals.counts.get(name)
    if count is None:
        return None
    return [float(rate) for rate in count.per_step / (count.neurons * totals.answers.images)]


def _histogram(operation: object) -> dict[str, Any] | None:
    """The histogram of the weights that are not zero, in `BINS` bins; None for operations without weights."""
    if not isinstance(operation, Weighted):
        return None
    weights = operation.weights.astype(np.float64).ravel()
    kept = weights[weights != 0]
    if not kept.size:
        return {"low": 0.0, "high": 0.0, "counts": [], "zeros": weights.size, "size": weights.size}
    reach = float(np.abs(kept).max())
    counts, _ = np.histogram(kept, BINS, (-reach, reach))
    zeros = weights.size - kept.size
    return {"low": -reach, "high": reach, "counts": counts.tolist(), "zeros": zeros, "size": weights.size}
