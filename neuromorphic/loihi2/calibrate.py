"""What calibration images cause in the float graph, and how far other parameters are from it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.dynamics import advance, at_rest
from neuromorphic.graph import Delay, Graph, Node
from neuromorphic.loihi2.populations import neurons_of
from neuromorphic.loihi2.run import Network, batches, delayed, run

BATCH = 32
"""Images side by side."""

JUDGED = 16
"""Images on which units are compared."""

Spikes = Mapping[str, NDArray[np.uint8]]
"""By population, uint8 `[N, T, *shape]`."""


class Calibration:
    """The float graph's spikes on the calibration images.

    Attributes:
        frames: float32 `[N, *input shape]`, quantised.
        time_steps: T.
        spikes: of the float graph, on frames that are not quantised.
    """

    def __init__(
        self, graph: Graph, frames: NDArray[np.float32], quantised: NDArray[np.float32], time_steps: int
    ) -> None:
        self.frames, self.time_steps = quantised, time_steps
        parts = [run(graph, frames[part], time_steps).spikes for part in batches(len(frames), BATCH)]
        self.spikes: Spikes = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def judged(self, graph: Graph, name: str) -> NDArray[np.uint8]:
        """Spikes of one population of `graph` on the float graph's inputs, of the first images only."""
        return self.fired(graph, name, {n: spikes[:JUDGED] for n, spikes in self.spikes.items()})

    def fired(self, graph: Graph, name: str, given: Spikes) -> NDArray[np.uint8]:
        """Spikes of one population, `[N, T, *shape]`.

        Args:
            graph: with the parameters in question.
            name: of the population.
            given: spikes of the populations before it, of all images or of the first ones.
        """
        node = graph.nodes[name]
        neurons = neurons_of(node)
        images = min((len(spikes) for spikes in given.values()), default=len(self.frames))
        result = np.zeros((images, self.time_steps, *node.shape), np.uint8)
        sent = {**given, **{n.name: self._carried(graph, n.name, given) for n in _delays_before(graph, name)}}
        for part in batches(images, BATCH):
            frames = self.frames[part]
            network = Network(graph, len(frames))
            state = at_rest(neurons, len(frames), node.shape)
            for t in range(self.time_steps):
                values: dict[str, NDArray[Any]] = {n: spikes[part, t] for n, spikes in sent.items()}
                x = network.currents(name, {graph.input: frames, **values})
                result[part, t] = advance(neurons, state, x)
        return result

    def maps(self, graph: Graph, node: Node, given: Spikes) -> NDArray[Any]:
        """What a node reads of spikes or frames, in every step of every image: `[N T, *input shape]`.

        Of frames, which are the same in every step, one per image.
        """
        read = sum(self._carried(graph, source, given) for source in node.sources)
        return np.asarray(read).reshape(-1, *node.input_shape)

    def _carried(self, graph: Graph, name: str, given: Spikes) -> NDArray[Any]:
        node = graph.nodes[name]
        if name == graph.input:
            return self.frames[:, None]
        if node.spiking:
            return given[name]
        read = np.asarray(sum(self._carried(graph, source, given) for source in node.sources))
        read = read.reshape(*read.shape[:2], *node.shape)
        if not isinstance(node.operation, Delay):
            return read
        read = np.broadcast_to(read, (len(read), self.time_steps, *node.shape))
        return np.stack([delayed(node.operation, read, t) for t in range(self.time_steps)], 1)

    def disagreement(self, name: str, spikes: NDArray[np.uint8]) -> float:
        """Fraction of a population's neurons and steps whose spike differs from the float graph's."""
        return float(np.mean(spikes != self.spikes[name][: len(spikes)]))


def _delays_before(graph: Graph, name: str) -> list[Node]:
    """The `Delay`s that stand between a population and those before it."""
    found: dict[str, Node] = {}
    waiting = list(graph.nodes[name].sources)
    while waiting:
        node = graph.nodes[waiting.pop()]
        if isinstance(node.operation, Delay):
            found[node.name] = node
        elif not node.spiking:
            waiting.extend(node.sources)
    return list(found.values())
