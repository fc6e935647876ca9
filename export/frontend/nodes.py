"""Nodes of the graph in the making: what each computes, with the parameters of the user's module that its numbers are.

All numbers are float64 here; lowering rounds them once.
"""

from dataclasses import dataclass, field
from math import prod

from torch import Tensor

from export.frontend.neurons.equations import Neurons

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Stride, padding and dilation of a kernel, (vertical, horizontal)."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def size(self, shape: Shape, kernel: Pair) -> Pair:
        """Height and width of what windows leave of a map `[C, H, W]`."""
        sizes = zip(shape[1:], kernel, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        return height, width


@dataclass(frozen=True, eq=False)
class Piece:
    """The parameter that some rows of a weight are made of.

    `node weight[:, columns] = norm(parameter[rows]) * factor`

    Attributes:
        weight: path of the parameter `[out, in / groups, ...]`; empty where the rows are a normalisation alone.
        bias: path of its bias; None for none.
        rows: which rows of the parameter, int64.
        columns: for each of the parameter's inputs, which input of the node it reads; -1 for one that is 0.
        factor: of the node's inputs in its weight, float64: a number or one for each of the parameter's inputs.
        norms: paths of the normalisations that are folded into the rows, first to last.
    """

    weight: str
    bias: str | None
    rows: Tensor
    columns: Tensor
    factor: Tensor
    norms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frames:
    """`y = frame`: the input."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """`y = W x + b`, of maps a convolution.

    Attributes:
        weight: `[out, in, kernel height, kernel width]`, or `[out, in]` of vectors.
        bias: `[out]`.
        window: of a convolution; None of vectors.
        pieces: which of the module's parameters the rows are, one after the other; empty where they are none.
        fixed: whether it only adds or picks elements, by weights of ones, which the module doesn't multiply by.
    """

    weight: Tensor
    bias: Tensor
    window: Window | None
    pieces: tuple[Piece, ...] = ()
    fixed: bool = False


@dataclass(frozen=True, eq=False)
class Scaled:
    """`y = s x`, element by element; s of the node's shape."""

    scale: Tensor


@dataclass(frozen=True)
class _OverWindows:
    kernel: Pair
    window: Window


class SumWindows(_OverWindows):
    """`y = Σ x` over windows."""


class MaxWindows(_OverWindows):
    """`y = max x` over windows of currents."""


class Or(_OverWindows):
    """`y = x_1 ∨ x_2 ∨ ...` over windows of spikes: their maximum."""


@dataclass(frozen=True)
class Relay:
    """`y = x_1 ∨ x_2 ∨ ...` of all spikes that arrive: several populations as one, or the maximum of counted ones."""


@dataclass(frozen=True)
class Both:
    """`y = a ∧ b` of spikes."""


@dataclass(frozen=True)
class ButNot:
    """`y = a ∧ ¬b` of spikes, the inputs in this order."""


@dataclass(frozen=True)
class Attention:
    """`y = scale · Q (Kᵀ V)` per head, of one population whose channels are those of Q, K and V."""

    heads: int
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of the module.

    Attributes:
        neurons: their equation.
        key: path of the neuron in the module; of fused neurons, that of each.
        factor: of the sum of the inputs.
        leak: a constant current beside the inputs, of the node's shape, in their unit; None for 0.
    """

    neurons: Neurons
    key: tuple[str, ...]
    factor: float
    leak: Tensor | None = None


Operation = Frames | Weighted | Scaled | SumWindows | MaxWindows | Or | Relay | Both | ButNot | Attention | Population

SPIKING = (Or, Relay, Both, ButNot, Population)
"""Operations that send spikes."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node in the making.

    Attributes:
        label: the name that it gets; of several with one label the last.
        kind: what the others get behind it.
        operation: what it computes.
        shape: of its output, without time and image.
        inputs: indices of the nodes that it sums, or reads in this order.
        static: whether it is the same in every time step, as of an image that is presented T times.
    """

    label: str
    kind: str
    operation: Operation
    shape: Shape
    inputs: tuple[int, ...]
    static: bool

    @property
    def size(self) -> int:
        """Elements of its output."""
        return prod(self.shape)

    @property
    def space(self) -> int:
        """Positions of its map; 1 of a vector."""
        return prod(self.shape[1:])

    @property
    def spiking(self) -> bool:
        """Whether it sends spikes."""
        return isinstance(self.operation, SPIKING)


@dataclass
class Observed:
    """A module whose output the graph computes too, to compare.

    Attributes:
        node: index of the node.
        order: for each element of the module's output, without time and image, which of the node's it is; int64.
        multi_step: whether the module's output has a time axis.
        instead: other nodes that hold some or all of it, where populations were fused, with their orders; -1 of
            elements that they don't hold.
    """

    node: int
    order: Tensor
    multi_step: bool
    instead: list[tuple[int, Tensor]] = field(default_factory=list)
