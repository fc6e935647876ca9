"""The classes that every operation belongs to, and what each of them has to say of itself.

    Operation                    what a node of a graph computes
    ├── Source, Sink             the graph's ends
    ├── Delay                    what leaves it is what arrived some steps before
    ├── Stateless                y follows from the x of the same time step
    │   ├── Linear               synapses: y = W x + b
    │   │   ├── Weighted         whose W is an array of numbers: kernels, matrices, factors
    │   │   └── Fixed            whose W follows from settings: pools
    │   └── Nonlinear            what no synapse computes
    └── Neurons                  which keep a state from step to step
        ├── Population           and send spikes
        │   └── ChipPopulation   in the integers of a chip
        └── Membranes            and send their membranes

x is the sum of what arrives at a node in one time step, y what leaves it.  Neither has an axis for time; arrays have
one for images in front.  Every method that an operation has to have is abstract, so that mypy names the operation that
lacks one (`ops.READERS`); whoever runs into such a gap all the same raises `TypeError` with the operation's name.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Literal, NoReturn, Self

import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.ops.dyadic import fraction_bits, is_power_of_two
from neuromorphic.ops.types import (
    Array,
    Conventions,
    Float32,
    Float64,
    Int64,
    Interval,
    Kernel,
    Kind,
    Mask,
    Shape,
    Shapes,
    Typed,
)


def lacks(operation: object, what: str) -> NoReturn:
    """Raise a TypeError: an operation lacks something that it has to have."""
    kind = operation if isinstance(operation, type) else type(operation)
    raise TypeError(f"operation {kind.__name__} has no {what}")


@dataclass(frozen=True)
class Operation(ABC):
    """The computation of a node, with its parameters.

    Attributes:
        nir_types: types of NIR's nodes that are read as this operation; the first one is the type that it is called by.
    """

    nir_types: ClassVar[tuple[type[Any], ...]] = ()

    @classmethod
    @abstractmethod
    def read(cls, node: Any, shape: Shape, where: str, given: Conventions) -> Typed:
        """The operation of a node of NIR, one of `nir_types`.

        Args:
            node: whose parameters are numbers (`reading.parameters`).
            shape: of the sum that it reads.
            where: names the node in messages.
            given: what the file leaves open.

        Raises:
            RefusedInput: a parameter that is not understood or does not fit the shape.
        """
        lacks(cls, "node in NIR")

    @abstractmethod
    def write(self, shapes: Shapes, dt: float, like: Any = None) -> Any:
        """A node of NIR that is read as this operation again.

        Args:
            shapes: of the node.
            dt: seconds per time step.
            like: the node that it was read from, whose type is kept where that has room for the numbers.
        """
        lacks(self, "node in NIR")

    @property
    def nir_name(self) -> str:
        """Its name in NIR."""
        return self.nir_types[0].__name__ if self.nir_types else type(self).__name__

    def parameters(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Its fields, by name and in their order: arrays, and all others."""
        arrays = {key: value for key, value in vars(self).items() if isinstance(value, np.ndarray)}
        return arrays, {key: value for key, value in vars(self).items() if key not in arrays}

    @abstractmethod
    def steps_before(self, spikes: bool) -> int:
        """Time steps that the synapses take which an edge into the node enters.

        Args:
            spikes: whether spikes, or frames, arrive along that edge, rather than currents.
        """
        lacks(self, "time step")

    @abstractmethod
    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """Bounds of y from bounds of x, whatever happens within them, without biases.

        Args:
            x: `[*input shape]`.
            shapes: of the node.
            steps: since an image's begin, at most.
        """
        lacks(self, "bounds")

    @abstractmethod
    def grid(self, bits: int | None, steps: int) -> int | None:
        """The least known k' such that every y is a multiple of 2^-k', where all terms of x are multiples of 2^-k.

        Args:
            bits: k; None where x lies on no such grid.
            steps: since an image's begin, at most.

        Returns:
            k'; None where y lies on no such grid.
        """
        lacks(self, "grid")

    @abstractmethod
    def products(self, shapes: Shapes) -> int:
        """Products of one time step, those with padding included; of a node without any, the elements it reads."""
        lacks(self, "number of products")

    def largest_array(self, shapes: Shapes) -> int:
        """Elements of the largest array that computing or counting the node takes, for one image and step."""
        return max(prod(shapes.input), prod(shapes.output))

    @abstractmethod
    def refusal(self, reads_currents: bool) -> str:
        """Why the node can't be on Loihi 2, as a predicate ("waits 70 steps; ..."); empty if it can.

        Args:
            reads_currents: whether some of what it reads has passed synapses already.
        """
        lacks(self, "place on a chip")


@dataclass(frozen=True)
class Stateless(Operation):
    """Its output follows from its input of the same time step."""

    weighs: ClassVar[Literal["always", "spikes", "never"]]
    """Whether it stands for synapses on the chip: whatever it reads, where it reads spikes only, or never."""

    @abstractmethod
    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        """The definition: x float64 `[N, *input shape]` to y float64 `[N, *shape]`."""
        lacks(self, "definition")

    @abstractmethod
    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        """The fast way to compute it.

        Args:
            shapes: of the node.
            batch: images at once.
            dtype: of sums and of y; x may be uint8.
            bias: float64 `[*input shape]`, what the biases before it bring: `Nonlinear` adds it to x, while `Linear`
                computes `W x` without biases, which act at the neurons.
        """
        lacks(self, "kernel")

    @abstractmethod
    def fan_out(self, shapes: Shapes) -> Int64:
        """Connections that leave each element of x towards y: int64 `[*input shape]`; taps on padding are none."""
        lacks(self, "fan-out")

    @abstractmethod
    def reached(self, arriving: Mask, shapes: Shapes) -> Mask:
        """Elements of y that a connection leads to from elements of x at which something arrives.

        Args:
            arriving: bool `[n, T, *input shape]`.
            shapes: of the node.

        Returns:
            bool `[n, T, *shape]`.
        """
        lacks(self, "connections")

    @property
    @abstractmethod
    def bias_values(self) -> Float32:
        """The bias that it adds, float32, one number for each output channel; empty where it adds nothing."""
        lacks(self, "bias")

    def biased_outputs(self, shape: Shape) -> Mask:
        """Elements of y to which it adds something by itself: bool `[*shape]`."""
        bias = self.bias_values
        return np.broadcast_to(bias.reshape(-1, *(1 for _ in shape[1:])) != 0 if bias.size else np.False_, shape)

    def steps_before(self, spikes: bool) -> int:
        """One: its own synapses, or the neurons that stand for it."""
        return 1


@dataclass(frozen=True)
class Linear(Stateless):
    """`y = W x + b`: what synapses compute."""

    kind: ClassVar[Kind]
    """Its name in reports."""

    @abstractmethod
    def taps(self, shapes: Shapes) -> int:
        """Products of one evaluation as frameworks count them: taps on the padding included."""
        lacks(self, "taps")

    @abstractmethod
    def synapses(self, shapes: Shapes) -> "Weighted":
        """The operation with weights that computes the same `W x`, of `Fixed` before its division."""
        lacks(self, "synapses")

    def unbiased(self) -> Self:
        """The same without a bias."""
        return self

    @property
    def multiplies(self) -> bool:
        """Whether real values cost products; else W is made of ones, and they cost additions only."""
        return True

    def products(self, shapes: Shapes) -> int:
        """Its taps."""
        return self.taps(shapes)


@dataclass(frozen=True)
class Weighted(Linear):
    """A linear operation whose W is made of an array of numbers.

    Attributes:
        largest_exponent: the largest e of the weights `2^e q`, q of 8 bits, that its synapses hold on the chip.
    """

    largest_exponent: ClassVar[int]

    @property
    @abstractmethod
    def weights(self) -> Float32:
        """The numbers, float32 `[out, ...]`."""
        lacks(self, "weights")

    @abstractmethod
    def with_weights(self, weights: Float32) -> Self:
        """The same with other weights, of the same shape."""
        lacks(self, "weights")

    @abstractmethod
    def with_bias(self, bias: Float32) -> Self:
        """The same with another bias; only for an operation that has one."""
        lacks(self, "bias")

    @property
    def biased(self) -> bool:
        """Whether it has a bias, which may be 0."""
        return bool(self.bias_values.size)

    def unbiased(self) -> Self:
        return self.with_bias(np.zeros_like(self.bias_values)) if self.biased else self

    def synapses(self, shapes: Shapes) -> "Weighted":
        """Itself."""
        return self

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """`W+ low + W- high` to `W+ high + W- low`, W+ and W- the positive and the negative parts of W."""
        nothing = np.zeros(shapes.input)
        rising, falling = (
            self.with_weights(part).kernel(shapes, 1, np.float64, nothing)
            for part in (np.maximum(self.weights, 0), np.minimum(self.weights, 0))
        )
        low, high = x.low[None], x.high[None]
        return Interval((rising(low) + falling(high))[0], (rising(high) + falling(low))[0])


@dataclass(frozen=True)
class Biased(Weighted):
    """`y = W x + b`, one bias for each output or each channel of them.

    Attributes:
        weight: float32 `[out, ...]`.
        bias: float32 `[out]`.
    """

    weighs: ClassVar = "always"

    weight: Float32
    bias: Float32

    @property
    def weights(self) -> Float32:
        return self.weight

    def with_weights(self, weights: Float32) -> Self:
        return replace(self, weight=weights)

    def grid(self, bits: int | None, steps: int) -> int | None:
        """Products lie on the product of both grids; the bias may lie on a finer one."""
        return None if bits is None else max(bits + fraction_bits(self.weight), fraction_bits(self.bias))

    @property
    def bias_values(self) -> Float32:
        return self.bias

    def with_bias(self, bias: Float32) -> Self:
        return replace(self, bias=bias)

    def refusal(self, reads_currents: bool) -> str:
        """None; that synapses read spikes is a matter of streams (`analysis.streams`)."""
        return ""


@dataclass(frozen=True)
class Fixed(Linear):
    """A linear operation without numbers of its own, in each channel by itself: its W follows from its settings."""

    @property
    @abstractmethod
    def divisor(self) -> int:
        """The number that the sums of `synapses` are divided by."""
        lacks(self, "divisor")

    @abstractmethod
    def undivided(self) -> Self:
        """The same without that division."""
        lacks(self, "divisor")

    def grid(self, bits: int | None, steps: int) -> int | None:
        """None where it divides by anything but a power of two."""
        if bits is None or not is_power_of_two(self.divisor):
            return None
        return bits + self.divisor.bit_length() - 1

    @property
    def bias_values(self) -> Float32:
        """None."""
        return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Nonlinear(Stateless):
    """An operation of no synapses: the chip would need neurons of its own for it."""

    @property
    def bias_values(self) -> Float32:
        """None."""
        return np.zeros(0, np.float32)
