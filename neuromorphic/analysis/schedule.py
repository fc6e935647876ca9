"""The schedule: the time step in which a node answers a frame, and the delays that align its inputs.

On the chip a synapse takes one time step: a spike sent at step t is in the receiver's input at step t + 1.  So the
answer to a frame that enters at step t leaves node n at step `t + latency(n)`:

    latency(n) = max (0, latency(s) + synapse(s, n) - lag(s, n))          over all sources s

`synapse` is 1 into a linear node, which is made of synapses, and into an extension node, which is made of neurons.
Into neurons it is 1 for spikes that arrive directly, through synapses of weight 1, and 0 for currents, which have
passed their synapses.  Into the output, which the host reads, and into a `Delay` it is 0.  `lag` is 0 but for recurrent
edges and a `Delay`: what is summed at step t of an image was sent at step `t - lag`.

Where branches of different depth meet, the shorter ones are delayed:

    delay(s, n) = latency(n) + lag(s, n) - synapse(s, n) - latency(s)

Around a cycle the latencies cancel, so its delays add up to its lags minus its synapses: a cycle with more synapses
than lags has no schedule.

Images are streamed back to back, T steps each, whatever the depth; population n forgets the previous image at the steps
`t = latency(n) mod T`, and nothing that was sent in one image is summed in the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from neuromorphic.analysis.facts import fact
from neuromorphic.analysis.longest_paths import EndlessCycle, longest_paths
from neuromorphic.errors import RefusedInput, number
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Delay, Neurons, Source


@dataclass(frozen=True)
class Schedule:
    """When the nodes of a graph answer.

    Attributes:
        latency: time steps from a frame's arrival to a node's answer, by node name.
        delay: time steps by which the output of `source` is delayed before `reader`, lags included, by
            `(source, reader)`.  Edges into the output have none: the host aligns what it reads.
        depth: the greatest latency: the steps that a run takes beyond those of its images.
    """

    latency: Mapping[str, int]
    delay: Mapping[tuple[str, str], int]
    depth: int


@fact
def schedule(graph: Graph) -> Schedule:
    """The schedule of `graph` with the least latencies.

    Raises:
        RefusedInput: a cycle whose synapses take more steps than its recurrent edges and delays allow.
    """
    paths = {
        name: [(s, synapse(graph, s, name) - graph.lag(s, name)) for s in node.sources]
        for name, node in graph.nodes.items()
    }
    latency = _latencies(graph, paths)
    delay = {
        (s, name): latency[name] - latency[s] - steps
        for name in graph.nodes
        if name not in graph.outputs
        for s, steps in paths[name]
    }
    ordered = {name: latency[name] for name in graph.nodes}
    return Schedule(ordered, delay, max(ordered.values()))


def _latencies(graph: Graph, paths: Mapping[str, list[tuple[str, int]]]) -> dict[str, int]:
    try:
        return longest_paths(paths)
    except EndlessCycle as error:
        cycle = list(pairwise(error.cycle))
        steps = sum(synapse(graph, s, n) for s, n in cycle)
        lags = sum(graph.lag(s, n) for s, n in cycle)
        raise RefusedInput(
            f"{graph.source}: the cycle {error} takes {number(steps, 'time step')} on the chip, one for every synapse "
            f"on it, and has {lags} for them; expected a Delay of {number(steps, 'time step')} on it"
        ) from error


def synapse(graph: Graph, source: str, reader: str) -> int:
    """Time steps that the synapses between two nodes take."""
    return graph.nodes[reader].operation.steps_before(sends_spikes(graph, source))


def sends_spikes(graph: Graph, name: str) -> bool:
    """Whether a node sends spikes or frames, which have yet to pass synapses: neurons, inputs, and delays of these."""
    waited = isinstance(graph.nodes[name].operation, Delay)
    before = graph.before((name,), lambda node: isinstance(node.operation, Delay)) if waited else ()
    return any(isinstance(graph.nodes[each].operation, Neurons | Source) for each in (name, *before))
