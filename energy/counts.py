"""Operation counts: exact integers, sums over the images, free of any energy figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["conv2d", "linear", "pooling", "identity"]


@dataclass(frozen=True)
class SourceCounts:
    """Synaptic operations that one population causes in one node.

    Attributes:
        source: name of the population.
        spikes: that it sends, over all images and steps.
        updates: of its neurons, over all images and steps: the spikes at a firing rate of 1.
        sops: int64 `[images]`, one per spike and existing synapse.
        dense: SOPs at a firing rate of 1.
        dense_padded: the same with the taps on the padding.  `rate * dense_padded` is the estimate of most papers.
    """

    source: str
    spikes: int
    updates: int
    sops: NDArray[np.int64]
    dense: int
    dense_padded: int

    @property
    def rate(self) -> float:
        """Spikes per neuron and time step."""
        return self.spikes / self.updates


@dataclass(frozen=True)
class LayerCounts:
    """Operations of one node with synapses.

    Attributes:
        node: its name.
        kind: `conv2d`, `linear`, `pooling` (synapses of weight one) or `identity` (a population that reads another
            one directly: one synapse per neuron).
        spiking: per population that it reads.
        real: names of the sources whose output is real-valued; their sum is what the MACs work on.
        macs: multiply-accumulates on real values, over all images and steps.
        macs_once: the same where real values that come from the input alone are used once per image, since every step
            shows the same frame.
    """

    node: str
    kind: Kind
    spiking: tuple[SourceCounts, ...]
    real: tuple[str, ...]
    macs: int
    macs_once: int

    @property
    def sops(self) -> int:
        """Synaptic operations over all images and sources."""
        return sum(int(source.sops.sum()) for source in self.spiking)

    @property
    def dense(self) -> int:
        """Synaptic operations at a firing rate of 1."""
        return sum(source.dense for source in self.spiking)

    @property
    def dense_padded(self) -> int:
        """The same with the taps on the padding."""
        return sum(source.dense_padded for source in self.spiking)

    @property
    def rate(self) -> float | None:
        """Spikes per neuron and time step, over all spiking sources; None where there is none."""
        if not self.spiking:
            return None
        return sum(s.spikes for s in self.spiking) / sum(s.updates for s in self.spiking)

    def to_dict(self) -> dict[str, Any]:
        """The counts as a JSON-compatible dictionary."""
        return {
            "kind": self.kind,
            "sops": self.sops,
            "dense": self.dense,
            "dense_padded": self.dense_padded,
            "rate": self.rate,
            "macs": self.macs,
            "macs_once": self.macs_once,
            "spiking_sources": [
                {"source": s.source, "spikes": s.spikes, "sops": int(s.sops.sum()), "dense": s.dense, "rate": s.rate}
                for s in self.spiking
            ],
            "real_sources": list(self.real),
        }


@dataclass(frozen=True)
class PopulationCounts:
    """Neurons and spikes of one population.

    Attributes:
        neurons: in it.
        updates: membranes updated: neurons times steps times images, since every neuron is updated in every step.
        spikes: int64 `[T]`, per time step, over all images.
    """

    neurons: int
    updates: int
    spikes: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """The counts as a JSON-compatible dictionary."""
        spikes = int(self.spikes.sum())
        return {
            "neurons": self.neurons,
            "updates": self.updates,
            "spikes": spikes,
            "rate": spikes / self.updates,
            "spikes_per_step": self.spikes.tolist(),
        }


@dataclass(frozen=True)
class Additions:
    """Additions that are neither SOPs nor part of MACs or neuron updates.

    Attributes:
        bias: one per output element of a convolution or affine node whose bias isn't all zero.
        pooling: one per tap on the map, where sum-pooling reads real values.
        fan_in: one per element and real-valued source after the first, where a node sums several.
    """

    bias: int
    pooling: int
    fan_in: int

    def to_dict(self) -> dict[str, int]:
        """The counts as a JSON-compatible dictionary."""
        return {"bias": self.bias, "pooling": self.pooling, "fan_in": self.fan_in}


@dataclass(frozen=True)
class AnnCounts:
    """Multiply-accumulates of the ANN twin.

    Attributes:
        parameters: of the twin.
        layers: name to (kind, MACs over all images).
    """

    parameters: int
    layers: Mapping[str, tuple[str, int]]

    @property
    def macs(self) -> int:
        """Over all layers and images."""
        return sum(macs for _, macs in self.layers.values())

    def to_dict(self) -> dict[str, Any]:
        """The counts as a JSON-compatible dictionary."""
        layers = {name: {"kind": kind, "macs": macs} for name, (kind, macs) in self.layers.items()}
        return {"macs": self.macs, "parameters": self.parameters, "layers": layers}


@dataclass(frozen=True)
class OperationCounts:
    """What a run of a graph computed, and what its ANN twin would have.

    Attributes:
        images, time_steps: of the run.
        layers: nodes with synapses, in topological order.
        populations: in topological order.
        additions: what is left.
        ann: of the twin; None where the graph's file describes none.
    """

    images: int
    time_steps: int
    layers: Mapping[str, LayerCounts]
    populations: Mapping[str, PopulationCounts]
    additions: Additions
    ann: AnnCounts | None

    @property
    def sops(self) -> int:
        """Synaptic operations over all layers and images."""
        return sum(layer.sops for layer in self.layers.values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates over all layers and images."""
        return sum(layer.macs for layer in self.layers.values())

    @property
    def macs_once(self) -> int:
        """The same where real values that come from the input alone are used once per image."""
        return sum(layer.macs_once for layer in self.layers.values())

    @property
    def neuron_updates(self) -> int:
        """Membranes updated, over all populations, steps and images."""
        return sum(population.updates for population in self.populations.values())

    @property
    def sops_per_image(self) -> NDArray[np.int64]:
        """Synaptic operations of each image: int64 `[images]`."""
        sops = np.zeros(self.images, np.int64)
        for layer in self.layers.values():
            for source in layer.spiking:
                sops += source.sops
        return sops

    def to_dict(self) -> dict[str, Any]:
        """The counts as a JSON-compatible dictionary; `devices` is for prices."""
        sops = self.sops_per_image
        return {
            "images": self.images,
            "time_steps": self.time_steps,
            "snn": {
                "sops": self.sops,
                "macs": self.macs,
                "macs_once": self.macs_once,
                "neuron_updates": self.neuron_updates,
                "additions": self.additions.to_dict(),
                "sops_per_image": {
                    "mean": float(sops.mean()),
                    "standard_deviation": float(sops.std()),
                    "minimum": int(sops.min()),
                    "maximum": int(sops.max()),
                },
                "layers": {name: layer.to_dict() for name, layer in self.layers.items()},
                "populations": {name: population.to_dict() for name, population in self.populations.items()},
            },
            "ann": None if self.ann is None else self.ann.to_dict(),
            "devices": {},
        }
