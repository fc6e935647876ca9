"""Types of arguments and results of operations: arrays, shapes, intervals, states, kernels, and conventions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neuromorphic.ops.operation import Operation

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
Array = NDArray[Any]

Shape = tuple[int, ...]

Kind = Literal["conv2d", "conv1d", "linear", "scale", "pooling", "identity", "attention"]
"""The kind of a node with synapses, in reports; `identity` are neurons that read spikes directly, one synapse each."""


class Shapes(NamedTuple):
    """The shapes of a node's input, the sum that it reads, and of its output."""

    input: Shape
    output: Shape


class Conventions(NamedTuple):
    """Conventions of a file's writer, which the file itself doesn't state.

    Attributes:
        dt: seconds per time step.
        integrator_dt: the factor of the input of `IF` and `I` per time step: dt, or 1 where the writer means steps.
        subtract: whether a spike takes the threshold off v, as in NIR before 1.0.6; else v is set to v_reset.
        exponential: whether the decay per time step is `1 - exp(-dt / tau)`; else it is `dt / tau`.
        leaky_adds: whether an input of 1 raises the v of `LIF` and `LI` by r in its step; else by `dt / tau r`.
        current_adds: the same for i and w_in, in `CubaLIF` and `CubaLI`.
        fires_at: whether neurons fire at their threshold too; else only above it, as in NIR.
    """

    dt: float
    integrator_dt: float
    subtract: bool = False
    exponential: bool = False
    leaky_adds: bool = False
    current_adds: bool = False
    fires_at: bool = False


class Typed(NamedTuple):
    """A node of NIR as an operation.

    Attributes:
        operation: with its parameters.
        shapes: of its input and output, as it computes them.
        leaves: the shape of its output as NIR has it: a `Conv1d` sends `[C, N]`, and is computed on maps `[C, N, 1]`.
    """

    operation: "Operation"
    shapes: Shapes
    leaves: Shape

    @classmethod
    def elementwise(cls, operation: "Operation", shape: Shape) -> "Typed":
        """An operation that computes element by element: its output has the shape of its input."""
        return cls(operation, Shapes(shape, shape), shape)


@dataclass(frozen=True)
class Interval:
    """Bounds of an array, element by element: float64 `[*shape]`."""

    low: Float64
    high: Float64

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.low + other.low, self.high + other.high)

    @property
    def bound(self) -> float:
        """The largest magnitude, of an interval that holds 0."""
        return float(max(self.high.max(), -self.low.min()))

    @classmethod
    def between(cls, *values: Array) -> "Interval":
        """From the least of several arrays to the greatest."""
        whole = np.broadcast_arrays(*values)
        return cls(np.min(whole, 0), np.max(whole, 0))


@dataclass(frozen=True)
class Sums:
    """Bounds of all partial sums of a node's input, in any order of the terms.

    Attributes:
        reach: the bounds: low <= 0 <= high.
        bits: every term is a multiple of 2^-bits; None where the terms lie on no such grid.
        constant: whether the sums are the same in every time step of an image, as are pixels, and all that is computed
            from them before the first neurons.
    """

    reach: Interval
    bits: int | None
    constant: bool = False

    @property
    def bound(self) -> float:
        """The largest magnitude of any partial sum."""
        return self.reach.bound

    def __add__(self, other: "Sums") -> "Sums":
        bits = None if self.bits is None or other.bits is None else max(self.bits, other.bits)
        return Sums(self.reach + other.reach, bits, self.constant and other.constant)


Kernel = Callable[[Array], Array]
"""A fast function for a stateless node, from x `[B, *input shape]` to y `[B, *shape]`."""


class NeuronKernel(Protocol):
    """A fast function for neurons, from x `[B, *shape]`, which it may overwrite, to spikes (uint8) or membranes."""

    @property
    def v(self) -> Array:
        """Membranes, which are kept between the steps: `[B, *shape]`."""

    def forget(self) -> None:
        """Return to the state at the start of an image."""

    def __call__(self, x: Array) -> Array: ...


@dataclass
class Overflows:
    """How often values of a population left their widths.

    Attributes:
        wraps: of u.
        saturations: of v: below; and above, if a spike lowers v (if it sets v, the neuron fires either way).
    """

    wraps: int = 0
    saturations: int = 0

    def __add__(self, other: "Overflows") -> "Overflows":
        """Of both."""
        return Overflows(self.wraps + other.wraps, self.saturations + other.saturations)


class ChipKernel(NeuronKernel, Protocol):
    """The same for neurons of the chip.

    Attributes:
        overflows: counted so far.
    """

    overflows: Overflows


@dataclass
class State:
    """The state that neurons keep from step to step, float64 `[N, *shape]`.

    Attributes:
        v: membranes.
        i: synaptic currents, where neurons have them; u of the chip's neurons.
    """

    v: Float64
    i: Float64


def multiplies(decay: Array | float) -> bool:
    """Whether keeping `1 - decay` takes a multiplication: it is not 0 or a power of two everywhere."""
    kept = np.asarray(1.0 - np.asarray(decay, np.float64))
    mantissa, _ = np.frexp(kept)
    return bool(((np.abs(mantissa) != 0.5) & (kept != 0)).any())


def unrepeated(values: Array) -> Array:
    """`values` with one element along each axis that repeats one element (of stride 0, as after broadcasting)."""
    return values[tuple(slice(None) if stride else slice(1) for stride in values.strides)]


def single_number(values: Array) -> Any:
    """One number where all of `values` are the same, for speed; else `values`."""
    first = values.flat[:1]
    return first[0] if values.size and (values == first).all() else values
