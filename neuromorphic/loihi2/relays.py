"""Delays beyond what a synapse can: spikes wait 63 steps, make a relay neuron fire, and wait on behind it.

    y[t] = x[t - n]  =  (x[t - 63] > 0)[t - (n - 63)]

A relay has no memory and fires where a spike arrives.  What it costs in time steps of the chip, the schedule knows.
"""

from dataclasses import replace

import numpy as np

from neuromorphic.analysis.order import arranged
from neuromorphic.analysis.streams import spike_carriers
from neuromorphic.ir.graph import Graph, Node, unused
from neuromorphic.ops import Delay, Threshold
from neuromorphic.ops.widths import DELAY_BITS

LONGEST = 2**DELAY_BITS - 1
"""Steps that a synapse lets a spike wait."""


def relayed(graph: Graph) -> Graph:
    """`graph`, in which spikes of one population wait no longer than synapses can; the last part keeps the name.

    Frames and sums of spikes are no spikes, and have no relays.
    """
    nodes = dict(graph.nodes)
    for node in graph.nodes.values():
        if isinstance(node.operation, Delay) and node.operation.steps.max() > LONGEST and _spikes(graph, node):
            nodes |= {part.name: part for part in _parts(nodes, node, node.operation)}
    if len(nodes) == len(graph.nodes):
        return graph
    result = arranged(graph, nodes)
    # A relay is a neuron: on a cycle that no delay breaks it would be one step late.
    return result if result.recurrent == graph.recurrent else graph


def _spikes(graph: Graph, node: Node) -> bool:
    """Whether the spikes of one population arrive at a delay, perhaps through others."""
    seen: set[str] = set()
    while node.name in spike_carriers(graph) and not node.spiking:
        if len(node.sources) != 1 or node.name in seen or not isinstance(node.operation, Delay):
            return False
        seen.add(node.name)
        node = graph.nodes[node.sources[0]]
    return node.spiking


def _parts(nodes: dict[str, Node], node: Node, delay: Delay) -> list[Node]:
    """Delays with relays between them, that wait as long together; the last one has the node's name."""
    found: list[Node] = []
    left, sources, shape = delay.steps, node.sources, node.shape
    while left.max() > LONGEST:
        now = np.minimum(left, LONGEST)
        wait, relay = (unused(f"{node.name}.{what}{len(found) // 2}", nodes) for what in ("wait", "relay"))
        found.append(Node(wait, Delay(now), sources, node.input_shape, shape))
        found.append(Node(relay, Threshold(np.zeros(shape, np.float32)), (wait,), shape, shape))
        left, sources = left - now, (relay,)
    return [*found, replace(node, operation=Delay(left), sources=sources)]
