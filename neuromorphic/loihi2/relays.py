"""Delays longer than a synapse's: spikes wait 63 steps, make a relay neuron fire, and wait the rest behind it.

    y[t] = x[t - n]  =  (x[t - 63] > 0)[t - (n - 63)]

A relay has no memory and fires where a spike arrives.  `analysis.schedule` counts the time step that its synapses take.
"""

from dataclasses import replace

import numpy as np

from neuromorphic.analysis.order import arranged
from neuromorphic.analysis.streams import spike_carriers
from neuromorphic.ir.graph import Graph, Node, unused
from neuromorphic.ops import Delay, Threshold
from neuromorphic.ops.widths import DELAY_BITS

LONGEST = 2**DELAY_BITS - 1
"""Time steps that a synapse can delay a spike."""


def relayed(graph: Graph) -> Graph:
    """`graph`, in which long delays of one population's spikes are split by relays; the last part keeps the name.

    Delays of frames and of sums of spikes stay: a relay sends a spike, not a number.
    """
    nodes = dict(graph.nodes)
    for node in graph.nodes.values():
        if isinstance(node.operation, Delay) and node.operation.steps.max() > LONGEST and _spikes(graph, node):
            nodes |= {part.name: part for part in _parts(nodes, node, node.operation)}
    if len(nodes) == len(graph.nodes):
        return graph
    result = arranged(graph, nodes)
    # A relay is a neuron: on a cycle that no delay breaks, its edge would be recurrent and take one step more.
    return result if result.recurrent == graph.recurrent else graph


def _spikes(graph: Graph, node: Node) -> bool:
    """Whether a delay reads the spikes of one population, perhaps through other delays."""
    seen: set[str] = set()
    while node.name in spike_carriers(graph) and not node.spiking:
        if len(node.sources) != 1 or node.name in seen or not isinstance(node.operation, Delay):
            return False
        seen.add(node.name)
        node = graph.nodes[node.sources[0]]
    return node.spiking


def _parts(nodes: dict[str, Node], node: Node, delay: Delay) -> list[Node]:
    """Delays with relays between them, which together delay as long; the last one has the node's name."""
    found: list[Node] = []
    left, sources, shape = delay.steps, node.sources, node.shape
    while left.max() > LONGEST:
        now = np.minimum(left, LONGEST)
        wait, relay = (unused(f"{node.name}.{what}{len(found) // 2}", nodes) for what in ("wait", "relay"))
        found.append(Node(wait, Delay(now), sources, node.input_shape, shape))
        found.append(Node(relay, Threshold(np.zeros(shape, np.float32)), (wait,), shape, shape))
        left, sources = left - now, (relay,)
    return [*found, replace(node, operation=Delay(left), sources=sources)]
