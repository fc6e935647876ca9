"""Operation counts: exact integers, sums over the images, free of any energy figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from energy.attention import AttentionCounts

Kind = Literal["conv2d", "conv1d", "linear", "scale", "pooling", "identity", "attention"]


@dataclass(frozen=True)
class SourceCounts:
    """Synaptic operations that one population causes in one node.

    Attributes:
        source: name of the population.
        spikes: that it sends, over all images and steps.
        updates: of its neurons, over all images and steps: the spikes at a firing rate of 1.
        per_step: int64 `[images, T]`, SOPs: one per spike and existing synapse, in the step in which it is summed.
        under_way: SOPs that the spikes would cause after the last step of their image, late by a recurrent edge or a
            `Delay`: none of them happens, and no total holds them.  `Σ per_step + under_way = Σ spikes · fan_out`.
        dense: SOPs at a firing rate of 1.
        dense_padded: the same with the taps on the padding, in every step, even where nothing can have arrived yet.
            `rate * dense_padded` is the estimate of most papers.
    """

    source: str
    spikes: int
    updates: int
    per_step: NDArray[np.int64]
    under_way: int
    dense: int
    dense_padded: int

    @property
    def sops(self) -> NDArray[np.int64]:
        """Synaptic operations of each image: int64 `[images]`."""
        return np.asarray(self.per_step.sum(1))

    @property
    def rate(self) -> float:
        """Spikes per neuron and time step."""
        return self.spikes / self.updates


@dataclass(frozen=True)
class LayerCounts:
    """Operations of one node with synapses, or of one that multiplies spikes with each other.

    Attributes:
        node: its name.
        kind: `conv2d`, `conv1d`, `linear`, `scale`, `pooling` (synapses of weight one), `identity` (neurons that read a
            population directly: one synapse each) or `attention` (which has no synapses, hence no SOPs and no MACs).
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
        """The same with the taps on the padding, in every step."""
        return sum(source.dense_padded for source in self.spiking)

    @property
    def rate(self) -> float | None:
        """Spikes per neuron and time step, over all populations that it reads; None where there is none."""
        read = self.spiking if self.attention is None else (self.attention,)
        if not read:
            return None
        return sum(s.spikes for s in read) / sum(s.updates for s in read)


@dataclass(frozen=True)
class NeuronCounts:
    """Neurons of one node.

    Attributes:
        neurons: in it.
        additions, multiplications: of one neuron's update (`energy.neurons`).
        needed: int64 `[images, T]`, updates of neurons that are not at rest, or at which something arrives (`updates`).
    """

    neurons: int
    additions: int
    multiplications: int
    needed: NDArray[np.int64]

    @property
    def updates(self) -> int:
        """States updated: neurons times steps times images, since every neuron is updated in every step."""
        return self.neurons * self.needed.size


@dataclass(frozen=True)
class PopulationCounts(NeuronCounts):
    """Neurons and spikes of one population.

    Attributes:
        spikes: int64 `[images, T]`.
    """

    spikes: NDArray[np.int64]


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

    @property
    def total(self) -> int:
        """All of them."""
        return self.bias + self.pooling + self.fan_in


@dataclass(frozen=True)
class AnnShapes:
    """Elements that one layer of the ANN twin reads and writes per image.

    Attributes:
        weights: of its kernel or matrix; 0 for a product of two activations.
        biases: one per channel; likewise.
        inputs: that arrive, of both factors for a product.
        outputs: that leave.
    """

    weights: int
    biases: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class AnnLayer:
    """One layer of the ANN twin.

    Attributes:
        kind: `conv2d`, `linear` or `matmul`, the product of two activations.
        macs: over all images.
        shapes: of what it reads and writes; None where the file's table doesn't say.
    """

    kind: str
    macs: int
    shapes: AnnShapes | None


@dataclass(frozen=True)
class AnnCounts:
    """Multiply-accumulates of the ANN twin.

    Attributes:
        images: that they are for.
        parameters: of the twin.
        layers: by name.
    """

    images: int
    parameters: int
    layers: Mapping[str, AnnLayer]

    @property
    def macs(self) -> int:
        """Over all layers and images."""
        return sum(layer.macs for layer in self.layers.values())

    @property
    def shaped(self) -> bool:
        """Whether the shapes of all layers are known."""
        return all(layer.shapes is not None for layer in self.layers.values())


@dataclass(frozen=True)
class OperationCounts:
    """What a run of a graph computed, and what its ANN twin would have.

    Attributes:
        images, time_steps: of the run.
        layers: nodes with synapses and self-attention nodes, in topological order.
        populations: in topological order.
        membranes: neurons that send their membranes, in topological order.
        spikes_read: by every node that populations' spikes arrive at, but the output: int64 `[images]` per way, those
            that arrive within their image.
        additions_of: what is left of them, by node that has any.
        comparisons_of: of max-pooling, by node: one per tap on the map after the first.
        ann: of the twin; None where the graph's file describes none.
    """

    images: int
    time_steps: int
    layers: Mapping[str, LayerCounts]
    populations: Mapping[str, PopulationCounts]
    membranes: Mapping[str, NeuronCounts]
    spikes_read: Mapping[str, tuple[NDArray[np.int64], ...]]
    additions_of: Mapping[str, Additions]
    comparisons_of: Mapping[str, int]
    ann: AnnCounts | None

    @property
    def additions(self) -> Additions:
        """Over all nodes, steps and images."""
        found = self.additions_of.values()
        return Additions(sum(a.bias for a in found), sum(a.pooling for a in found), sum(a.fan_in for a in found))

    @property
    def comparisons(self) -> int:
        """Of all max-pooling, over all steps and images."""
        return sum(self.comparisons_of.values())

    @property
    def sops(self) -> int:
        """Synaptic operations over all layers and images."""
        return sum(layer.sops for layer in self.layers.values())

    @property
    def sops_under_way(self) -> int:
        """What spikes under way at the end of their image would have added to them; in no total."""
        return sum(source.under_way for layer in self.layers.values() for source in layer.spiking)

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
    def neurons(self) -> Mapping[str, NeuronCounts]:
        """Of populations and of neurons that send their membranes, by node."""
        return {**self.populations, **self.membranes}

    @property
    def neuron_updates(self) -> int:
        """Neurons updated, over all nodes, steps and images."""
        return sum(neurons.updates for neurons in self.neurons.values())

    @property
    def neuron_updates_needed(self) -> int:
        """The same without neurons at rest at which nothing arrives."""
        return sum(int(neurons.needed.sum()) for neurons in self.neurons.values())

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
