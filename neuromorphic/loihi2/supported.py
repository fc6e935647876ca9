"""What the integers of the chip are made for: of other graphs, the first node that they are not, and why.

NIR has more primitives than the chip has neurons and synapses: docs/primitives.md says of each what becomes of it.
"""

import numpy as np

from neuromorphic.analysis.intervals import constants, currents_in_order
from neuromorphic.analysis.streams import host_nodes, spike_carriers, streams
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.loihi2.populations import Neurons, normal
from neuromorphic.ops.loihi_widths import DELAY_BITS
from neuromorphic.ops.operations import Delay, Membranes, Scale, SumPool2d


def check_supported(graph: Graph) -> None:
    """Refuse what the chip does not have.

    Raises:
        RefusedInput: a node with the reason, a cycle without neurons that spike, or none of these at all.
    """
    where = f"{graph.source}: precision loihi2: "
    if not graph.populations:
        raise RefusedInput(f"{where}it has no neurons that spike; expected some, since the rest is the host's")
    try:
        currents_in_order(graph)
        for node in graph.populations:
            if isinstance(node.operation, Neurons):
                normal(f"node {node.name!r}", node.operation)
        streams(graph)
        _check_nodes(graph)
        constants(graph, held=host_nodes(graph))
    except RefusedInput as error:
        raise RefusedInput(f"{where}{error}") from error


def _check_nodes(graph: Graph) -> None:
    host, carriers = host_nodes(graph), spike_carriers(graph)
    for node in graph.nodes.values():
        if node.name in host:
            continue
        reason = _reason(node, reads_currents=any(source not in carriers for source in node.sources))
        if reason:
            raise RefusedInput(f"node {node.name!r} {reason}")


def _reason(node: Node, *, reads_currents: bool) -> str:
    """Why a node can't be on the chip: its neurons send spikes, factors are weights, and synapses read spikes."""
    match node.operation:
        case operation if isinstance(operation, Membranes):
            return "sends its membranes to other neurons; the chip's neurons send spikes, expected it as a readout only"
        case Scale(scale=scale) if reads_currents and np.any(scale != 1):
            return (
                "scales currents; the chip has no factors but weights, expected one factor per channel behind synapses "
                "that only it reads"
            )
        case SumPool2d(divisor=divisor) if reads_currents and divisor != 1:
            return f"divides currents by {divisor}; expected synapses before it that only it reads, to take the factor"
        case Delay(steps=steps) if steps.max() >= 2**DELAY_BITS:
            return f"waits {steps.max()} steps; expected at most {2**DELAY_BITS - 1}, which is what a synapse can"
        case _:
            return ""
