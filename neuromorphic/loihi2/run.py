"""A graph run fast, float or integer, all images of a batch side by side: for calibration and for checks at run time.

The semantics are the reference's.  In an integer graph float32 holds sums up to 2^24, which its certificate says of all
but some nodes, and membranes that halve: products with powers of two don't round, and what is beyond 2^24 before v
saturates does saturate.  The rest is float64.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.dynamics import State, advance, at_rest
from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Delay, Flatten, Graph, If, Lif, LoihiLif, MaxPool2d, Node, SelfAttention, Sink, Source
from neuromorphic.layers import constants
from neuromorphic.linear import linear
from neuromorphic.loihi2.widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT
from neuromorphic.nonlinear import Attention, Maxima

Array = NDArray[Any]

SINGLE = 24
"""Bits of a float32: the limit of most nodes in a certificate."""


@dataclass
class Overflows:
    """How often the widths of a population were too small.

    Attributes:
        wraps: of u.
        saturations: of v, below; above it fires either way.
    """

    wraps: int = 0
    saturations: int = 0


@dataclass(frozen=True)
class Activity:
    """What a batch of images caused.

    Attributes:
        spikes: by population, uint8 `[B, T, *shape]`.
        outputs: `[B, T, *shape]`.
        membranes: v after the last step, by population, `[B, *shape]`.
        overflows: by population of an integer graph.
    """

    spikes: Mapping[str, NDArray[np.uint8]]
    outputs: Array
    membranes: Mapping[str, Array]
    overflows: Mapping[str, Overflows] = field(default_factory=dict)


def run(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> Activity:
    """All spikes of `frames` `[B, *input shape]`, each presented for `time_steps` steps."""
    batch = len(frames)
    network = Network(graph, batch)
    states: dict[str, State] = {}
    membranes: dict[str, Array] = {}
    for node in graph.populations:
        match node.operation:
            case LoihiLif() as lif:
                membranes[node.name] = np.zeros((batch, *node.shape), _state(lif))
            case Lif() | If() as neurons:
                states[node.name] = at_rest(neurons, batch, node.shape)
                membranes[node.name] = states[node.name].v
    spikes = {node.name: np.zeros((batch, time_steps, *node.shape), np.uint8) for node in graph.populations}
    overflows = {n.name: Overflows() for n in graph.populations if isinstance(n.operation, LoihiLif)}
    lines = {
        node.name: np.zeros((batch, time_steps, *node.shape), np.float32)
        for node in graph.nodes.values()
        if isinstance(node.operation, Delay)
    }
    outputs = np.zeros((batch, time_steps, *graph.nodes[graph.output].shape), np.float64)
    for t in range(time_steps):
        values: dict[str, Array] = {graph.input: frames}
        for node in graph.nodes.values():
            match node.operation:
                case Source():
                    continue
                case LoihiLif() as lif:
                    x = network.read(node, values)
                    spikes[node.name][:, t] = integer_step(lif, membranes[node.name], x, overflows[node.name])
                    values[node.name] = spikes[node.name][:, t]
                case Lif() | If() as neurons:
                    spikes[node.name][:, t] = advance(neurons, states[node.name], network.read(node, values))
                    values[node.name] = spikes[node.name][:, t]
                case Delay() as delay:
                    lines[node.name][:, t] = network.compute(node, values)
                    values[node.name] = delayed(delay, lines[node.name], t)
                case Sink():
                    outputs[:, t] = network.read(node, values)
                case _:
                    values[node.name] = network.compute(node, values)
    return Activity(spikes, outputs, membranes, overflows)


def delayed(delay: Delay, arrived: Array, t: int) -> Array:
    """`y[t] = x[t - steps]`, element by element; 0 where that is before the image.

    Args:
        delay: the operation.
        arrived: x, `[B, T, *shape]`.
        t: step of the image.
    """
    result = np.zeros_like(arrived[:, 0])
    for wait in np.unique(delay.steps[delay.steps <= t]):
        np.copyto(result, arrived[:, t - wait], where=delay.steps == wait)
    return result


class Network:
    """The nodes of a graph without state, for so many maps at once."""

    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph, self.batch = graph, batch
        self.constants = constants(graph)
        self.operators: dict[str, Any] = {}

    def read(self, node: Node, values: Mapping[str, Array]) -> Array:
        """What a population or the output reads, with biases."""
        x, bias = self._sum(node, values), self.constants[node.name]
        return x + bias.astype(self._dtype(node.name)) if bias.any() else x

    def compute(self, node: Node, values: Mapping[str, Array]) -> Array:
        """What a node without state returns, without biases but for those before a maximum."""
        x = self._sum(node, values)
        if isinstance(node.operation, Flatten | Delay):  # what a `Delay` reads; `delayed` says what leaves it
            return x.reshape(self.batch, *node.shape)
        if node.name not in self.operators:
            self.operators[node.name] = self._operator(node)
        return np.asarray(self.operators[node.name](x))

    def currents(self, name: str, given: Mapping[str, Array]) -> Array:
        """What a population reads, with biases, from the values of the nodes in `given` (which may miss others)."""
        values = dict(given)
        wanted, waiting = set(), list(self.graph.nodes[name].sources)
        while waiting:
            source = waiting.pop()
            if source not in values and source not in wanted:
                wanted.add(source)
                waiting.extend(self.graph.nodes[source].sources)
        for node in self.graph.nodes.values():
            if node.name in wanted:
                values[node.name] = self.compute(node, values)
        return self.read(self.graph.nodes[name], values)

    def _sum(self, node: Node, values: Mapping[str, Array]) -> Array:
        first, *others = (values[source] for source in node.sources)
        for x in others:
            first = first + x
        return first

    def _operator(self, node: Node) -> Any:
        dtype = self._dtype(node.name)
        match node.operation:
            case MaxPool2d() as pool:
                return Maxima(node, pool, self.constants[node.name], self.batch, dtype)
            case SelfAttention() as attention:
                return Attention(node, attention, dtype)
            case _:
                return linear(node, self.batch, dtype)

    def _dtype(self, name: str) -> type[np.floating]:
        limit = self.graph.metadata.certificate.get("nodes", {}).get(name, {}).get("limit", SINGLE)
        return np.float32 if limit == SINGLE else np.float64


def count_overflows(
    graph: Graph,
    frames: NDArray[np.float32],
    progress: Callable[[int, int], None] = lambda done, total: None,
    size: int = 16,
) -> dict[str, Overflows]:
    """What did leave its width when `graph`, of integers, ran on `frames` `[N, *input shape]`, by population.

    Where `certificate` can't prove that nothing overflows for any input, this says whether it did for these.

    Args:
        graph: an integer graph whose metadata tells T.
        frames: integers, one frame per image.
        progress: told (images done, images in all).
        size: images at a time.

    Raises:
        RefusedInput: the graph doesn't tell T.
    """
    steps = graph.metadata.time_steps
    if steps is None:
        raise RefusedInput(f"{graph.source}: the file doesn't say how many time steps an image takes")
    total = {node.name: Overflows() for node in graph.populations}
    for part in batches(len(frames), size):
        for name, found in run(graph, frames[part], steps).overflows.items():
            total[name].wraps += found.wraps
            total[name].saturations += found.saturations
        progress(part.stop, len(frames))
    return total


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count`."""
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def _state(lif: LoihiLif) -> type[np.floating]:
    """float32 for integer membranes that halve, or keep or lose a power of two of their value; else float64."""
    kept = 2**DECAY_BITS - lif.decay
    return np.float64 if kept & (kept - 1) else np.float32


def integer_step(lif: LoihiLif, v: Array, x: Array, overflows: Overflows) -> NDArray[np.bool_]:
    """`loihi2.arithmetic.step` in the type of `v`, which holds it exactly; counts what overflows."""
    unity = 2**DECAY_BITS
    u = x.astype(v.dtype, copy=False) * v.dtype.type(2**ALIGNMENT)
    wraps = np.count_nonzero((u > STATE_LIMIT) | (u <= -STATE_LIMIT))
    if wraps:
        overflows.wraps += int(wraps)
        u = STATE_LIMIT - np.mod(STATE_LIMIT - u, 2 * STATE_LIMIT)
    v *= v.dtype.type((unity - lif.decay) / unity)
    np.trunc(v, out=v)
    v += u
    v += lif.bias
    overflows.saturations += int(np.count_nonzero(v < 1 - STATE_LIMIT))
    np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1, out=v)
    fired = v > lif.threshold * float(2**ALIGNMENT)
    v[fired] = 0
    return np.asarray(fired)
