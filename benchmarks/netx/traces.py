"""u, v and spikes of every population in every step, by the reference."""

from collections import defaultdict
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from neuromorphic.execution.reference import run
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import LoihiLif
from neuromorphic.ops.types import Float64, State

KEYS = ("spikes", "u", "v")


def traces(graph: Graph, frames: NDArray[np.float32]) -> dict[str, dict[str, NDArray[np.int64]]]:
    """The spikes, u and v (after its reset) of each population: int64 `[N, T, *shape]`."""
    names = {id(node.operation): node.name for node in graph.populations}
    found: dict[str, dict[str, list[Float64]]] = defaultdict(lambda: {key: [] for key in KEYS})
    advance = LoihiLif.advance

    def recorded(lif: LoihiLif, state: State, x: Float64) -> Float64:
        spikes = advance(lif, state, x)
        for key, values in zip(KEYS, (spikes, state.i, state.v), strict=True):
            found[names[id(lif)]][key].append(values.copy())
        return spikes

    with mock.patch.object(LoihiLif, "advance", recorded):
        run(graph, frames)
    return {
        name: {key: np.stack(values, 1).astype(np.int64) for key, values in of.items()} for name, of in found.items()
    }
