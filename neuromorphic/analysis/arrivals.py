"""Arrivals: what a node sums, who sent it, and with which lag; waiting looked through."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neuromorphic.analysis.recurrence import components, paths_through
from neuromorphic.errors import RefusedInput, number
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Int64

MAX_PATHS = 64
"""Along which spikes reach a `Delay` through others: two of them side by side double the paths."""

MAX_DELAYS = 64
"""`Delay` nodes in a row."""


@dataclass(frozen=True)
class Arrival:
    """`x[t, f] = y[t - lag[f], f]`: what `sender` sends, where a node sums it.

    Attributes:
        sender: a population, whose spikes wait at most on their way; or what computes a real value, a `Delay` of real
            values among them.
        lag: int64 steps, `[elements of the sender]`, or `[]` where it is the same for all of them.
    """

    sender: Node
    lag: Int64


def arrivals(
    graph: Graph, node: Node, passes: Callable[[Node], bool] = lambda sender: sender.spiking
) -> tuple[Arrival, ...]:
    """All that arrives at `node`; waiting is looked through, by itself for the values of each sender that `passes`.

    Whether a sender spikes decides what its values cost.  That is the graph's word: a population that fires
    always or never is still spike-driven, and a sum of spikes that happens to be 0 or 1 is still a real value.  A
    `Delay` is linear: the spikes of each population that it reads go through it by themselves, with its lags; the
    real values that it reads are summed before they wait, and it sends the sum.
    """
    found: list[Arrival] = []
    for name in node.sources:
        source, lag = graph.nodes[name], np.array(int((name, node.name) in graph.recurrent))
        if isinstance(source.operation, Delay):
            before = arrivals(graph, source, passes)
            wait = lag + source.operation.steps.reshape(-1)
            found += [Arrival(a.sender, a.lag + wait) for a in before if passes(a.sender)]
            if all(passes(a.sender) for a in before):
                continue
        found.append(Arrival(source, lag))
    return tuple(found)


def check_delays(graph: Graph) -> None:
    """Refuse what `arrivals` could not look through.

    Raises:
        RefusedInput: spikes that circle through `Delay` nodes alone, never summed by anything, or too many paths.
    """
    read = {node.name: node.sources for node in graph.nodes.values() if isinstance(node.operation, Delay)}
    component = components({name: [s for s in sources if s in read] for name, sources in read.items()})
    for name in sorted(read, key=component.__getitem__):  # sources first
        if any(component[name] == component.get(s) for s in read[name]):
            raise RefusedInput(
                f"{graph.source}: node {name!r} is a Delay on a cycle of nothing but Delay nodes, an echo of spikes; "
                "expected a neuron or synapses on it"
            )
    for name, (paths, row) in paths_through(read, read.__contains__).items():
        if paths > MAX_PATHS or row > MAX_DELAYS:
            raise RefusedInput(
                f"{graph.source}: node {name!r} is reached along {number(paths, 'path')} through "
                f"{number(row, 'Delay node')} in a row; expected at most {MAX_PATHS} and {MAX_DELAYS}"
            )
