"""Arguments and results of operations: arrays by their types, shapes, intervals, states, kernels, and conventions."""

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
"""The name of a node with synapses in reports; neurons that read spikes directly have one each, `identity`."""


class Shapes(NamedTuple):
    """Of a node: of the sum that it reads, and of what leaves it."""

    input: Shape
    output: Shape


class Conventions(NamedTuple):
    """Conventions of a file's writer that the file leaves to its reader.

    Attributes:
        dt: seconds per time step.
        integrator_dt: what `IF` and `I` multiply their input by per time step: dt, or 1 where the writer meant steps.
        subtract: whether a spike takes the threshold off v, as in NIR before 1.0.6; else v is set to v_reset.
        exponential: whether a time constant takes `1 - exp(-dt / tau)` away per time step; else `dt / tau`.
        leaky_adds: whether an input of 1 brings the v of `LIF` and `LI` r at once; else `dt / tau r`.
        current_adds: the same of i and w_in, in `CubaLIF` and `CubaLI`.
    """

    dt: float
    integrator_dt: float
    subtract: bool = False
    exponential: bool = False
    leaky_adds: bool = False
    current_adds: bool = False


class Typed(NamedTuple):
    """A node of NIR as an operation.

    Attributes:
        operation: with its parameters.
        shapes: that it computes with.
        leaves: the shape of its output in NIR's eyes, of as many elements: a `Conv1d` is computed on maps `[C, N, 1]`.
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
    """Bounds of the sums that arrive at a node, whatever part of their terms is added, in whatever order.

    Attributes:
        reach: bounds of all of them: low <= 0 <= high.
        bits: every term is a multiple of 2^-bits; None where it lies on no such grid.
        constant: whether they are the same at every time step of an image, as are an image's pixels and what is
            computed of them before the first neurons.
    """

    reach: Interval
    bits: int | None
    constant: bool = False

    @property
    def bound(self) -> float:
        """The largest magnitude of any of them."""
        return self.reach.bound

    def __add__(self, other: "Sums") -> "Sums":
        bits = None if self.bits is None or other.bits is None else max(self.bits, other.bits)
        return Sums(self.reach + other.reach, bits, self.constant and other.constant)


Kernel = Callable[[Array], Array]
"""The fast way to compute a stateless node: x `[B, *input shape]` to y `[B, *shape]`."""


class NeuronKernel(Protocol):
    """The fast way to compute neurons: x `[B, *shape]`, which it may use up, to spikes (uint8) or membranes.

    Attributes:
        v: membranes, kept between the steps.
    """

    v: Array

    def forget(self) -> None:
        """Back to the state in which an image begins."""

    def __call__(self, x: Array) -> Array: ...


@dataclass
class Overflows:
    """How often the widths of a population were too small.

    Attributes:
        wraps: of u.
        saturations: of v, below; above, where it fires either way, only if a spike lowers v instead of setting it.
    """

    wraps: int = 0
    saturations: int = 0

    def __add__(self, other: "Overflows") -> "Overflows":
        """Of both."""
        return Overflows(self.wraps + other.wraps, self.saturations + other.saturations)


class ChipKernel(NeuronKernel, Protocol):
    """The same of the chip's neurons.

    Attributes:
        overflows: counted so far.
    """

    overflows: Overflows


@dataclass
class State:
    """The state that neurons keep from step to step, float64 `[N, *shape]`.

    Attributes:
        v: membranes.
        i: synaptic currents, of neurons that have some; u of the chip's.
    """

    v: Float64
    i: Float64


def multiplies(decay: Array | float) -> bool:
    """Whether what is kept, `1 - decay`, takes a multiplication: it is neither 0 nor a power of two everywhere."""
    kept = np.asarray(1.0 - np.asarray(decay, np.float64))
    mantissa, _ = np.frexp(kept)
    return bool(((np.abs(mantissa) != 0.5) & (kept != 0)).any())


def unrepeated(values: Array) -> Array:
    """The same, with one element along each dimension that repeats one (of stride 0, as broadcasting leaves them)."""
    return values[tuple(slice(None) if stride else slice(1) for stride in values.strides)]


def single_number(values: Array) -> Any:
    """An array of a single value where all of `values` are the same, for speed."""
    first = values.flat[:1]
    return first[0] if values.size and (values == first).all() else values
