"""What the integers of the chip are made for: of other graphs, the first node that they are not, and why.

NIR has more primitives than the chip has neurons and synapses: docs/primitives.md says of each what becomes of it.
"""

from neuromorphic.analysis.intervals import currents_in_order
from neuromorphic.analysis.streams import host_nodes, spike_carriers, streams
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.biases import chip_biases
from neuromorphic.loihi2.populations import FloatNeurons, normal


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
            if isinstance(node.operation, FloatNeurons):
                normal(f"node {node.name!r}", node.operation)
        streams(graph)
        _check_nodes(graph)
        chip_biases(graph, held=host_nodes(graph))
    except RefusedInput as error:
        raise RefusedInput(f"{where}{error}") from error


def _check_nodes(graph: Graph) -> None:
    host, carriers = host_nodes(graph), spike_carriers(graph)
    for node in graph.nodes.values():
        if node.name in host:
            continue
        reads_currents = any(source not in carriers for source in node.sources)
        if reason := node.operation.refusal(reads_currents):
            raise RefusedInput(f"node {node.name!r} {reason}")
