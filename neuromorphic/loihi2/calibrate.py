"""Calibration: spikes of the float graph on calibration frames, and how far those of other parameters are from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.rounding import SINGLE
from neuromorphic.cluster.ranges import batches
from neuromorphic.execution.fast import Execution, run
from neuromorphic.execution.frames import read_at, still
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Affine, Conv2d, Delay, Float32, Linear, Sink, Weighted

BATCH = 32
"""Images side by side."""

JUDGED = 16
"""Images on which units are compared."""

KEPT_BYTES = 2**29
"""Bytes of currents that are kept, the latest ones, for the next population that sums them."""

Spikes = Mapping[str, NDArray[np.uint8]]
"""By population: uint8 `[N, T, *shape]`."""


@dataclass(frozen=True)
class IntegerWeights:
    """Weights `unit · integer`.

    Spikes are integers too, so float32, which is twice as fast as float64, holds their weighted sums up to 2^24.

    Attributes:
        weights: the integers, float32 `[out, ...]`.
        unit: the weight that 1 stands for.
    """

    weights: Float32
    unit: float

    def fits(self, sources: int) -> bool:
        """Whether float32 holds the weighted sum of all spikes of so many sources."""
        largest = np.abs(self.weights).reshape(len(self.weights), -1).sum(1).max() * sources
        return bool(largest < 2**SINGLE)


@dataclass(frozen=True)
class _Kept:
    """The output of a node with synapses, kept while its weights and the spikes that it reads are the same objects.

    Attributes:
        weights: of the node; None where it has none.
        read: the spikes of each source, uint8 `[N, T, ...]`.
        sent: the output, float64 `[N, T, *shape]`.
    """

    weights: Float32 | None
    read: tuple[NDArray[np.uint8], ...]
    sent: NDArray[np.float64]


class Calibration:
    """Runs graphs on the calibration frames, and compares their spikes with the float graph's.

    Args:
        graph: the float graph.
        frames: float32 `[N, *input shape]` or `[N, T, *input shape]`, as it reads them.
        quantised: the same, rounded to the integers that the chip reads, in the unit of the floats.
        time_steps: T.

    Attributes:
        frames: the quantised ones.
        spikes: those of the float graph on the frames that are not quantised.
    """

    def __init__(
        self, graph: Graph, frames: NDArray[np.float32], quantised: NDArray[np.float32], time_steps: int
    ) -> None:
        self.frames, self.time_steps = quantised, time_steps
        self.spikes = _spikes(graph, frames, time_steps)
        self.first = {name: spikes[:JUDGED] for name, spikes in self.spikes.items()}
        self.kept: dict[str, _Kept] = {}

    def all(self, graph: Graph) -> Spikes:
        """The spikes of all populations of `graph`."""
        return _spikes(graph, self.frames, self.time_steps)

    def judged(self, graph: Graph, name: str, integers: Mapping[str, IntegerWeights]) -> NDArray[np.uint8]:
        """The spikes of one population of `graph` on the first images, where all others spike as the float graph's do.

        `integers` are the weights, as integers, of nodes before it, where they are known.
        """
        return self._sent(graph, name, self.first, JUDGED, integers)

    def fired(self, graph: Graph, name: str, given: Spikes) -> NDArray[np.uint8]:
        """The spikes of one population, `[N, T, *shape]`, where all others, and it to itself, send those `given`."""
        return self._sent(graph, name, given, len(self.frames), {})

    def maps(self, graph: Graph, node: Node, given: Spikes) -> NDArray[Any]:
        """The input of a node in every step of every image, `[N T, *input shape]`, where populations send `given`.

        Where it reads frames that are the same in every step and don't wait, there is one map per image.
        """
        before = [graph.nodes[name] for name in _behind(graph, node.name)]
        nodes = {n.name: replace(n, sources=()) if n.spiking else n for n in before}
        as_output = replace(node, operation=Sink(), shape=node.input_shape)
        only = {**{n: graph.nodes[n] for n in graph.inputs}, **nodes, node.name: as_output}
        read = replace(graph, nodes={name: only[name] for name in graph.nodes if name in only})
        alike = still(graph, self.frames) and not any(n.spiking or isinstance(n.operation, Delay) for n in before)
        found = self._sent(read, node.name, given, len(self.frames), {}, 1 if alike else None)
        return found.reshape(-1, *node.input_shape)

    def _sent(
        self,
        graph: Graph,
        name: str,
        given: Spikes,
        images: int,
        integers: Mapping[str, IntegerWeights],
        steps: int | None = None,
    ) -> NDArray[Any]:
        """The output of one node in the first `steps` time steps, T by default: `[images, steps, *shape]`."""
        names = _behind(graph, name)
        found: dict[str, NDArray[Any]] = {n: given[n] for n in names if graph.nodes[n].spiking and n != name}
        synapses = {n for n in names if _reads_spikes_only(graph, graph.nodes[n])}
        found.update({n: self._currents(graph.nodes[n], given, integers.get(n)) for n in synapses})
        parts = []
        for part in batches(images, BATCH):
            frames = self.frames[part]
            count = steps or self.time_steps
            execution = Execution(graph, len(frames), count, names - found.keys() | {name})
            sent = []
            for t in range(count):
                values = {n: each[part, t] for n, each in found.items()}
                sent.append(execution.step({**read_at(graph, frames, t), **values})[name])
            parts.append(np.stack(sent, 1))
        return np.concatenate(parts)

    def _currents(self, node: Node, given: Spikes, integers: IntegerWeights | None) -> NDArray[np.float64]:
        """The output of a node with synapses that read spikes: `[N, T, *shape]`; kept for the next call (`_Kept`)."""
        operation = node.of(Linear)
        weights = operation.weights if isinstance(operation, Weighted) else None
        read = tuple(given[s] for s in node.sources)
        kept = self.kept.get(node.name)
        if kept is not None and kept.weights is weights and all(a is b for a, b in zip(kept.read, read, strict=True)):
            return kept.sent
        self.kept.pop(node.name, None)
        if integers is not None and isinstance(operation, Affine | Conv2d) and integers.fits(len(read)):
            sent = integers.unit * _weighted(node, operation.with_weights(integers.weights), read, np.float32)
        else:
            sent = _weighted(node, operation, read, np.float64)
        self.kept[node.name] = _Kept(weights, read, sent)
        while len(self.kept) > 1 and sum(each.sent.nbytes for each in self.kept.values()) > KEPT_BYTES:
            del self.kept[next(iter(self.kept))]
        return sent

    def disagreement(self, name: str, spikes: NDArray[np.uint8]) -> float:
        """Fraction of a population's neurons and steps whose spike differs from the float graph's."""
        return float(np.mean(spikes != self.spikes[name][: len(spikes)]))


def _weighted(node: Node, operation: Linear, read: tuple[NDArray[np.uint8], ...], dtype: type) -> NDArray[Any]:
    """`W x`, x the sum of the spikes of all sources, each uint8 `[N, T, ...]`: `[N, T, *shape]` of `dtype`."""
    images, steps = read[0].shape[:2]
    sent = np.empty((images, steps, *node.shape), dtype)
    kernel = operation.kernel(node.shapes, steps, dtype, np.zeros(node.input_shape))
    for i in range(images):  # the steps of one image at once: they stay in the cache
        first, *others = (spikes[i].reshape(steps, *node.input_shape) for spikes in read)
        sent[i] = kernel(sum(others, start=first))
    return sent


def _spikes(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> Spikes:
    parts = [run(graph, frames[part], time_steps).spikes for part in batches(len(frames), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _reads_spikes_only(graph: Graph, node: Node) -> bool:
    """Whether a node is linear and reads nothing but spikes of the same time step."""
    in_time = (graph.nodes[s].spiking and (s, node.name) not in graph.recurrent for s in node.sources)
    return isinstance(node.operation, Linear) and all(in_time)


def _behind(graph: Graph, name: str) -> frozenset[str]:
    """The nodes that lead to a node, directly or through nodes that don't spike."""
    return graph.before((name,), lambda node: not node.spiking)
