"""Arrivals: the values that a node sums, each with its sender and its lag; delays are looked through."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neuromorphic.analysis.recurrence import components, paths_through
from neuromorphic.errors import RefusedInput, number
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Int64

MAX_PATHS = 64
"""Paths on which spikes reach a `Delay` through other delays, at most: two delays in parallel double them."""

MAX_DELAYS = 64
"""`Delay` nodes in a row."""


@dataclass(frozen=True)
class Arrival:
    """`x[t, f] = y[t - lag[f], f]`: a term x of a node's sum, from the output y of `sender`.

    Attributes:
        sender: a population, whose spikes pass nothing but delays on their way; or a node that sends real values, which
            may be a `Delay`.
        lag: int64 time steps, `[elements of the sender]`, or `[]` where it is the same for all of them.
    """

    sender: Node
    lag: Int64


def arrivals(
    graph: Graph, node: Node, passes: Callable[[Node], bool] = lambda sender: sender.spiking
) -> tuple[Arrival, ...]:
    """All terms of the sum that `node` reads; senders that `passes` accepts are seen through delays.

    Whether a sender spikes decides what its values cost.  The graph decides that, not the values: a population that
    always or never fires is still spike-driven, and a sum of spikes that happens to be 0 or 1 is still a real value.  A
    `Delay` is linear.  So the spikes of each population that it reads pass it separately, with its lags; the real
    values that it reads are summed before they are delayed, and it sends the sum.
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
    """Refuse delays that `arrivals` can't look through.

    Raises:
        RefusedInput: a cycle of nothing but `Delay` nodes, or too many paths through delays.
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
