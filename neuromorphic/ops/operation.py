"""The roles that operations play, and the methods that each role has to have.

    Operation                    computes the output of a node from its input
    ├── Source, Sink             the ends of a graph
    ├── Delay                    its output is its input of some time steps before
    ├── Stateless                its output y follows from its input x of the same time step
    │   ├── Linear               synapses: y = W x + b
    │   │   ├── Weighted         W is an array of numbers: kernels, matrices, factors
    │   │   └── Fixed            W follows from settings: pools
    │   └── Nonlinear            what no synapse computes
    └── Neurons                  keep a state from step to step
        ├── Population           and send spikes
        │   └── ChipPopulation   with a state of integers, as on a chip
        └── Membranes            and send their membranes

The input x of a node is the sum of its sources' outputs in one time step, y is its output.  Neither has an axis for
time; arrays of them have an axis for images in front.  Every method that an operation has to have is abstract, so that
mypy names the operation that lacks one (`ops.READERS`); if one is called all the same, it raises `TypeError` with the
operation's name.
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
        nir_types: types of NIR's nodes that are read as this operation; the first one gives it its name (`nir_name`).
    """

    nir_types: ClassVar[tuple[type[Any], ...]] = ()

    @classmethod
    @abstractmethod
    def read(cls, node: Any, shape: Shape, where: str, given: Conventions) -> Typed:
        """The operation of a node of NIR.

        Args:
            node: of one of `nir_types`; its parameters are numbers (checked by `reading.parameters`).
            shape: of the node's input.
            where: names the node in messages.
            given: the conventions that the file leaves open.

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
            like: the node that it was read from; its type is kept where that can hold the numbers.
        """
        lacks(self, "node in NIR")

    @property
    def nir_name(self) -> str:
        """Its name in NIR."""
        return self.nir_types[0].__name__ if self.nir_types else type(self).__name__

    def parameters(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Its fields by name, in their order: those that are arrays, and all others."""
        arrays = {key: value for key, value in vars(self).items() if isinstance(value, np.ndarray)}
        return arrays, {key: value for key, value in vars(self).items() if key not in arrays}

    @abstractmethod
    def steps_before(self, spikes: bool) -> int:
        """Time steps on the chip that synapses take between the start of an edge into the node and the node.

        Args:
            spikes: whether the edge carries spikes or frames; else it carries currents.
        """
        lacks(self, "time step")

    @abstractmethod
    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """Bounds of y, without biases, for every x within its bounds.

        Args:
            x: bounds of the input, `[*input shape]`.
            shapes: of the node.
            steps: time steps since the start of an image, at most.
        """
        lacks(self, "bounds")

    @abstractmethod
    def grid(self, bits: int | None, steps: int) -> int | None:
        """The dyadic grid 2^-k' that every y lies on, where all terms of x lie on the grid 2^-k.

        Args:
            bits: k; None where x lies on no such grid.
            steps: time steps since the start of an image, at most.

        Returns:
            k', as small as is known; None where y lies on no such grid.
        """
        lacks(self, "grid")

    @abstractmethod
    def products(self, shapes: Shapes) -> int:
        """Products of one time step, those with padding included; for a node without products, its input's elements."""
        lacks(self, "number of products")

    def largest_array(self, shapes: Shapes) -> int:
        """Elements of the largest array that is needed to compute or count the node, for one image and time step."""
        return max(prod(shapes.input), prod(shapes.output))

    @abstractmethod
    def refusal(self, reads_currents: bool) -> str:
        """Why Loihi 2 can't compute the node, as a predicate ("waits 70 steps; ..."); empty if it can.

        Args:
            reads_currents: whether some of its sources send currents, which have passed synapses already.
        """
        lacks(self, "place on a chip")


@dataclass(frozen=True)
class Stateless(Operation):
    """Its output follows from its input of the same time step."""

    weighs: ClassVar[Literal["always", "spikes", "never"]]
    """When it is synapses on the chip: `always`, where it reads nothing but `spikes`, or `never`."""

    @abstractmethod
    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        """The definition: from x, float64 `[N, *input shape]`, to y, float64 `[N, *shape]`."""
        lacks(self, "definition")

    @abstractmethod
    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        """A fast function that computes it.

        Args:
            shapes: of the node.
            batch: images at once.
            dtype: of sums and of y; x may be uint8.
            bias: float64 `[*input shape]`, the sum of the biases before the node.  `Nonlinear` adds it to x; `Linear`
                computes `W x` without any biases, which act at the neurons.
        """
        lacks(self, "kernel")

    @abstractmethod
    def fan_out(self, shapes: Shapes) -> Int64:
        """Connections from each element of x to elements of y: int64 `[*input shape]`; taps on padding don't count."""
        lacks(self, "fan-out")

    @abstractmethod
    def reached(self, arriving: Mask, shapes: Shapes) -> Mask:
        """The elements of y with a connection from an element of x at which something arrives.

        Args:
            arriving: where something arrives, bool `[n, T, *input shape]`.
            shapes: of the node.

        Returns:
            bool `[n, T, *shape]`.
        """
        lacks(self, "connections")

    @property
    @abstractmethod
    def bias_values(self) -> Float32:
        """The bias b, float32, one number for each output channel; empty where it has none."""
        lacks(self, "bias")

    def biased_outputs(self, shape: Shape) -> Mask:
        """Elements of y whose bias is not 0: bool `[*shape]`."""
        bias = self.bias_values
        return np.broadcast_to(bias.reshape(-1, *(1 for _ in shape[1:])) != 0 if bias.size else np.False_, shape)

    def steps_before(self, spikes: bool) -> int:
        """One: for its own synapses, or for the neurons that compute it on a chip."""
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
        """The operation with weights that computes the same `W x`; for `Fixed`, before its division."""
        lacks(self, "synapses")

    def unbiased(self) -> Self:
        """The same without a bias."""
        return self

    @property
    def multiplies(self) -> bool:
        """Whether real inputs cost products; else W is made of ones, and they cost additions only."""
        return True

    def products(self, shapes: Shapes) -> int:
        """Its taps."""
        return self.taps(shapes)


@dataclass(frozen=True)
class Weighted(Linear):
    """A linear operation whose W is an array of numbers.

    Attributes:
        largest_exponent: the largest e of weights `2^e q`, q an integer of 8 bits, that its synapses hold on the chip.
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
        """The same with another bias; for operations that have one (`biased`)."""
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
        """From `W+ low + W- high` to `W+ high + W- low`; W+ and W- are the positive and the negative part of W."""
        nothing = np.zeros(shapes.input)
        rising, falling = (
            self.with_weights(part).kernel(shapes, 1, np.float64, nothing)
            for part in (np.maximum(self.weights, 0), np.minimum(self.weights, 0))
        )
        low, high = x.low[None], x.high[None]
        return Interval((rising(low) + falling(high))[0], (rising(high) + falling(low))[0])


@dataclass(frozen=True)
class Biased(Weighted):
    """`y = W x + b`, with one bias for each output channel.

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
        """None; `analysis.streams` refuses synapses that read currents."""
        return ""


@dataclass(frozen=True)
class Fixed(Linear):
    """A linear operation without weights of its own, on each channel by itself: W follows from its settings."""

    @property
    @abstractmethod
    def divisor(self) -> int:
        """The number by which the sums of `synapses` are divided."""
        lacks(self, "divisor")

    @abstractmethod
    def undivided(self) -> Self:
        """The same without that division."""
        lacks(self, "divisor")

    def grid(self, bits: int | None, steps: int) -> int | None:
        """None where the divisor is no power of two."""
        if bits is None or not is_power_of_two(self.divisor):
            return None
        return bits + self.divisor.bit_length() - 1

    @property
    def bias_values(self) -> Float32:
        """None."""
        return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Nonlinear(Stateless):
    """An operation that no synapses compute: the chip would need neurons for it."""

    @property
    def bias_values(self) -> Float32:
        """None."""
        return np.zeros(0, np.float32)
