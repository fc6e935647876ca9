"""Why a graph can't be an ONNX model of integers, all reasons at once; needs no onnx."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.biases import biases
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.inputs import several_ends
from neuromorphic.ops import LoihiLif, Membranes, Neurons, SumPool2d, Weighted

IMAGES, FRAMES, OUTPUTS = "images", "frames", "outputs"
"""Names of the model's inputs and of its output."""


def refusals(graph: Graph) -> list[str]:
    """Why `graph` can't be an ONNX model of integers, a sentence for each reason; none if it can."""
    found = several_ends(graph)
    found += [reason for node in graph.nodes.values() for reason in _refused(graph, node)]
    if graph.metadata.time_steps is None:
        found.append(f"{graph.source}: the file doesn't say how many time steps an image takes")
    taken = {IMAGES, FRAMES, OUTPUTS} & graph.nodes.keys() - {graph.input, graph.output}
    found += [f"node {name!r} has the name of the model's input or output" for name in sorted(taken)]
    return found


def _refused(graph: Graph, node: Node) -> list[str]:
    operation, where = node.operation, f"{graph.source}: node {node.name!r}"
    if isinstance(operation, Membranes):
        return [f"{where} is a {operation.nir_name} of the host, which computes in fractions; expected integers"]
    if isinstance(operation, Neurons) and not isinstance(operation, LoihiLif):
        return [f"{where} is a {operation.nir_name} of floats; expected a graph in the chip's integers"]
    numbers: list[NDArray[Any]] = [biases(graph)[node.name]]
    if isinstance(operation, Weighted):
        numbers.append(operation.weights)
    if isinstance(operation, SumPool2d) and operation.divisor != 1:
        return [f"{where} divides its sums by {operation.divisor}; expected sums"]
    if any((values != np.rint(values)).any() for values in numbers):
        return [f"{where} has weights or biases that are no integers"]
    return []
