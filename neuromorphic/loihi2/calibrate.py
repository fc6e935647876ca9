"""What calibration frames cause in the float graph, and how far other parameters are from it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.execution.fast import Execution, batches, run
from neuromorphic.execution.frames import frame, still
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Sink

BATCH = 32
"""Images side by side."""

JUDGED = 16
"""Images on which units are compared."""

Spikes = Mapping[str, NDArray[np.uint8]]
"""By population, uint8 `[N, T, *shape]`."""


class Calibration:
    """The float graph's spikes on the calibration frames.

    Attributes:
        frames: float32 `[N, *input shape]` or `[N, T, *input shape]`, quantised.
        time_steps: T.
        spikes: of the float graph, on frames that are not quantised.
    """

    def __init__(
        self, graph: Graph, frames: NDArray[np.float32], quantised: NDArray[np.float32], time_steps: int
    ) -> None:
        self.frames, self.time_steps = quantised, time_steps
        self.spikes = _spikes(graph, frames, time_steps)

    def all(self, graph: Graph) -> Spikes:
        """Spikes of all populations of `graph`."""
        return _spikes(graph, self.frames, self.time_steps)

    def judged(self, graph: Graph, name: str) -> NDArray[np.uint8]:
        """Spikes of one population of `graph` on the float graph's inputs, of the first images only."""
        return self.fired(graph, name, {n: spikes[:JUDGED] for n, spikes in self.spikes.items()})

    def fired(self, graph: Graph, name: str, given: Spikes) -> NDArray[np.uint8]:
        """Spikes of one population, `[N, T, *shape]`; where it reads itself, it hears these.

        Args:
            graph: with the parameters in question.
            name: of the population.
            given: spikes of the populations before it, of all images or of the first ones.
        """
        images = min((len(spikes) for spikes in given.values()), default=len(self.frames))
        return self._sent(graph, name, given, images)

    def maps(self, graph: Graph, node: Node, given: Spikes) -> NDArray[Any]:
        """What a node reads of spikes or frames, in every step of every image: `[N T, *input shape]`.

        Of frames that are the same in every step and don't wait, one per image.
        """
        before = [graph.nodes[name] for name in _behind(graph, node.name)]
        nodes = {n.name: replace(n, sources=()) if n.spiking else n for n in before}
        as_output = replace(node, operation=Sink(), shape=node.input_shape)
        only = {graph.input: graph.nodes[graph.input], **nodes, node.name: as_output}
        read = replace(graph, nodes={name: only[name] for name in graph.nodes if name in only})
        alike = still(graph, self.frames) and not any(n.spiking or isinstance(n.operation, Delay) for n in before)
        found = self._sent(read, node.name, given, len(self.frames), 1 if alike else None)
        return found.reshape(-1, *node.input_shape)

    def _sent(self, graph: Graph, name: str, given: Spikes, images: int, steps: int | None = None) -> NDArray[Any]:
        """What one node sends in the first `steps` steps, T by default: `[images, steps, *shape]`."""
        parts = [self._steps(graph, name, given, part, steps or self.time_steps) for part in batches(images, BATCH)]
        return np.concatenate([np.stack(list(part), 1) for part in parts])

    def _steps(self, graph: Graph, name: str, given: Spikes, part: slice, steps: int) -> Iterator[NDArray[Any]]:
        names, frames = _behind(graph, name), self.frames[part]
        populations = {n for n in names if graph.nodes[n].spiking} - {name}
        execution = Execution(graph, len(frames), steps, names - populations | {name}, double=True)
        for t in range(steps):
            sent = {n: given[n][part, t] for n in populations}
            yield execution.step({graph.input: frame(graph, frames, t), **sent})[name]

    def disagreement(self, name: str, spikes: NDArray[np.uint8]) -> float:
        """Fraction of a population's neurons and steps whose spike differs from the float graph's."""
        return float(np.mean(spikes != self.spikes[name][: len(spikes)]))


def _spikes(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> Spikes:
    parts = [run(graph, frames[part], time_steps, double=True).spikes for part in batches(len(frames), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _behind(graph: Graph, name: str) -> set[str]:
    """The nodes that a node reads, directly or through nodes that don't spike."""
    found: set[str] = set()
    waiting = list(graph.nodes[name].sources)
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            if not graph.nodes[source].spiking:
                waiting.extend(graph.nodes[source].sources)
    return found
