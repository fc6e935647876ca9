"""How large a graph may be: what is beyond could not be run, and a hostile file of a few kilobytes can ask for it.

Strides, paddings, kernels and declared shapes are a few bytes each, whatever memory and time they stand for.  The
limits are a few times what the base encoder needs at 224×224 pixels, where the published one has 32.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import prod

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ops.operations import (
    Affine,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    MaxPool2d,
    Operation,
    SelfAttention,
    Shape,
    SumPool2d,
)

MAX_NODES = 4096
"""The base encoder has fewer than 100 nodes, in standard nodes fewer than 400."""

MAX_EDGES = 4 * MAX_NODES

MAX_NAME = 128
"""Characters of a node's name."""

MAX_DIMENSIONS = 8

MAX_ELEMENTS = 2**27
"""Of one array that a node needs, 1 GiB in float64; at 224×224 the windows of base's stem have 43 million."""

MAX_GRAPH_ELEMENTS = 2**28
"""Of all nodes' outputs together; base at 224×224 has 132 million."""

MAX_PRODUCTS = 2**38
"""In one time step of all nodes; base at 224×224 has about 5e10.  A processor core takes minutes for as many."""

MAX_STEP_ELEMENTS = 2**31
"""Of all nodes' outputs in all time steps; base at 224×224 has 5e8."""

MAX_WAYS = 4096
"""On which a node is reached through flattening nodes: two of them side by side double the ways."""

MAX_FLATTENING = 64
"""Flattening nodes in a row."""


def check_names(nodes: Collection[str], edges: Sequence[tuple[str, str]], source: str) -> None:
    """Refuse more nodes or edges than a graph may have, and names that can't be written to a file or a console.

    Raises:
        RefusedInput: too many, or a name that is empty, long, not printable, or a path to HDF5.
    """
    for what, number, most in (("nodes", len(nodes), MAX_NODES), ("edges", len(edges), MAX_EDGES)):
        if number > most:
            raise RefusedInput(f"{source}: {number} {what}; expected at most {most}")
    for name in nodes:
        if not (0 < len(name) <= MAX_NAME and name.isprintable()) or "/" in name or name == ".":
            raise RefusedInput(
                f"{source}: a node is named {shown(name)}; expected 1 to {MAX_NAME} printable characters without '/'"
            )


def check_shape(shape: Shape, where: str) -> None:
    """Refuse shapes that are empty or of more elements than a node may have.

    Raises:
        RefusedInput: no dimension or too many, a size below 1, or too many elements.
    """
    if not 0 < len(shape) <= MAX_DIMENSIONS or min(shape) < 1 or prod(shape) > MAX_ELEMENTS:
        raise RefusedInput(
            f"{where} has the shape {shown(list(shape))}; expected positive sizes of at most {MAX_ELEMENTS} elements"
        )


@dataclass
class Size:
    """What the nodes of a graph take together, added up one by one in topological order.

    Attributes:
        elements: of their outputs.
        products: that one time step computes.
        ways: by the name of a flattening node, the ways on which it is reached through others of its kind.
        flattening: by the name of a flattening node, how many stand in a row up to it.
    """

    elements: int = 0
    products: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    flattening: dict[str, int] = field(default_factory=dict)

    def add(self, operation: Operation, shapes: tuple[Shape, Shape], where: str) -> None:
        """Count a node with its input's and its output's shape.

        Raises:
            RefusedInput: it takes too much, alone or with those before it.
        """
        check_shape(shapes[1], f"{where}: its output")
        largest = largest_array(operation, *shapes)
        if largest > MAX_ELEMENTS:
            raise RefusedInput(f"{where} needs an array of {largest} elements; expected at most {MAX_ELEMENTS}")
        self.elements += prod(shapes[1])
        self.products += products(operation, *shapes)
        if self.elements > MAX_GRAPH_ELEMENTS:
            raise RefusedInput(f"{where} brings the outputs to {self.elements} elements; expected {MAX_GRAPH_ELEMENTS}")
        if self.products > MAX_PRODUCTS:
            raise RefusedInput(f"{where} brings a time step to {self.products} products; expected {MAX_PRODUCTS}")

    def pass_on(self, name: str, operation: Operation, sources: Sequence[str], where: str) -> None:
        """Count the ways that lead to a node through flattening nodes.

        Raises:
            RefusedInput: they are too many or too long: whoever looks through them would not come back.
        """
        ways = sum(self.ways.get(source, 1) for source in sources)
        row = 1 + max((self.flattening.get(source, 0) for source in sources), default=0)
        if ways > MAX_WAYS or row > MAX_FLATTENING:
            raise RefusedInput(
                f"{where} is reached on {ways} ways through up to {row - 1} flattening nodes; "
                f"expected at most {MAX_WAYS} and {MAX_FLATTENING - 1}"
            )
        if isinstance(operation, Flatten):
            self.ways[name], self.flattening[name] = ways, row

    def check_steps(self, time_steps: int | None, source: str) -> None:
        """Refuse a trace that no memory holds.

        Raises:
            RefusedInput: the nodes' outputs in all time steps of one image are too many.
        """
        if self.elements * (time_steps or 1) > MAX_STEP_ELEMENTS:
            raise RefusedInput(
                f"{source}: {time_steps} time steps of {self.elements} elements; expected at most {MAX_STEP_ELEMENTS}"
            )


def largest_array(operation: Operation, shape: Shape, out: Shape) -> int:
    """Elements of the largest array that computing or counting a node takes, for one image and step.

    Of kernels it is the padded map, the windows side by side (on a map of one position: an answer for each channel),
    or the positions that the windows reach along one axis.
    """
    kernel: Shape
    match operation:
        case Conv1d(weight=weight, padding=along):
            padded = shape[0] * (shape[1] + 2 * along)
            return int(max(padded, out[1] * weight.shape[2], shape[0] * weight.shape[2] * out[1]))
        case Delay(steps=steps):
            return int(prod(shape) * (steps.max() + 1))
        case Conv2d(weight=weight, padding=padding, groups=groups):
            kernel, inner = weight.shape[2:], shape[0] // groups
        case SumPool2d(kernel=kernel, padding=padding) | MaxPool2d(kernel=kernel, padding=padding):
            inner = 1
        case SelfAttention(heads=heads):
            return max(prod(shape), heads * (out[0] // heads) ** 2)
        case _:
            return max(prod(shape), prod(out))
    padded = shape[0] * prod(n + 2 * p for n, p in zip(shape[1:], padding, strict=True))
    reached = max(n * k for n, k in zip(out[1:], kernel, strict=True))
    windows = shape[0] * prod(kernel) * prod(out[1:]) if shape[1:] != (1, 1) else inner * prod(out)
    return int(max(padded, reached, windows))


def products(operation: Operation, shape: Shape, out: Shape) -> int:
    """Products of one time step, those with padding included; of a node without any, the elements it reads."""
    match operation:
        case Conv1d(weight=weight) | Conv2d(weight=weight):
            return prod(out) * prod(weight.shape[1:])
        case Affine(weight=weight):
            return int(weight.size)
        case SumPool2d(kernel=kernel) | MaxPool2d(kernel=kernel):
            return prod(out) * prod(kernel)
        case SelfAttention(heads=heads):
            return 2 * prod(out) * (out[0] // heads)
        case _:
            return prod(shape)
