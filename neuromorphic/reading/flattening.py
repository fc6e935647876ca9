"""Nodes that only change a shape: NIR's `Flatten`, and the ends of subgraphs.

Graphs don't need them, since every node has its own input shape.  So they are removed while a file is read.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import nir

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import Shape
from neuromorphic.ops.parameters import single


@dataclass(frozen=True)
class Passage:
    """The input or the output of a subgraph: `y = x`.

    Attributes:
        declared: its shape in the file, not yet checked.
    """

    declared: Any


def only_flattens(node: Any) -> bool:
    """Whether a node only changes a shape."""
    return isinstance(node, nir.Flatten | Passage)


def flattened(node: nir.Flatten | Passage, shape: Shape, where: str) -> Shape:
    """The output shape of such a node whose input has the shape `shape`.

    Raises:
        RefusedInput: it flattens dimensions that `shape` doesn't have.
    """
    if isinstance(node, Passage):
        return shape  # not what it declares: Rockpool writes the whole network's shape there
    dimensions = len(shape)
    start, end = (
        single(n, name, where, -dimensions) for n, name in ((node.start_dim, "start_dim"), (node.end_dim, "end_dim"))
    )
    start, end = (n + dimensions if n < 0 else n for n in (start, end))
    if not start <= end < dimensions:
        raise RefusedInput(
            f"{where} flattens dimensions {node.start_dim} to {node.end_dim} of {list(shape)}; "
            f"expected some of 0 to {dimensions - 1}, without one for the batch"
        )
    return (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])
