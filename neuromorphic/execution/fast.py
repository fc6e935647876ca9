"""The fast executor: the reference's semantics by each operation's kernel, in floats and in the chip's integers.

Nodes compute in float32 where that holds every sum exactly (`analysis.exactness`), else in float64; biases act at the
neurons.  Neurons of integers keep what holds them exactly (`ops.loihi`).

Where Numba is installed (the extra `fast`), runs that are long enough for it are computed by `execution.compiled`,
which gives the same to the bit.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, assert_never

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.exactness import doubles_on
from neuromorphic.analysis.fingerprint import lineage
from neuromorphic.cluster.places import own_cores
from neuromorphic.cluster.ranges import batches
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.batches import MOST, fitting, joined, told
from neuromorphic.execution.frames import per_step, read_at, steps_of
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.inputs import Given
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.ops import Array, ChipPopulation, Delay, DelayLine, Neurons, Overflows, Sink, Source, Stateless
from neuromorphic.ops.types import ChipKernel, NeuronKernel

if TYPE_CHECKING:
    from neuromorphic.execution.compiled import Compiled

COMPILES = find_spec("numba") is not None
"""Whether kernels can be compiled here."""

WORTHWHILE = 2**35
"""Products of a run from which on they are: they take a second to load, and the first time half a minute to compile."""


@dataclass(frozen=True)
class Activity:
    """The activity that a batch of images caused.

    Attributes:
        spikes: by population, uint8 `[B, T, *shape]`.
        outputs: float64 `[B, T, *shape]`.
        further: outputs beyond the first, by name.
        membranes: v after the last step, by node of neurons, `[B, *shape]`.
        overflows: by population of an integer graph.
    """

    spikes: Mapping[str, NDArray[np.uint8]]
    outputs: Array
    membranes: Mapping[str, Array]
    overflows: Mapping[str, Overflows] = field(default_factory=dict)
    further: Mapping[str, Array] = field(default_factory=dict)


def run(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> Activity:
    """All spikes of `frames`, float32 `[B, *input shape]`, each presented for T steps, or `[B, T, *input shape]`."""
    compiled = _compiled(graph, frames, time_steps)
    if compiled is not None:
        from neuromorphic.execution.positions import maps

        ran = compiled.run(frames, lambda node, spikes: maps(spikes, node.shape))
        return Activity(ran.kept, ran.outputs, ran.membranes, ran.overflows)
    batch = len(frames)
    execution = Execution(graph, batch, time_steps, doubles=doubles_on(graph, frames, time_steps))
    spikes = {node.name: np.zeros((batch, time_steps, *node.shape), np.uint8) for node in graph.populations}
    outputs = {name: np.zeros((batch, time_steps, *graph.nodes[name].shape), np.float64) for name in graph.outputs}
    for t in range(time_steps):
        values = execution.step(read_at(graph, frames, t))
        for name, train in spikes.items():
            train[:, t] = values[name]
        for name, sent in outputs.items():
            sent[:, t] = values[name]
    first = outputs.pop(graph.output)
    return Activity(spikes, first, execution.membranes, execution.overflows, outputs)


def traces(
    graph: Graph,
    frames: Given,
    time_steps: int | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cores: int | None = None,
) -> Iterator[Trace]:
    """The trace of `graph` on `frames` in parts, some images each; only a few of them are in memory at a time.

    Arguments and errors as of the reference's.  Compiled kernels run on so many cores; on all of this process's by
    default.
    """
    shown = per_step(graph, frames, time_steps)
    images, steps = shown.shape[:2]
    compiled = _compiled(graph, shown, steps)
    results: Iterator[Trace]
    if compiled is None:
        results = (
            _trace(graph, run(graph, shown[part], steps)) for part in batches(images, batch or fitting(graph, steps))
        )
    else:
        parts = batches(images, compiled.batch)
        results = _side_by_side(lambda part: _compiled_trace(compiled, shown[part]), parts, cores or own_cores())
    return told(results, images, progress)


run_in_batches = joined(traces)
"""The trace of all images."""


def _side_by_side(task: Callable[[slice], Trace], parts: Iterator[slice], cores: int) -> Iterator[Trace]:
    """The results of `task` on each part, in their order, on so many cores; on one, without a thread beside it."""
    if cores == 1:
        yield from map(task, parts)
        return
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[Trace]] = deque()
        for part in parts:
            waiting.append(pool.submit(task, part))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def compiles(graph: Graph, images: int, time_steps: int) -> bool:
    """Whether there are compiled kernels, and the run is long enough for them."""
    products = sum(node.operation.products(node.shapes) for node in graph.nodes.values())
    return COMPILES and products * time_steps * images >= WORTHWHILE


def _compiled(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> "Compiled | None":
    """The graph in compiled kernels, if the run `compiles` and is exact in them."""
    if not compiles(graph, len(frames), time_steps):
        return None
    from neuromorphic.execution.compiled import Compiled, fits

    if not fits(graph, frames, time_steps):
        return None
    key = (Compiled, time_steps)
    if key not in graph.facts:
        graph.facts[key] = Compiled(graph, time_steps)
    return graph.facts[key]  # type: ignore[no-any-return]


def _compiled_trace(compiled: "Compiled", frames: NDArray[np.float32]) -> Trace:
    from neuromorphic.execution.compiled import packed

    ran = compiled.run(frames, packed)
    return _shown(compiled.graph, ran.kept, {compiled.graph.output: ran.outputs}, ran.membranes, ran.overflows)


def _trace(graph: Graph, activity: Activity) -> Trace:
    spikes = {name: SpikeTrain.pack(train.view(np.bool_)) for name, train in activity.spikes.items()}
    outputs = {graph.output: activity.outputs, **activity.further}
    return _shown(graph, spikes, outputs, activity.membranes, activity.overflows)


def _shown(
    graph: Graph,
    spikes: Mapping[str, SpikeTrain],
    outputs: Mapping[str, Array],
    v: Mapping[str, Array],
    found: Mapping[str, Overflows],
) -> Trace:
    """A trace of what a batch caused; v is that of all neurons, `found` what overflowed in populations of integers."""
    with np.errstate(over="ignore"):
        single = {name: sent.astype(np.float32) for name, sent in outputs.items()}
    if not all(np.isfinite(sent).all() for sent in single.values()):
        raise RefusedInput(f"{graph.source}: its output leaves the range of float32; expected smaller weights")
    membranes, overflows = None, None
    if graph.precision == "loihi2":
        membranes = {node.name: v[node.name].astype(np.int32, order="C", copy=False) for node in graph.populations}
        overflows = dict(found)
    first = single.pop(graph.output)
    return Trace(
        "fast", graph.precision, spikes, first, graph.metadata.readout, membranes, lineage(graph), single, overflows
    )


class Execution:
    """Nodes of a graph, step by step, for so many maps at once, from rest.

    Args:
        graph: any validated graph.
        batch: maps at once.
        time_steps: that will be taken, at most.
        names: of the nodes to compute; all of them by default.
        doubles: names of the nodes that sum in float64 (`analysis.exactness`); all of them by default: what float32
            rounds, it rounds in an order that differs between processors.
    """

    def __init__(
        self,
        graph: Graph,
        batch: int,
        time_steps: int,
        names: Collection[str] | None = None,
        doubles: Collection[str] | None = None,
    ) -> None:
        self.graph, self.batch, self.doubles = graph, batch, doubles
        self.biases = biases(graph)
        chosen = [node for node in graph.nodes.values() if names is None or node.name in names]
        self.nodes = [node for node in chosen if not isinstance(node.operation, Source)]
        self.read = {node.name: [(s, graph.lag(s, node.name)) for s in node.sources] for node in self.nodes}
        lags: dict[str, int] = {}
        for source, lag in (each for read in self.read.values() for each in read):
            lags[source] = max(lag, lags.get(source, 0))
        # What was sent in the steps before, the last one first.
        self.past: dict[str, deque[Array]] = {s: deque(maxlen=min(n, time_steps)) for s, n in lags.items() if n}
        self.t = 0
        self.neurons: dict[str, NeuronKernel] = {}
        self.chip: dict[str, ChipKernel] = {}
        for node in self.nodes:
            if isinstance(node.operation, ChipPopulation):
                self.chip[node.name] = node.operation.neuron_kernel(batch, node.shape, self._dtype(node.name))
            elif isinstance(node.operation, Neurons):
                self.neurons[node.name] = node.operation.neuron_kernel(batch, node.shape, self._dtype(node.name))
        self.compute = {node.name: self._computation(node) for node in self.nodes}

    @property
    def membranes(self) -> dict[str, Array]:
        """Every v after the last step, by the name of its neurons, `[B, *shape]`."""
        return {name: kernel.v for name, kernel in (*self.neurons.items(), *self.chip.items())}

    @property
    def overflows(self) -> dict[str, Overflows]:
        """By population of integers."""
        return {name: kernel.overflows for name, kernel in self.chip.items()}

    def step(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """The output of every node in the next step, `[B, *shape]` by name; `given`: inputs, and nodes not computed."""
        values: dict[str, Array] = dict(given)
        for node in self.nodes:
            values[node.name] = self.compute[node.name](self._sum(node, values))
        for name, line in self.past.items():
            line.appendleft(values[name])
        self.t += 1
        return values

    def _sum(self, node: Node, values: Mapping[str, Array]) -> Array:
        """The sum that arrives at a node, without biases: `[B, *input shape]`, in the type of what was sent."""
        read = [(source, lag) for source, lag in self.read[node.name] if lag <= self.t]
        if not read:
            return np.zeros((self.batch, *node.input_shape), np.uint8)
        parts = (self.past[source][lag - 1] if lag else values[source] for source, lag in read)
        first, *others = (x.reshape(-1, *node.input_shape) for x in parts)
        for x in others:
            first = first + x
        return first

    def _computation(self, node: Node) -> Callable[[Array], Array]:
        """From what arrives at a node to what leaves it."""
        bias, dtype = self.biases[node.name], self._dtype(node.name)
        constant = bias.astype(dtype) if bias.any() else None

        def with_bias(x: Array) -> Array:
            return x if constant is None else x + constant

        match node.operation:
            case Stateless() as stateless:
                return stateless.kernel(node.shapes, self.batch, dtype, bias)
            case ChipPopulation():
                chip = self.chip[node.name]
                return lambda x: chip(with_bias(x))
            case Neurons():
                neurons = self.neurons[node.name]
                # A kernel may use up what it gets, and a single source's values are still its own.
                return lambda x: neurons(x.astype(dtype) if constant is None else np.add(x, constant, dtype=dtype))
            case Sink():
                # In float64, as of what may arrive: a trace rounds outputs once.
                return lambda x: x + bias if constant is not None else x
            case Delay(lag=lag) as delay:
                line = DelayLine(delay, (self.batch, *node.shape))
                return lambda x: line(with_bias(x) if self.t >= lag else x, self.t)
            case Source():
                raise TypeError(f"node {node.name!r}: a source computes nothing")
            case unknown:
                assert_never(unknown)

    def _dtype(self, name: str) -> type[np.floating]:
        return np.float64 if self.doubles is None or name in self.doubles else np.float32


def count_overflows(graph: Graph, frames: NDArray[np.float32]) -> dict[str, Overflows]:
    """Overflows when `graph`, of integers, ran on `frames`, one per image or per step, by population.

    Where `certificate` can't prove that nothing overflows for any input, this says whether it did for these.

    Raises:
        RefusedInput: the graph doesn't tell T.
    """
    steps = steps_of(graph)
    total = {node.name: Overflows() for node in graph.populations}
    for part in batches(len(frames), MOST):
        for name, found in run(graph, frames[part], steps).overflows.items():
            total[name] += found
    return total
