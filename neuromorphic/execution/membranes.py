"""Membranes of one node's neurons, step by step."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, meant
from neuromorphic.execution.fast import Execution
from neuromorphic.execution.frames import per_step, read_at
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import Given


def membranes(graph: Graph, frames: Given, node: str, time_steps: int | None = None) -> NDArray[np.float64]:
    """V of the neurons of `node` after every time step, that is after the reset by a spike.

    Args:
        graph: of floats or integers.
        frames: float32 `[N, *input shape]`, or `[N, T, *input shape]`, all at once: a few images.
        node: a population, or another node of neurons.
        time_steps: T, where neither the frames nor the graph's metadata say.

    Returns:
        float64 `[N, T, *shape]`.

    Raises:
        RefusedInput: the graph has no such neurons, or the frames don't fit it.
    """
    known = [each.name for each in graph.nodes.values() if each.neurons]
    if node not in known:
        raise RefusedInput(f"{graph.source}: no neurons {node!r}{meant(node, known)}")
    shown = per_step(graph, frames if isinstance(frames, Mapping) else np.asarray(frames, np.float32), time_steps)
    images, steps = shown.shape[:2]
    execution = Execution(graph, images, steps)
    values = np.empty((images, steps, *graph.nodes[node].shape))
    for t in range(steps):
        execution.step(read_at(graph, shown, t))
        values[:, t] = execution.membranes[node]
    return values
