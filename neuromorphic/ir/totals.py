"""Totals of a run, without its spikes: outputs, and numbers of spikes.  Those of the parts of a run add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.trace import SpikeTrain, Trace


@dataclass(frozen=True)
class SpikeCount:
    """Spikes of one population over the images of a run.

    Attributes:
        neurons: of the population.
        per_step: int64 `[T]`.
        per_neuron: int64 `[neurons]`, which takes longer to count; None where it was not asked for.
    """

    neurons: int
    per_step: NDArray[np.int64]
    per_neuron: NDArray[np.int64] | None

    @classmethod
    def of(cls, train: SpikeTrain, of_neurons: bool) -> Self:
        """The spikes of a train; with `of_neurons` also of each neuron."""
        return cls(train.neurons, train.per_step(), train.per_neuron() if of_neurons else None)

    def __add__(self, other: "SpikeCount") -> "SpikeCount":
        """The counts of both, which are of different images."""
        of_neurons = None
        if self.per_neuron is not None and other.per_neuron is not None:
            of_neurons = self.per_neuron + other.per_neuron
        return SpikeCount(self.neurons, self.per_step + other.per_step, of_neurons)

    @property
    def spikes(self) -> int:
        """The number of spikes in all."""
        return int(self.per_step.sum())


@dataclass(frozen=True)
class Totals:
    """The sums of a run.

    Attributes:
        answers: its trace without spikes and membranes: the target, the outputs of every image, and overflows.
        counts: by population.
    """

    answers: Trace
    counts: Mapping[str, SpikeCount]

    @classmethod
    def of(cls, trace: Trace, of_neurons: bool = False) -> Self:
        """The totals of a trace; with `of_neurons` also the spikes of each neuron."""
        counts = {name: SpikeCount.of(train, of_neurons) for name, train in trace.spikes.items()}
        return cls(replace(trace, spikes={}, membranes=None), counts)

    @classmethod
    def joined(cls, parts: Sequence["Totals"]) -> Self:
        """The totals of all images of `parts`, which have the same graph and T, in their order."""
        counts = dict(parts[0].counts)
        for part in parts[1:]:
            counts = {name: count + part.counts[name] for name, count in counts.items()}
        return cls(Trace.joined([part.answers for part in parts]), counts)

    @property
    def neurons(self) -> int:
        """Neurons in all populations."""
        return sum(count.neurons for count in self.counts.values())

    @property
    def spikes(self) -> int:
        """Spikes of all populations."""
        return sum(count.spikes for count in self.counts.values())

    @property
    def rate(self) -> float:
        """Spikes per neuron, time step and image."""
        return self.spikes / max(1, self.neurons * self.answers.images * self.answers.time_steps)
