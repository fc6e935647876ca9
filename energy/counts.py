"""Operation counts: exact integers, sums over the images, free of any energy figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from energy.attention import AttentionCounts

Kind = Literal["conv2d", "linear", "pooling", "identity", "attention"]


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
    """Operations of one node with synapses, or of one that multiplies spikes with each other.

    Attributes:
        node: its name.
        kind: `conv2d`, `linear`, `pooling` (synapses of weight one), `identity` (a population that reads another one
            directly: one synapse per neuron) or `attention` (which has no synapses, hence no SOPs and no MACs).
        spiking: per population that its synapses come from.
        real: names of the sources whose output is real-valued; their sum is what the MACs work on.
        macs: multiply-accumulates on real values, over all images and steps.
        macs_once: the same where real values that come from the input alone are used once per image, since every step
            shows the same frame.
        macs_summed: the same where what only the output reads is summed over the time steps first: a linear node then
            runs once per image, on the sum.
        attention: what a node of kind `attention` adds; None for every other one.
    """

    node: str
    kind: Kind
    spiking: tuple[SourceCounts, ...]
    real: tuple[str, ...]
    macs: int
    macs_once: int
    macs_summed: int
    attention: AttentionCounts | None = None

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
        """Spikes per neuron and time step, over all populations that it reads; None where there is none."""
        read = self.spiking if self.attention is None else (self.attention,)
        if not read:
            return None
        return sum(s.spikes for s in read) / sum(s.updates for s in read)

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
            "macs_summed": self.macs_summed,
            "attention": None if self.attention is None else self.attention.to_dict(),
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
    """Additions that are neither SOPs nor part of attention, MACs or neuron updates.

    Attributes:
        bias: one per output element of a convolution or affine node whose bias isn't all zero.
        pooling: one per tap on the map, where sum-pooling reads real values.
        fan_in: one per element and real-valued source after the first, where a node sums several; max-pooling, which
            isn't linear, needs the sum of all its sources, spiking or not.
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
        layers: nodes with synapses and self-attention nodes, in topological order.
        populations: in topological order.
        additions: what is left of them.
        comparisons: of max-pooling: one per tap on the map after the first.
        ann: of the twin; None where the graph's file describes none.
    """

    images: int
    time_steps: int
    layers: Mapping[str, LayerCounts]
    populations: Mapping[str, PopulationCounts]
    additions: Additions
    comparisons: int
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
    def macs_summed(self) -> int:
        """The same where what only the output reads is summed over the time steps first."""
        return sum(layer.macs_summed for layer in self.layers.values())

    @property
    def attention(self) -> tuple[AttentionCounts, ...]:
        """Of the self-attention nodes, in topological order."""
        return tuple(layer.attention for layer in self.layers.values() if layer.attention is not None)

    @property
    def attention_additions(self) -> int:
        """Coincidences of all self-attention nodes, over all images."""
        return sum(node.coincidences for node in self.attention)

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

    @property
    def attention_per_image(self) -> NDArray[np.int64]:
        """Coincidences of each image: int64 `[images]`."""
        additions = np.zeros(self.images, np.int64)
        for node in self.attention:
            additions += node.per_image
        return additions

    def to_dict(self) -> dict[str, Any]:
        """The counts as a JSON-compatible dictionary; `devices` is for prices."""
        return {
            "images": self.images,
            "time_steps": self.time_steps,
            "snn": {
                "sops": self.sops,
                "macs": self.macs,
                "macs_once": self.macs_once,
                "macs_summed": self.macs_summed,
                "attention": {
                    "coincidences": self.attention_additions,
                    "one_sided": sum(node.one_sided for node in self.attention),
                    "dense": sum(node.dense for node in self.attention),
                    "dense_scores_first": sum(node.dense_scores_first for node in self.attention),
                },
                "neuron_updates": self.neuron_updates,
                "additions": self.additions.to_dict(),
                "comparisons": self.comparisons,
                "sops_per_image": _distribution(self.sops_per_image),
                "attention_per_image": _distribution(self.attention_per_image),
                "layers": {name: layer.to_dict() for name, layer in self.layers.items()},
                "populations": {name: population.to_dict() for name, population in self.populations.items()},
            },
            "ann": None if self.ann is None else self.ann.to_dict(),
            "devices": {},
        }


def _distribution(per_image: NDArray[np.int64]) -> dict[str, float | int]:
    return {
        "mean": float(per_image.mean()),
        "standard_deviation": float(per_image.std()),
        "minimum": int(per_image.min()),
        "maximum": int(per_image.max()),
    }
