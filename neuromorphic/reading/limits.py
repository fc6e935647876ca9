"""The limits of a graph's size: a larger one could not be run, and a hostile file of a few kilobytes can declare one.

Strides, paddings, kernels and declared shapes are a few bytes each, whatever memory and time they take.  The limits are
a few times what the base encoder needs with images of 224×224 pixels; the published encoder has 32×32.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from neuromorphic.analysis.recurrence import check_acyclic, paths_through
from neuromorphic.errors import RefusedInput, number, shown
from neuromorphic.ops import Operation, Shape, Shapes

MAX_NODES = 4096
"""The base encoder has fewer than 100 nodes, in standard nodes fewer than 400."""

MAX_EDGES = 4 * MAX_NODES

MAX_NAME = 128
"""Characters of a node's name."""

MAX_DIMENSIONS = 8

MAX_ELEMENTS = 2**27
"""Elements of one array that a node needs, 1 GiB in float64; at 224×224 the windows of base's stem have 43 million."""

MAX_GRAPH_ELEMENTS = 2**28
"""Elements of all nodes' outputs together; base at 224×224 has 132 million."""

MAX_PRODUCTS = 2**38
"""Products of all nodes in one time step; base at 224×224 has about 5e10.  This many take a core minutes."""

MAX_STEP_ELEMENTS = 2**31
"""Elements of all nodes' outputs in all time steps; base at 224×224 has 5e8."""

MAX_PATHS = 4096
"""Paths to a node through flattening nodes; two of these in parallel double the paths."""

MAX_FLATTENING = 64
"""Flattening nodes in a row."""


def check_names(nodes: Collection[str], edges: Sequence[tuple[str, str]], source: str) -> None:
    """Refuse more nodes or edges than a graph may have, and names that can't be written to a file or a console.

    Raises:
        RefusedInput: too many, or a name that is empty, long, not printable, or a path to HDF5.
    """
    for what, count, most in (("nodes", len(nodes), MAX_NODES), ("edges", len(edges), MAX_EDGES)):
        if count > most:
            raise RefusedInput(f"{source}: {count} {what}; expected at most {most}")
    for name in nodes:
        if not (0 < len(name) <= MAX_NAME and name.isprintable()) or "/" in name or name == ".":
            raise RefusedInput(
                f"{source}: a node is named {shown(name)}; expected 1 to {MAX_NAME} printable characters without '/'"
            )


def check_shape(shape: Shape, where: str) -> None:
    """Refuse shapes that are empty, or have more elements than a node may have.

    Raises:
        RefusedInput: no dimension or too many, a size below 1, or too many elements.
    """
    if not 0 < len(shape) <= MAX_DIMENSIONS or min(shape) < 1 or prod(shape) > MAX_ELEMENTS:
        raise RefusedInput(
            f"{where} has the shape {shown(list(shape))}; expected positive sizes of at most {MAX_ELEMENTS} elements"
        )


@dataclass
class Size:
    """The size of a graph, added up node by node.

    Attributes:
        elements: of all outputs.
        products: of one time step.
    """

    elements: int = 0
    products: int = 0

    def add(self, operation: Operation, shapes: Shapes, where: str) -> None:
        """Add a node.

        Raises:
            RefusedInput: it is too large, by itself or together with those added before.
        """
        check_shape(shapes.output, f"{where}: its output")
        largest = operation.largest_array(shapes)
        if largest > MAX_ELEMENTS:
            raise RefusedInput(f"{where} needs an array of {largest} elements; expected at most {MAX_ELEMENTS}")
        self.elements += prod(shapes.output)
        self.products += operation.products(shapes)
        if self.elements > MAX_GRAPH_ELEMENTS:
            raise RefusedInput(f"{where} brings the outputs to {self.elements} elements; expected {MAX_GRAPH_ELEMENTS}")
        if self.products > MAX_PRODUCTS:
            raise RefusedInput(f"{where} brings a time step to {self.products} products; expected {MAX_PRODUCTS}")

    def check_steps(self, time_steps: int | None, source: str) -> None:
        """Refuse a trace that doesn't fit into memory.

        Raises:
            RefusedInput: the nodes' outputs in all time steps of one image are too many.
        """
        if self.elements * (time_steps or 1) > MAX_STEP_ELEMENTS:
            raise RefusedInput(
                f"{source}: {time_steps} time steps of {self.elements} elements; expected at most {MAX_STEP_ELEMENTS}"
            )


def check_flattening(fan_in: Mapping[str, Sequence[str]], flattens: Callable[[str], bool], source: str) -> None:
    """Refuse so many paths through nodes that only flatten that following them all would take for ever.

    Raises:
        RefusedInput: a cycle of such nodes, too many in a row, or too many paths through them.
    """
    check_acyclic({name: [*filter(flattens, before)] for name, before in fan_in.items() if flattens(name)}, source)
    for name, (paths, row) in paths_through(fan_in, flattens).items():
        before = row - flattens(name)
        if paths > MAX_PATHS or before >= MAX_FLATTENING:
            raise RefusedInput(
                f"{source}: node {name!r} is reached along {number(paths, 'path')} through up to "
                f"{number(before, 'flattening node')}; expected at most {MAX_PATHS} and {MAX_FLATTENING - 1}"
            )
