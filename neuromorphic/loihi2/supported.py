"""What the integers of the chip are made for: of other graphs, the first node that they are not, and why.

NIR has more primitives than `--precision float` knows how to say in the integers of Loihi 2: docs/primitives.md says
of each what it would take.
"""

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import (
    CubaLif,
    Delay,
    Graph,
    If,
    Lif,
    Membranes,
    Node,
    Scale,
    SumPool2d,
    Threshold,
)
from neuromorphic.loihi2.streams import host_nodes, spike_carriers


def check_supported(graph: Graph) -> None:
    """Refuse what quantisation does not know.

    Raises:
        RefusedInput: a node with the reason, or a recurrent edge.
    """
    for neuron, reader in sorted(graph.recurrent):
        raise RefusedInput(
            f"{graph.source}: precision loihi2: node {neuron!r} feeds back through {reader!r}; units and widths are "
            "worked out from the input to the output, expected no cycle"
        )
    seen: set[str] = set()
    for node in graph.nodes.values():
        if not seen.issuperset(node.sources):  # only around a `Delay`, which breaks its cycles
            raise RefusedInput(f"{graph.source}: precision loihi2: node {node.name!r} lies on a cycle; expected none")
        seen.add(node.name)
    host, carriers = host_nodes(graph), spike_carriers(graph)
    for node in graph.nodes.values():
        currents = any(source not in carriers for source in node.sources)
        reason = _reason(node) or (_reason_of_currents(node, node.name in host) if currents else "")
        if reason:
            raise RefusedInput(f"{graph.source}: precision loihi2: node {node.name!r} {reason}")


def _reason(node: Node) -> str:
    match node.operation:
        case Lif(leak=leak, reset=reset) if leak.any() or reset.any():
            return f"rests at {leak.flat[0]:g} and resets to {reset.flat[0]:g}; the chip's neurons do so at 0"
        case If(reset=reset) if reset.any():
            return f"resets to {reset.flat[0]:g}; the chip's neurons do so at 0"
        case CubaLif():
            return "has a synaptic current of its own; units are chosen for currents that don't last, expected LIF"
        case Threshold():
            return "is a Threshold; to forget all of v, decays need 4096 of 4096, which 12 bits don't hold"
        case _ if isinstance(node.operation, Membranes):
            return "sends its membranes; the chip's neurons send spikes, expected a linear readout"
        case _:
            return ""


def _reason_of_currents(node: Node, host: bool) -> str:
    """Of a node that reads currents: factors are weights, and synapses on the chip read spikes."""
    match node.operation:
        case Delay():
            return "delays currents; expected it where it reads spikes"
        case Scale(scale=scale) if not host and (scale != 1).any():
            return (
                "scales currents; the chip has no factors but weights, expected one factor per channel behind synapses "
                "that only it reads"
            )
        case SumPool2d(divisor=divisor) if divisor != 1 and not host:
            return f"divides currents by {divisor}; expected the divisor within the weights before it"
        case _:
            return ""
