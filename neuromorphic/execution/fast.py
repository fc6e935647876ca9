"""A graph run fast, float or integer, all images of a batch side by side: for calibration and for checks at run time.

The semantics are the reference's.  In an integer graph float32 holds sums up to 2^24, which its certificate says of all
but some nodes, and membranes that halve: products with powers of two don't round, and what is beyond 2^24 before v
saturates does saturate.  The rest is float64.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.schedule import inputs
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.lava.layers import constants
from neuromorphic.ops import loihi_arithmetic as arithmetic
from neuromorphic.ops.delay_line import DelayLine
from neuromorphic.ops.dynamics import State, advance, at_rest
from neuromorphic.ops.linear import linear
from neuromorphic.ops.loihi_widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT
from neuromorphic.ops.nonlinear import Attention, Maxima
from neuromorphic.ops.operations import (
    Delay,
    Flatten,
    LoihiLif,
    MaxPool2d,
    Membranes,
    Population,
    SelfAttention,
    Sink,
    Source,
)

Array = NDArray[Any]

UNITY = 2**DECAY_BITS

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


def run(graph: Graph, frames: NDArray[np.float32], time_steps: int, *, double: bool = False) -> Activity:
    """All spikes of `frames` `[B, *input shape]`, each presented for T steps, or of `[B, T, *input shape]`.

    Args:
        graph: any validated graph.
        frames: float32.
        time_steps: T.
        double: as of `Execution`.
    """
    batch = len(frames)
    execution = Execution(graph, batch, time_steps, double=double)
    spikes = {node.name: np.zeros((batch, time_steps, *node.shape), np.uint8) for node in graph.populations}
    outputs = np.zeros((batch, time_steps, *graph.nodes[graph.output].shape), np.float64)
    for t in range(time_steps):
        values = execution.step({graph.input: frame(graph, frames, t)})
        for name, train in spikes.items():
            train[:, t] = values[name]
        outputs[:, t] = values[graph.output]
    return Activity(spikes, outputs, execution.membranes, execution.overflows)


def frame(graph: Graph, frames: NDArray[np.float32], t: int) -> NDArray[np.float32]:
    """The frames of step t, `[B, *input shape]`, of such frames or of one per step."""
    return frames if still(graph, frames) else frames[:, t]


def still(graph: Graph, frames: NDArray[np.float32]) -> bool:
    """Whether there is one frame per image, the same in every step."""
    return frames.ndim == len(graph.nodes[graph.input].shape) + 1


class Execution:
    """Nodes of a graph, step by step, for so many maps at once, from rest.

    Args:
        graph: any validated graph.
        batch: maps at once.
        time_steps: that will be taken, at most.
        names: of the nodes to compute; all of them by default.
        double: sums in float64 even where the certificate asks for no more than float32: it holds for the graph's own
            weights, and others round in an order that differs between processors.
    """

    def __init__(
        self, graph: Graph, batch: int, time_steps: int, names: Collection[str] | None = None, *, double: bool = False
    ) -> None:
        self.network = Network(graph, batch, double=double)
        chosen = [node for node in graph.nodes.values() if names is None or node.name in names]
        self.nodes = [node for node in chosen if not isinstance(node.operation, Source | Flatten)]
        self.read = {node.name: [(s, graph.lag(s, node.name)) for s in inputs(graph, node.name)] for node in self.nodes}
        lags: dict[str, int] = {}
        for source, lag in (each for read in self.read.values() for each in read):
            lags[source] = max(lag, lags.get(source, 0))
        # What was sent in the steps before, the last one first.
        self.past: dict[str, deque[Array]] = {s: deque(maxlen=min(n, time_steps)) for s, n in lags.items() if n}
        self.lines = {
            node.name: DelayLine(node.operation, (batch, *node.shape))
            for node in self.nodes
            if isinstance(node.operation, Delay)
        }
        self.states: dict[str, State] = {}
        self.integers: dict[str, _Integers] = {}
        for node in self.nodes:
            match node.operation:
                case LoihiLif() as lif:
                    self.integers[node.name] = _Integers(lif, (batch, *node.shape))
                case operation if isinstance(operation, Population | Membranes):
                    self.states[node.name] = at_rest(operation, batch, node.shape)
        self.t = 0

    @property
    def membranes(self) -> dict[str, Array]:
        """Every v after the last step, by the name of its neurons, `[B, *shape]`."""
        floats = {name: state.v for name, state in self.states.items()}
        return {**floats, **{name: neurons.v for name, neurons in self.integers.items()}}

    @property
    def overflows(self) -> dict[str, Overflows]:
        """By population of integers."""
        return {name: neurons.overflows for name, neurons in self.integers.items()}

    def step(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """What every node sends in the next step, `[B, *shape]` by name; of what flattens, nothing.

        Args:
            given: what the input sends, and nodes that are not computed.
        """
        values: dict[str, Array] = dict(given)
        for node in self.nodes:
            values[node.name] = self._sent(node, values)
        for name, line in self.past.items():
            line.appendleft(values[name])
        self.t += 1
        return values

    def _sent(self, node: Node, values: Mapping[str, Array]) -> Array:
        x = self._sum(node, values)
        match node.operation:
            case LoihiLif():
                return self.integers[node.name](self.network.with_bias(node, x))
            case operation if isinstance(operation, Population | Membranes):
                sent = advance(operation, self.states[node.name], self.network.with_bias(node, x))
                return sent.astype(np.uint8) if node.spiking else sent
            case Sink():
                return self.network.with_bias(node, x)
            case Delay(lag=lag):
                x = self.network.with_bias(node, x) if self.t >= lag else x
                return np.asarray(self.lines[node.name](x, self.t))
            case _:
                return self.network.compute(node, x)

    def _sum(self, node: Node, values: Mapping[str, Array]) -> Array:
        """What arrives at a node, without biases: `[B, *input shape]`, in the type of what was sent."""
        read = [(source, lag) for source, lag in self.read[node.name] if lag <= self.t]
        if not read:
            return np.zeros((self.network.batch, *node.input_shape), np.uint8)
        parts = (self.past[source][lag - 1] if lag else values[source] for source, lag in read)
        first, *others = (x.reshape(-1, *node.input_shape) for x in parts)
        for x in others:
            first = first + x
        return first


class Network:
    """The nodes of a graph without state, for so many maps at once."""

    def __init__(self, graph: Graph, batch: int, *, double: bool = False) -> None:
        self.graph, self.batch, self.double = graph, batch, double
        self.constants = constants(graph)
        self.operators: dict[str, Any] = {}

    def with_bias(self, node: Node, x: Array) -> Array:
        """What neurons, a `Delay` or the output read, from what arrives without biases."""
        bias = self.constants[node.name]
        return x + bias.astype(self._dtype(node.name)) if bias.any() else x

    def compute(self, node: Node, x: Array) -> Array:
        """What a node without state makes of x, without biases but for those before a maximum."""
        if node.name not in self.operators:
            self.operators[node.name] = self._operator(node)
        return np.asarray(self.operators[node.name](x))

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
        return np.float32 if limit == SINGLE and not self.double else np.float64


class _Integers:
    """A population of integers: `loihi2.arithmetic.step` in the type that holds it exactly; counts what overflows."""

    def __init__(self, lif: LoihiLif, shape: tuple[int, ...]) -> None:
        self.lif, self.overflows = lif, Overflows()
        self.v: Array = np.zeros(shape, _state(lif))
        self.u: Array = np.zeros(shape if lif.lasting else (), self.v.dtype)

    def __call__(self, x: Array) -> Array:
        """One step: x to spikes, uint8."""
        lif, v, number = self.lif, self.v, self.v.dtype.type
        u = x.astype(v.dtype, copy=False)
        if lif.drive.any():
            u = u + lif.drive
        u = u * number(2**ALIGNMENT)
        if lif.lasting:
            u += arithmetic.decayed(self.u, lif.synapse_decay)
        wraps = np.count_nonzero((u > STATE_LIMIT) | (u <= -STATE_LIMIT))
        if wraps:
            self.overflows.wraps += int(wraps)
            u = arithmetic.wrap(u)
        if lif.lasting:
            self.u = u
        v *= number((UNITY - lif.decay) / UNITY)
        np.trunc(v, out=v)
        v += u
        v += lif.bias
        self.overflows.saturations += int(np.count_nonzero(v < 1 - STATE_LIMIT))
        np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1, out=v)
        fired = v > lif.threshold * float(2**ALIGNMENT)
        v[fired] = 0
        return np.asarray(fired.view(np.uint8))


def _state(lif: LoihiLif) -> type[np.floating]:
    """float32 for membranes that halve, keep all or nothing or a power of two of their value; else float64."""
    kept = UNITY - lif.decay
    return np.float64 if kept & (kept - 1) or lif.lasting else np.float32


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
        frames: integers, a frame per image or per step.
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
