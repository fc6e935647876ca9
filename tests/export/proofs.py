"""Snapping and proofs of graphs as `nir` has them, for tests that change weights in place."""

import nir

from export import snap as snapping
from export.populations import DT
from neuromorphic.analysis import rounding
from neuromorphic.analysis.partial_sums import partial_sums
from neuromorphic.ops import Sums
from neuromorphic.reading.build import from_nir


def view(graph: nir.NIRGraph):
    return from_nir(graph, "net", DT)


def snap(graph: nir.NIRGraph, frames: Sums, time_steps: int):
    """Round the weights of `graph`, in place; returns the grids."""
    snapped, grids = snapping.snap(view(graph), frames, time_steps)
    snapping.write_weights(snapped, graph)
    return grids


def certify(graph: nir.NIRGraph, frames: Sums, time_steps: int) -> rounding.Certificate:
    return rounding.certify(view(graph), frames, time_steps)


def propagate(graph: nir.NIRGraph, frames: Sums, time_steps: int = 1) -> tuple[dict[str, Sums], dict[str, Sums]]:
    return partial_sums(view(graph), frames, time_steps)
