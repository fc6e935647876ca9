"""Integer graphs made by hand: every number rounded to one least significant bit, without any care for accuracy."""

from dataclasses import replace

import numpy as np

from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Affine, Conv2d, Lif, LoihiLif, MaxPool2d, SelfAttention, Source, SumPool2d

SPIKE = 16
"""Weight of a spike in gates and counts: enough for halvings over four time steps."""

INPUT_SCALE = 64
"""Frames are multiples of 1/64 where the preprocessing's mean is 128 and its std 64."""


def by_hand(graph: Graph, exponent: int = 4) -> Graph:
    """The float graph in integers: weights of at most 127 · 2^exponent, thresholds and biases to match.

    With an exponent of 4 nothing wraps; with 10, which no chip has, currents do.
    """
    largest = max(np.abs(_weight(graph, node)).max() for node in graph.nodes.values() if _learned(node))
    lsb = largest / (127 * 2.0**exponent)
    nodes: dict[str, Node] = {}
    for node in graph.nodes.values():
        match node.operation:
            case Conv2d() as conv if _learned(node):
                weight = _rounded(_weight(graph, node), lsb)
                nodes[node.name] = replace(node, operation=replace(conv, weight=weight, bias=np.zeros_like(conv.bias)))
            case Conv2d() as conv:
                nodes[node.name] = replace(node, operation=replace(conv, weight=SPIKE * conv.weight))
            case SumPool2d() as pool if node.name != "readout.sum":
                conv = pool.synapses(node.shapes)
                nodes[node.name] = replace(node, operation=replace(conv, weight=SPIKE * conv.weight))
            case SelfAttention() as attention:
                nodes[node.name] = replace(node, operation=replace(attention, scale=SPIKE))
            case Lif() as lif:
                sources = [_through_synapse(nodes, node.name, nodes[source]) for source in node.sources]
                nodes[node.name] = replace(node, operation=_neurons(graph, node, lif, lsb), sources=tuple(sources))
            case Affine() as affine:
                weight, bias = (_rounded(x, np.abs(affine.weight).max() / 127) for x in (affine.weight, affine.bias))
                nodes[node.name] = replace(node, operation=Affine(weight, bias))
            case _:
                nodes[node.name] = node
    return replace(graph, nodes=nodes)


def parameters(graph: Graph) -> dict[str, dict[str, object]]:
    """The integer graph as `export.integer` takes it."""
    return {node.name: {**vars(node.operation), "sources": node.sources} for node in graph.nodes.values()}


def _learned(node: Node) -> bool:
    return isinstance(node.operation, Conv2d) and not np.isin(node.operation.weight, (0, 1)).all()


def _weight(graph: Graph, node: Node) -> np.ndarray:
    frames = isinstance(graph.nodes[node.sources[0]].operation, Source)
    return node.operation.weight / (INPUT_SCALE if frames else 1)


def _rounded(x: np.ndarray, lsb: float) -> np.ndarray:
    """Multiples of `lsb`, as q · 2^e with q of 8 bits."""
    unit = lsb * 2.0 ** max(0, np.ceil(np.log2(max(1, np.abs(x).max() / lsb / 127))))
    return (np.round(x / unit) * (unit / lsb)).astype(np.float32)


def _through_synapse(nodes: dict[str, Node], reader: str, source: Node) -> str:
    """The name of the source, or of a new node that gives its spikes a weight."""
    if not source.spiking:
        return source.name
    name, channels = f"{reader}.{source.name}", source.shape[0]
    weight = np.full((channels, 1, 1, 1), SPIKE, np.float32)
    conv = Conv2d(weight, np.zeros(channels, np.float32), (1, 1), (0, 0), (1, 1), channels)
    nodes[name] = Node(name, conv, (source.name,), source.shape, source.shape)
    return name


def _neurons(graph: Graph, node: Node, lif: Lif, lsb: float) -> LoihiLif:
    decay = float(lif.decay.flat[0])
    read = [graph.nodes[source] for source in node.sources]
    while isinstance(read[0].operation, MaxPool2d):
        read = [graph.nodes[source] for source in read[0].sources]
    if isinstance(read[0].operation, SelfAttention):
        lsb = read[0].operation.scale / SPIKE
    elif not _learned(read[0]):
        lsb = 1 / SPIKE
    threshold = np.floor(lif.threshold / (decay * lif.gain * lsb)).astype(np.int32)
    bias = sum((source.operation.bias for source in read if _learned(source)), start=np.zeros(1))
    mantissa = np.broadcast_to(np.round(8 * bias / lsb)[:, None, None], node.shape).astype(np.int32)
    return LoihiLif(round(4096 * decay), threshold, mantissa, 3)
