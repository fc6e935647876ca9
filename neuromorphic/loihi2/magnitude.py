"""How large the sums of an integer graph can get, for all inputs, from the weights alone.

    M(frame) = 128,  M(spike) = 1,  M(y) = Σ |w| M(x) + |b|

bounds |y| and every partial sum of it, in whatever order it is added.  Below 2^24 each of them is exact in float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.graph import Affine, Conv2d, Graph, Lif, LoihiLif, Node, SelfAttention, Source
from neuromorphic.loihi2.widths import GRADED_BITS
from neuromorphic.reference import apply

Bound = NDArray[np.float64]


@dataclass(frozen=True)
class Magnitude:
    """Bounds of a node's values, float64 without time and batch.

    Attributes:
        input: of the sum that arrives, and of its partial sums.
        output: of what leaves; 1 for spikes.
    """

    input: Bound
    output: Bound

    @property
    def largest(self) -> float:
        """Of both."""
        return float(max(self.input.max(initial=0), self.output.max(initial=0)))


def magnitudes(graph: Graph) -> Mapping[str, Magnitude]:
    """Bounds for every node of `graph`, by name."""
    found: dict[str, Magnitude] = {}
    for node in graph.nodes.values():
        x = sum((found[source].output for source in node.sources), start=np.zeros(node.input_shape))
        found[node.name] = Magnitude(x, _output(node, x))
    return found


def _output(node: Node, x: Bound) -> Bound:
    match node.operation:
        case Lif() | LoihiLif():
            return np.ones(node.shape)
        case Source():
            return np.full(node.shape, 2.0 ** (GRADED_BITS - 1))
        case Affine() | Conv2d() as synapses:
            sizes = replace(synapses, weight=np.abs(synapses.weight), bias=np.abs(synapses.bias))
            node = replace(node, operation=sizes)
        case SelfAttention() as attention:
            node = replace(node, operation=replace(attention, scale=abs(attention.scale)))
    return np.asarray(apply(node, x[None])[0])
