"""The roles of operations that are made of neurons, and the methods that each role has to have."""

from abc import abstractmethod
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.ops.charging import Charging
from neuromorphic.ops.operation import Operation, lacks
from neuromorphic.ops.types import (
    ChipKernel,
    Float32,
    Float64,
    Interval,
    Mask,
    NeuronKernel,
    Shape,
    Shapes,
    State,
    multiplies,
)


@dataclass(frozen=True)
class Neurons(Operation):
    """Neurons, one for each element of the input, which keep a state from step to step.

    Attributes:
        sends_spikes: whether they send spikes; else they send their membranes.
    """

    sends_spikes: ClassVar[bool]

    @abstractmethod
    def at_rest(self, images: int, shape: Shape) -> State:
        """The state at the start of an image."""
        lacks(self, "state")

    @abstractmethod
    def advance(self, state: State, x: Float64) -> Float64:
        """One time step, as it is defined; updates `state`.

        Args:
            state: of `[N, *shape]`.
            x: the input, float64 `[N, *shape]`.

        Returns:
            The output, float64 `[N, *shape]`: spikes are 0 or 1.
        """
        lacks(self, "definition")

    @abstractmethod
    def neuron_kernel(self, batch: int, shape: Shape, dtype: DTypeLike) -> NeuronKernel:
        """A fast function for one time step, with the same operations in the same order.

        Args:
            batch: images at once.
            shape: of the neurons.
            dtype: of membranes; those that are integers get a type that holds them exactly.
        """
        lacks(self, "kernel")

    @property
    @abstractmethod
    def states(self) -> int:
        """Numbers that a neuron keeps from step to step."""
        lacks(self, "number of states")

    @property
    @abstractmethod
    def multiplications(self) -> int:
        """Multiplications of one neuron's update: one per state that leaks by anything but a power of two.

        The gain counts as folded into the weights.
        """
        lacks(self, "number of multiplications")

    @property
    @abstractmethod
    def leaks(self) -> bool:
        """Whether a membrane decays without input."""
        lacks(self, "leak")

    @property
    @abstractmethod
    def filters_current(self) -> bool:
        """Whether a synaptic current outlasts its time step."""
        lacks(self, "current")

    @property
    @abstractmethod
    def rests_after_spike(self) -> bool:
        """Whether a spike sets v to a fixed value; else it lowers v, as by the threshold."""
        lacks(self, "reset")

    @property
    @abstractmethod
    def always_updated(self) -> bool:
        """Whether every neuron needs an update in every step, even without input, since it is never at rest."""
        lacks(self, "rest")

    @property
    @abstractmethod
    def has_bias(self) -> bool:
        """Whether the neurons add a bias of their own to v."""
        lacks(self, "bias")

    @abstractmethod
    def drives(self, shape: Shape) -> Mask:
        """The neurons that have an input of their own in every step, a bias or a drive: bool `[*shape]`."""
        lacks(self, "bias")

    def steps_before(self, spikes: bool) -> int:
        """One for spikes, which pass synapses of weight 1; none for currents, which have passed theirs."""
        return int(spikes)

    def products(self, shapes: Shapes) -> int:
        """The number of elements of the input."""
        return prod(shapes.input)


class FloatState(Neurons):
    """Neurons of NIR: their state is real, and they have no biases of their own."""

    @property
    @abstractmethod
    def start(self) -> Float32:
        """V at the start of an image: float32 of the neurons' shape, or a single number."""
        lacks(self, "v to begin with")

    @property
    @abstractmethod
    def charging(self) -> Charging | None:
        """The numbers that v is computed with; None for a neuron that keeps no v."""
        lacks(self, "charge")

    @abstractmethod
    def charge(self, state: State, x: Float64) -> None:
        """Add the input x to `state`, before spikes are sent."""
        lacks(self, "charge")

    def at_rest(self, images: int, shape: Shape) -> State:
        start = self.start.astype(np.float64)
        return State(np.broadcast_to(start, (images, *shape)).copy(), np.zeros((images, *shape)))

    @property
    def has_bias(self) -> bool:
        """No."""
        return False

    def drives(self, shape: Shape) -> Mask:
        """None of them."""
        return np.zeros(shape, np.bool_)


class Integrating(FloatState):
    """`v += gain x`."""

    gain: Float32

    def charge(self, state: State, x: Float64) -> None:
        state.v += self.gain * x

    states = 1
    multiplications = 0
    leaks = False
    filters_current = False


class Leaky(FloatState):
    """`v += decay (leak + gain x - v)`."""

    decay: Float32
    gain: Float32
    leak: Float32

    def charge(self, state: State, x: Float64) -> None:
        state.v += self.decay * (self.leak + self.gain * x - state.v)

    states = 1
    leaks = True
    filters_current = False

    @property
    def multiplications(self) -> int:
        return int(multiplies(self.decay))


class CurrentBased(FloatState):
    """`i += current_decay (weight x - i)`, then with this i: `v += decay (leak + gain i - v)`."""

    current_decay: Float32
    weight: Float32
    decay: Float32
    gain: Float32
    leak: Float32

    def charge(self, state: State, x: Float64) -> None:
        state.i += self.current_decay * (self.weight * x - state.i)
        state.v += self.decay * (self.leak + self.gain * state.i - state.v)

    states = 2
    leaks = True
    filters_current = True

    @property
    def multiplications(self) -> int:
        return multiplies(self.current_decay) + multiplies(self.decay)


@dataclass(frozen=True)
class Population(Neurons):
    """Neurons that send spikes."""

    sends_spikes: ClassVar = True

    @property
    def additions(self) -> int:
        """Additions of one neuron's update: one per state, and the comparison with the threshold."""
        return self.states + 1

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """From 0 to 1, whatever the input."""
        return Interval(np.broadcast_to(0.0, shapes.output), np.broadcast_to(1.0, shapes.output))

    def grid(self, bits: int | None, steps: int) -> int | None:
        """A spike is 0 or 1."""
        return 0

    def refusal(self, reads_currents: bool) -> str:
        """None: whether the chip has such neurons depends on their numbers (`loihi2.populations`)."""
        return ""


@dataclass(frozen=True)
class ChipPopulation(Population):
    """Neurons of the chip, whose state consists of integers."""

    @abstractmethod
    def neuron_kernel(self, batch: int, shape: Shape, dtype: DTypeLike) -> ChipKernel:
        """In the type that holds the state exactly, whatever `dtype` is; leaves x as it is."""
        lacks(self, "kernel")


@dataclass(frozen=True)
class Membranes(Neurons):
    """Neurons without a threshold, which send v."""

    sends_spikes: ClassVar = False
    rests_after_spike = False  # they send no spikes

    @property
    def additions(self) -> int:
        """Additions of one neuron's update: one per state."""
        return self.states

    @property
    def always_updated(self) -> bool:
        """No: a membrane at rest, at its leak, stays there."""
        return False

    def refusal(self, reads_currents: bool) -> str:
        """Always refused: the chip's neurons send spikes."""
        return (
            "sends its membranes to other neurons; the chip's neurons send spikes, expected it as a readout, or an LI "
            "as the filter that all currents of leaky neurons have passed, with one tau"
        )
