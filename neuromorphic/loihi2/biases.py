"""Biases on the chip, where they act at the neurons: their sum at every node, through maxima too."""

from typing import assert_never

import numpy as np

import neuromorphic.ops as ops
from neuromorphic.analysis.biases import arriving
from neuromorphic.analysis.intervals import currents_in_order
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph


def chip_biases(graph: Graph, held: frozenset[str] = frozenset()) -> dict[str, ops.Float64]:
    """The sum of all biases that reach the input of each node, float64 `[*input shape]`, by node name.

    Args:
        graph: of floats or integers.
        held: nodes whose own biases are left out, since they stay where they are: those of the host.

    Raises:
        RefusedInput: biases differ within a window of a maximum, so that they can't act behind it; they reach a `Delay`
            or neurons that send membranes; or a cycle has no population.
    """
    read: dict[str, ops.Float64] = {}
    leaving: dict[str, ops.Float64] = {}
    for name in currents_in_order(graph):
        node = graph.nodes[name]
        read[name] = arriving(node, leaving)
        x = read[name][None]
        match node.operation:
            case ops.Delay() | ops.Membranes():
                if x.any():
                    raise RefusedInput(
                        f"node {name!r}: biases reach it with its currents; expected none, since the chip adds them at "
                        "its neurons, from an image's first step on"
                    )
            case ops.Population() | ops.Source() | ops.Sink() | ops.SelfAttention():
                pass
            case ops.Linear() as linear:
                leaving[name] = (linear.unbiased() if name in held else linear).apply(x, node.shapes)
            case ops.MaxPool2d() as pool:
                leaving[name] = pool.apply(x, node.shapes)
                if not np.array_equal(leaving[name], -pool.apply(-x, node.shapes)):
                    raise RefusedInput(
                        f"{name}: the biases before it differ within a window; expected the same at every position, "
                        "since the chip adds them behind the maximum"
                    )
            case unknown:
                assert_never(unknown)
    return read
