"""Operation counts: exact integers, sums over the images, free of any energy figure; the report's JSON holds them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from energy.distribution import Distribution, distribution
from energy.record import ADDED, InMemory, PerStep, Record, Sum, follows
from neuromorphic.ir.shown import Shown
from neuromorphic.ops.types import Kind


class SourceCounts(Record):
    """Synaptic operations that one population or other source of events (`events`) causes in a node, along one path.

    Attributes:
        source: its name.
        spikes: that it sends, over all images and steps; of a pool, the sums that it sends.
        updates: the same at a firing rate of 1: of a population, its neurons in every step.
        per_step: SOPs: one per spike and existing synapse, in the step in which it is summed.
        sops: over all images and steps.
        sops_under_way: SOPs that the spikes would cause after the last step of their image, late by a recurrent edge or
            a `Delay`: none of them happens, and no sum holds them.  `sops + sops_under_way = Σ spikes · fan_out`.
        dense: SOPs at a firing rate of 1.
        dense_padded: the same with the taps on the padding, in every step, even where nothing can have arrived yet.
            `rate * dense_padded` is the estimate of most papers.
        rate: spikes per neuron and time step.
    """

    source: str
    spikes: Sum
    updates: InMemory[Sum]
    per_step: PerStep
    sops: int = follows(lambda of: _total(of["per_step"]))
    sops_under_way: Sum
    dense: Sum
    dense_padded: InMemory[Sum]
    rate: float = follows(lambda of: of["spikes"] / of["updates"])


class ProductCounts(Record):
    """Additions of one product of a self-attention, under three conventions.

    `coincidences <= one_sided <= dense`, step by step.

    Attributes:
        coincidences: terms of which neither factor is zero.
        one_sided: terms of which the spike that comes first, of K or of Q, is 1: it is carried to all d channels of the
            other factor, whatever they hold.
        dense: terms.
    """

    coincidences_per_step: PerStep
    one_sided_per_step: PerStep
    coincidences: int = follows(lambda of: _total(of["coincidences_per_step"]))
    one_sided: int = follows(lambda of: _total(of["one_sided_per_step"]))
    dense: Sum


class AttentionTotals(Record):
    """Additions of both products, under every convention; `dense_scores_first` are those of `(Q Kᵀ) V`."""

    coincidences: int
    one_sided: int
    dense: int
    dense_scores_first: int


class AttentionCounts(Record):
    """Additions of one self-attention node.

    Attributes:
        source: name of the population that holds Q, K and V.
        spikes: of it that arrive, over all images and steps.
        updates: of its neurons, over all images and steps: the spikes at a firing rate of 1.
        products: `KV` makes the sums `Kᵀ V`, `Q(KV)` the outputs.
        coincidences, one_sided, dense: of both products.
        dense_scores_first: terms of both products in the order `(Q Kᵀ) V`: that of the published code, quadratic in the
            number of tokens.
    """

    source: str
    spikes: Sum
    updates: InMemory[Sum]
    products: dict[str, ProductCounts]
    coincidences: int = follows(lambda of: sum(product.coincidences for product in of["products"].values()))
    one_sided: int = follows(lambda of: sum(product.one_sided for product in of["products"].values()))
    dense: int = follows(lambda of: sum(product.dense for product in of["products"].values()))
    dense_scores_first: Sum

    @property
    def per_step(self) -> NDArray[np.int64]:
        """Coincidences of both products, which totals go by: int64 `[images, T]`."""
        first, second = self.products.values()
        return first.coincidences_per_step + second.coincidences_per_step


class LayerCounts(Record):
    """Operations of one node with synapses, or of one that multiplies spikes with each other.

    Attributes:
        kind: `conv2d`, `conv1d`, `linear`, `scale`, `pooling` (synapses of weight one), `identity` (neurons that read a
            population directly: one synapse each) or `attention` (which has no synapses, hence no SOPs and no MACs).
        spiking_sources: per population, or other source of events, that its synapses come from, along each path.
        real_sources: names of the sources whose output is real-valued; their sum is what the MACs work on.
        attention: what a node of kind `attention` adds; None for every other one.
        per_step, sops, sops_per_step, sops_per_image, dense, dense_padded: over all of `spiking_sources`.
        rate: spikes per neuron and time step, over all populations that it reads; None where there is none.
        macs_per_image: multiply-accumulates on real values, of each image; where these are currents that spikes alone
            drive, those of which a factor arrived in that step, at taps on the map.
        macs: over all images.
        macs_once: the same where real values that come from the input alone are used once per image, since every step
            shows the same frame.
        macs_summed: the same where what only the output reads is summed over the time steps first: a linear node then
            runs once per image, on the sum.
        macs_dense: of every tap in every step, as a framework evaluates it.
    """

    kind: Kind
    spiking_sources: tuple[SourceCounts, ...]
    real_sources: tuple[str, ...]
    attention: AttentionCounts | None
    per_step: PerStep
    sops: int = follows(lambda of: _total(of["per_step"]))
    sops_per_step: list[int] = follows(lambda of: of["per_step"].sum(0).tolist())
    sops_per_image: Distribution = follows(lambda of: distribution(of["per_step"].sum(1)))
    dense: int = follows(lambda of: sum(source.dense for source in of["spiking_sources"]))
    dense_padded: int = follows(lambda of: sum(source.dense_padded for source in of["spiking_sources"]))
    rate: float | None = follows(lambda of: _rate((of["attention"],) if of["attention"] else of["spiking_sources"]))
    macs_per_image: InMemory[NDArray[np.int64]]
    macs: int = follows(lambda of: _total(of["macs_per_image"]))
    macs_once: Sum
    macs_summed: Sum
    macs_dense: Sum


class NeuronCounts(Record):
    """Neurons of one node, and their updates.

    Attributes:
        neurons: number of neurons.
        additions, multiplications: operations of one update of one neuron.
        needed: needed updates, of neurons that are not at rest or at which something arrives (`updates`), per step.
        updates: neurons times steps times images, since every neuron is updated in every step.
        updates_needed: needed updates over all images and steps.
    """

    neurons: int
    additions: InMemory[int]
    multiplications: InMemory[int]
    needed: PerStep
    updates: int = follows(lambda of: of["neurons"] * of["needed"].size)
    updates_needed: int = follows(lambda of: _total(of["needed"]))


class PopulationCounts(NeuronCounts):
    """Neurons and spikes of one population; `rate` is in spikes per neuron and time step."""

    per_step: PerStep
    spikes: int = follows(lambda of: _total(of["per_step"]))
    rate: float = follows(lambda of: of["spikes"] / of["updates"])
    spikes_per_step: list[int] = follows(lambda of: of["per_step"].sum(0).tolist())
    spikes_per_image: Distribution = follows(lambda of: distribution(of["per_step"].sum(1)))


class Additions(Record):
    """Additions that are neither SOPs nor part of attention, MACs or neuron updates.

    Attributes:
        bias: one per output element of a convolution or affine node whose bias isn't all zero.
        pooling: one per tap on the map, where sum-pooling reads real values.
        fan_in: one per element and real-valued source after the first, where a node sums several; max-pooling, which
            isn't linear, needs the sum of all its sources, spiking or not.
    """

    bias: Sum
    pooling: Sum
    fan_in: Sum

    @property
    def total(self) -> int:
        """All additions."""
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


class AnnLayer(Record):
    """One layer of the ANN twin.

    Attributes:
        kind: `conv2d`, `linear` or `matmul`, the product of two activations.
        macs: over all images.
        shapes: of what it reads and writes; None where the file's table doesn't say.
        additions: of biases, over all images; None without shapes.
    """

    kind: str
    macs: Sum
    shapes: InMemory[AnnShapes | None]
    additions: Annotated[int | None, ADDED]


Baseline = Literal["twin", "dense"]
"""Which ANN the encoder is compared with."""


class Effective(Record):
    """Operations of convolutions and matrices at synapses whose weight isn't zero (`effective`), over images and steps.

    Attributes:
        macs: of sums of spikes, of currents and of real values.
        acs: of spikes.
        dense: of all synapses in every step.
    """

    macs: Sum
    acs: Sum
    dense: Sum


class AnnCounts(Record):
    """Multiply-accumulates of the ANN twin.

    Attributes:
        images: that they are for.
        baseline: `twin`, which the file describes, or `dense`: the graph's own layers, once per image on real values.
        macs: over all layers and images.
        parameters: of the twin.
        layers: by name.
    """

    images: InMemory[Sum]
    baseline: Baseline
    layers: dict[str, AnnLayer]
    macs: int = follows(lambda of: sum(layer.macs for layer in of["layers"].values()))
    parameters: int

    @property
    def shaped(self) -> bool:
        """Whether the shapes of all layers are known."""
        return all(layer.shapes is not None for layer in self.layers.values())


class OperationCounts(Shown, Record):
    """Operations of a run of a graph, and those of its ANN twin; nodes stand in topological order.

    Attributes:
        images, time_steps: of the run.
        layers: nodes with synapses and self-attention nodes.
        populations: neurons that send spikes.
        membranes: neurons that send their membranes.
        events_read: by every node that events arrive at, but the output: int64 `[images]` per path, those that arrive
            within their image.
        events_sent: by input and pools, where these send events: int64 `[images]`.
        additions_per_node: what is left of them, by node that has any.
        comparisons_per_node: of max-pooling, by node: one per tap on the map after the first.
        effective: operations at synapses whose weight isn't zero.
        predictions: index of the largest score of each image, int64 `[images]`.
        ann: of the twin; None where the graph's file describes none.
        sops, macs, macs_once, macs_summed, macs_dense, attention: over all layers.
        sops_under_way: what spikes under way at the end of their image would have added to `sops`; in no total.
        neuron_updates, neuron_updates_needed: over all populations and membranes.
        additions, comparisons: over all nodes.
        sops_per_image, attention_per_image: of SOPs, and of coincidences.
    """

    images: InMemory[Sum]
    time_steps: InMemory[int]
    layers: dict[str, LayerCounts]
    populations: dict[str, PopulationCounts]
    membranes: dict[str, NeuronCounts]
    events_read: InMemory[dict[str, tuple[NDArray[np.int64], ...]]]
    events_sent: InMemory[dict[str, NDArray[np.int64]]]
    additions_per_node: dict[str, Additions]
    comparisons_per_node: Annotated[dict[str, int], ADDED]
    effective: InMemory[Effective]
    predictions: InMemory[NDArray[np.int64]]
    ann: InMemory[AnnCounts | None]
    sops: int = follows(lambda of: _sum(of["layers"], "sops"))
    sops_under_way: int = follows(
        lambda of: sum(source.sops_under_way for layer in of["layers"].values() for source in layer.spiking_sources)
    )
    macs: int = follows(lambda of: _sum(of["layers"], "macs"))
    macs_once: int = follows(lambda of: _sum(of["layers"], "macs_once"))
    macs_summed: int = follows(lambda of: _sum(of["layers"], "macs_summed"))
    macs_dense: int = follows(lambda of: _sum(of["layers"], "macs_dense"))
    attention: AttentionTotals = follows(lambda of: _attention_totals(of["layers"]))
    neuron_updates: int = follows(lambda of: _sum(of["populations"], "updates") + _sum(of["membranes"], "updates"))
    neuron_updates_needed: int = follows(
        lambda of: _sum(of["populations"], "updates_needed") + _sum(of["membranes"], "updates_needed")
    )
    additions: Additions = follows(
        lambda of: Additions(**{key: _sum(of["additions_per_node"], key) for key in Additions.model_fields})
    )
    comparisons: int = follows(lambda of: sum(of["comparisons_per_node"].values()))
    sops_per_image: Distribution = follows(
        lambda of: distribution(_per_image(of["images"], [layer.per_step for layer in of["layers"].values()]))
    )
    attention_per_image: Distribution = follows(
        lambda of: distribution(_per_image(of["images"], [a.per_step for a in _attention(of["layers"])]))
    )

    def title(self) -> str:
        """The totals in one line."""
        images = max(1, self.images)
        ann = "" if self.ann is None else f"; ANN: {self.ann.macs / images:,.0f} MACs"
        return (
            f"{self.images} images, T = {self.time_steps}, per image: {self.sops / images:,.0f} SOPs, "
            f"{self.macs / images:,.0f} MACs, {self.neuron_updates / images:,.0f} neuron updates{ann}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each layer, with sums over the images."""
        return [
            {"layer": name, "kind": layer.kind, "rate": layer.rate, "SOPs": layer.sops, "MACs": layer.macs}
            for name, layer in self.layers.items()
        ]

    @property
    def neurons(self) -> dict[str, NeuronCounts]:
        """The counts of populations and of neurons that send their membranes, by node."""
        return {**self.populations, **self.membranes}

    @property
    def per_image(self) -> NDArray[np.int64]:
        """SOPs of each image: int64 `[images]`."""
        return _per_image(self.images, [layer.per_step for layer in self.layers.values()])


RECORDS: tuple[type, ...] = (
    OperationCounts,
    LayerCounts,
    SourceCounts,
    AttentionCounts,
    ProductCounts,
    PopulationCounts,
    NeuronCounts,
    Additions,
    Effective,
    AnnCounts,
    AnnLayer,
    AnnShapes,
)
"""The records that counts consist of."""


def _total(per_step: NDArray[np.int64]) -> int:
    return int(per_step.sum())


def _sum(records: dict[str, Record], key: str) -> int:
    return sum(getattr(record, key) for record in records.values())


def _rate(read: tuple[SourceCounts | AttentionCounts, ...]) -> float | None:
    return sum(s.spikes for s in read) / sum(s.updates for s in read) if read else None


def _attention(layers: dict[str, LayerCounts]) -> list[AttentionCounts]:
    return [layer.attention for layer in layers.values() if layer.attention is not None]


def _attention_totals(layers: dict[str, LayerCounts]) -> AttentionTotals:
    nodes = _attention(layers)
    return AttentionTotals(**{key: sum(getattr(a, key) for a in nodes) for key in AttentionTotals.model_fields})


def _per_image(images: int, counts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return sum((per_step.sum(1) for per_step in counts), start=np.zeros(images, np.int64))
