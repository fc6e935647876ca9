"""Nodes that only give what they read another shape: NIR's `Flatten`, and the ends of subgraphs.

No node of a graph needs them: every node knows the shape that it reads.  So they are removed while a file is read.
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
        declared: its shape, as the file says, not yet checked.
    """

    declared: Any


def only_flattens(node: Any) -> bool:
    """Whether a node only gives what it reads another shape."""
    return isinstance(node, nir.Flatten | Passage)


def flattened(node: nir.Flatten | Passage, shape: Shape, where: str) -> Shape:
    """The shape of what leaves such a node that reads `shape`.

    Raises:
        RefusedInput: dimensions that it doesn't have.
    """
    if isinstance(node, Passage):
        return shape  # whatever it declares: Rockpool's writer has the whole network's there
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
