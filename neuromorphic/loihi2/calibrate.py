"""What calibration images cause in the float graph, and how far other parameters are from it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neuromorphic.graph import Graph, Lif
from neuromorphic.loihi2.run import Network, batches, run
from neuromorphic.operations import Floats
from neuromorphic.reference import step

BATCH = 32

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

    def greatest(self, graph: Graph, name: str) -> float:
        """The greatest magnitude of what a population reads, without its bias, of neurons that only read frames."""
        found = 0.0
        for part in batches(len(self.frames), BATCH):
            frames = self.frames[part]
            network = Network(graph, len(frames), np.float32)
            x = network.currents(name, {graph.input: frames}) - network.constants[name]
            found = max(found, float(np.abs(x).max()))
        return found

    def fired(self, graph: Graph, name: str, given: Spikes, thresholds: list[Floats]) -> list[NDArray[np.uint8]]:
        """Spikes of one population with other thresholds, `[N, T, *shape]` each.

        Args:
            graph: with the parameters in question.
            name: of the population.
            given: spikes of the populations before it.
            thresholds: one list entry per answer.
        """
        node = graph.nodes[name]
        lif = node.operation
        if not isinstance(lif, Lif):
            raise TypeError(f"node {name!r} is not a population of floats")
        results = [np.zeros((len(self.frames), self.time_steps, *node.shape), np.uint8) for _ in thresholds]
        for part in batches(len(self.frames), BATCH):
            frames = self.frames[part]
            network = Network(graph, len(frames), np.float32)
            membranes = [np.zeros((len(frames), *node.shape), np.float32) for _ in thresholds]
            for t in range(self.time_steps):
                values = {graph.input: frames, **{n: spikes[part, t] for n, spikes in given.items()}}
                x = network.currents(name, values)
                for v, threshold, result in zip(membranes, thresholds, results, strict=True):
                    result[part, t] = step(Lif(lif.decay, lif.gain, threshold), v, x)
        return results

    def disagreement(self, name: str, spikes: NDArray[np.uint8]) -> float:
        """Fraction of a population's neurons and steps whose spike differs from the float graph's."""
        return float(np.mean(spikes != self.spikes[name]))
