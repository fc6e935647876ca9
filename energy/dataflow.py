"""Who sends what to a node, and how late it arrives: spikes or real values, as the graph declares it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Delay, Graph, MaxPool2d, Membranes, Node, Population, SelfAttention, Source
from neuromorphic.recurrence import components
from neuromorphic.schedule import inputs

MAX_WAYS = 256
"""On which spikes reach a `Delay` through others: two of them side by side double the ways."""

MAX_DELAYS = 64
"""`Delay` nodes in a row."""


@dataclass(frozen=True)
class Arrival:
    """`x[t, f] = y[t - late[f], f]`: what `sender` sends, where a node sums it.

    Attributes:
        sender: a population, whose spikes wait at most on their way; or what computes a real value, a `Delay` of real
            values among them.
        late: int64 steps, `[elements of the sender]`, or `[]` where all of them are equally late.
    """

    sender: Node
    late: NDArray[np.int64]


def arrivals(graph: Graph, node: Node) -> tuple[Arrival, ...]:
    """What arrives at `node`; flattening only renames positions, so it is looked through, and so is waiting.

    Whether a sender is `spiking` decides what its values cost.  That is the graph's word: a population that fires
    always or never is still spike-driven, and a sum of spikes that happens to be 0 or 1 is still a real value.  A
    `Delay` is linear: the spikes of each population that it reads go through it by themselves, as late as it says; the
    real values that it reads are summed before they wait, and it sends the sum.
    """
    found: list[Arrival] = []
    for name in inputs(graph, node.name):
        source, late = graph.nodes[name], np.array(int((name, node.name) in graph.recurrent))
        if isinstance(source.operation, Delay):
            before = arrivals(graph, source)
            wait = late + source.operation.steps.reshape(-1)
            found += [Arrival(a.sender, a.late + wait) for a in before if a.sender.spiking]
            if all(a.sender.spiking for a in before):
                continue
        found.append(Arrival(source, late))
    return tuple(found)


def check_delays(graph: Graph) -> None:
    """Refuse what `arrivals` could not look through.

    Raises:
        RefusedInput: spikes that circle through `Delay` nodes alone, never summed by anything, or too many ways.
    """
    delays = [node.name for node in graph.nodes.values() if isinstance(node.operation, Delay)]
    read = {name: inputs(graph, name) for name in delays}
    fan_in = {name: tuple(s for s in sources if s in read) for name, sources in read.items()}
    component = components(fan_in)
    ways: dict[str, int] = {}
    row: dict[str, int] = {}
    for name in sorted(delays, key=component.__getitem__):  # sources first
        where = f"{graph.source}: node {name!r}"
        if any(component[s] == component[name] for s in fan_in[name]):
            raise RefusedInput(
                f"{where} is a Delay on a cycle of nothing but Delay nodes, an echo; expected a neuron or synapses on "
                "it, to count spikes at"
            )
        ways[name] = sum(ways.get(s, 1) for s in read[name])
        row[name] = 1 + max((row[s] for s in fan_in[name]), default=0)
        if ways[name] > MAX_WAYS or row[name] > MAX_DELAYS:
            raise RefusedInput(
                f"{where} is reached on {ways[name]} ways through {row[name]} Delay nodes in a row; expected at most "
                f"{MAX_WAYS} and {MAX_DELAYS}"
            )


def constant(graph: Graph) -> frozenset[str]:
    """Names of the nodes that no neuron reaches: the same frame in every step gives them the same output.

    What waits isn't constant: it begins with zeros.
    """
    names: set[str] = set()
    for node in graph.nodes.values():
        waits = isinstance(node.operation, Delay) and bool(node.operation.steps.any())
        held = node.neurons or waits
        if isinstance(node.operation, Source) or (not held and names.issuperset(node.sources)):
            names.add(node.name)
    return frozenset(names)


def summable(graph: Graph) -> frozenset[str]:
    """Names of the nodes from which only affine nodes lead to the output: a weighted sum over the steps may come first.

    `Σ_t w_t (W x_t + b) = W (Σ_t w_t x_t) + b Σ_t w_t`.  A node that a neuron or a `Delay` reads needs its values step
    by step.
    """
    names: set[str] = set()
    for node in reversed(tuple(graph.nodes.values())):
        affine = not isinstance(node.operation, Population | Membranes | Delay | MaxPool2d | SelfAttention)
        if affine and names.issuperset(reader.name for reader in graph.readers(node.name)):
            names.add(node.name)
    return frozenset(names)
