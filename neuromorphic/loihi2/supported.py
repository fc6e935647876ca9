"""Which graphs can become integers of the chip; of all others, every reason why not, by node.

NIR has more primitives than the chip has neurons and synapses: docs/primitives.md says what becomes of each.
"""

from collections.abc import Callable
from functools import partial

from neuromorphic.analysis.intervals import currents_in_order
from neuromorphic.analysis.soft_resets import with_soft_resets
from neuromorphic.analysis.streams import host_nodes, spike_carriers, streams
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.loihi2.biases import chip_biases
from neuromorphic.loihi2.populations import FloatNeurons, chip_form
from neuromorphic.ops import Neurons


def refusals(graph: Graph) -> list[str]:
    """All reasons why `graph` has no integers on the chip, one sentence each; none if it has."""
    where = f"{graph.source}: precision loihi2: "
    if not graph.populations:
        return [f"{where}it has no neurons that spike; expected some, since the rest is the host's"]
    neurons = {n.name: n.operation for n in graph.populations if isinstance(n.operation, FloatNeurons)}
    checks: list[Callable[[], object]] = [
        lambda: currents_in_order(graph),
        *(partial(chip_form, f"node {name!r}", operation) for name, operation in neurons.items()),
        lambda: streams(graph),
        *(partial(_check_node, graph, node) for node in graph.nodes.values()),
        lambda: chip_biases(graph, held=host_nodes(graph)),
    ]
    found = []
    for check in checks:
        try:
            check()
        except RefusedInput as error:
            found.append(f"{where}{error}")
    return list(dict.fromkeys(found))


def microcode(graph: Graph) -> list[str]:
    """The assumption, a sentence, that some populations get microcode of their own, since Lava has no such neurons."""
    subtracting = [node.name for node in with_soft_resets(graph).populations if not node.of(Neurons).rests_after_spike]
    if not subtracting:
        return []
    return [
        f"{', '.join(subtracting)}: a spike subtracts from v, for which Loihi 2 needs a neuron of one's own microcode; "
        "Lava's own set v to 0"
    ]


def check_supported(graph: Graph) -> None:
    """Refuse what the chip does not have.

    Raises:
        RefusedInput: with all reasons: nodes, a cycle without neurons that spike, or none of these at all.
    """
    if reasons := refusals(graph):
        raise RefusedInput("; ".join(reasons))


def _check_node(graph: Graph, node: Node) -> None:
    if node.name in host_nodes(graph):
        return
    reads_currents = any(source not in spike_carriers(graph) for source in node.sources)
    if reason := node.operation.refusal(reads_currents):
        raise RefusedInput(f"node {node.name!r} {reason}")
