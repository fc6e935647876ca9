"""Soft resets, which NIR's files hold as loops of four nodes, as single populations.

    x ──> LI or I ──> Threshold ──> ...
          ↑               │
          └─ Delay ← Scale┘          of one step, by the amount that a spike takes away

computes a neuron that subtracts, and is the only way in which a file of NIR can hold one.  On a chip, where every
synapse takes a time step, this loop with two synapses would be one step too slow.  But it needs no synapses, since a
neuron lowers its own membrane.
"""

from dataclasses import dataclass, replace

import numpy as np

from neuromorphic.analysis.facts import fact
from neuromorphic.analysis.fingerprint import lineage
from neuromorphic.analysis.order import arranged
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Float32, Integrator, Li, Scale, SoftIf, SoftLif, Threshold


@dataclass(frozen=True)
class _Loop:
    """A `Threshold`, the membranes before it, and the two nodes back: a `Scale` and a `Delay`, in either order."""

    threshold: Node
    membrane: Node
    scale: Node
    delay: Node
    last: Node

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the four nodes, which become one of the `Threshold`'s name."""
        return tuple(node.name for node in (self.threshold, self.membrane, self.scale, self.delay))

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources outside the loop."""
        return tuple(source for source in self.membrane.sources if source != self.last.name)

    def neurons(self) -> Node:
        """The one node that computes the loop."""
        shape = self.threshold.shape
        threshold: Float32 = self.threshold.of(Threshold).threshold
        back = np.asarray(-self.scale.of(Scale).scale, np.float32).reshape(shape)
        operation: SoftLif | SoftIf
        if isinstance(self.membrane.operation, Li):
            operation = SoftLif(**vars(self.membrane.operation), threshold=threshold, back=back)
        else:
            operation = SoftIf(self.membrane.of(Integrator).gain, threshold, back)
        return Node(self.threshold.name, operation, self.sources, self.membrane.input_shape, shape)

    def opened(self, one: Node) -> dict[str, Node]:
        """The four nodes, with the numbers and the sources of the node `one`."""
        soft = one.operation
        if not isinstance(soft, SoftLif | SoftIf):
            raise TypeError(f"node {one.name!r}: a {type(soft).__name__} is no soft reset")
        charge = Li(soft.decay, soft.gain, soft.leak) if isinstance(soft, SoftLif) else Integrator(soft.gain)
        sources = self.membrane.sources if one.sources == self.sources else (*one.sources, self.last.name)
        back = -soft.back.reshape(self.scale.of(Scale).scale.shape)
        nodes = (
            replace(self.membrane, operation=charge, sources=sources),
            replace(self.threshold, operation=Threshold(soft.threshold)),
            replace(self.scale, operation=Scale(back)),
            self.delay,
        )
        return {node.name: node for node in nodes}


@fact
def with_soft_resets(graph: Graph) -> Graph:
    """`graph`, in which every such loop is one population of the `Threshold`'s name, with the same spikes."""
    loops = _loops(graph)
    if not loops:
        return graph
    gone = {part for loop in loops for part in loop.parts}
    nodes = {name: node for name, node in graph.nodes.items() if name not in gone}
    nodes |= {loop.threshold.name: loop.neurons() for loop in loops}
    return replace(arranged(graph, nodes), made_of=lineage(graph))


def with_loops(graph: Graph, file: Graph) -> Graph:
    """`graph`, in which populations that are loops in the graph `file` are loops again."""
    loops = [loop for loop in _loops(file) if isinstance(graph.nodes[loop.threshold.name].operation, SoftLif | SoftIf)]
    if not loops:
        return graph
    nodes = dict(graph.nodes)
    for loop in loops:
        nodes |= loop.opened(nodes[loop.threshold.name])
    return replace(arranged(graph, nodes), made_of=lineage(graph))


def in_one(graph: Graph, names: frozenset[str]) -> frozenset[str]:
    """The nodes of `with_soft_resets(graph)` that are, or are made from, some of `names`."""
    names = names | {loop.threshold.name for loop in _loops(graph) if not names.isdisjoint(loop.parts)}
    return names & with_soft_resets(graph).nodes.keys()


def population_of_parts(graph: Graph) -> dict[str, str]:
    """The population that each node of a loop becomes part of, by the node's name."""
    return {part: loop.threshold.name for loop in _loops(graph) for part in loop.parts}


@fact
def _loops(graph: Graph) -> tuple[_Loop, ...]:
    found = (_loop(graph, node) for node in graph.populations if isinstance(node.operation, Threshold))
    return tuple(loop for loop in found if loop is not None)


def _loop(graph: Graph, threshold: Node) -> _Loop | None:
    """The loop of a `Threshold`; None where there is none that a single population computes.

    Nothing else may read the nodes that vanish, and none of their edges may be recurrent.  No membrane may be above its
    threshold at rest: it would count as having fired before the first step of an image.
    """
    membrane = graph.nodes[threshold.sources[0]]
    alone = len(threshold.sources) == 1 and graph.edges_from[membrane.name] == (threshold.name,)
    if not alone or len(membrane.sources) == 1 or (membrane.name, threshold.name) in graph.recurrent:
        return None
    operation = membrane.operation
    if not isinstance(operation, Li | Integrator) or (threshold.of(Threshold).threshold < operation.start).any():
        return None
    closed = (_closed_by(graph, threshold, membrane, graph.nodes[name]) for name in membrane.sources)
    return next((loop for loop in closed if loop is not None), None)


def _closed_by(graph: Graph, threshold: Node, membrane: Node, last: Node) -> _Loop | None:
    """The loop that `last`, a source of the membranes, closes; None if it closes none."""
    first = graph.nodes[last.sources[0]] if last.sources else last
    scale, delay = (last, first) if isinstance(last.operation, Scale) else (first, last)
    if not isinstance(scale.operation, Scale) or not isinstance(delay.operation, Delay):
        return None
    linked = first.sources == (threshold.name,) and last.sources == (first.name,)
    private = graph.edges_from[first.name] == (last.name,) and graph.edges_from[last.name] == (membrane.name,)
    in_time = (threshold.name, first.name) not in graph.recurrent and bool((delay.operation.steps == 1).all())
    return _Loop(threshold, membrane, scale, delay, last) if linked and private and in_time else None
