"""What Lava's own fixed-point processes take of an integer graph."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.biases import biases
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Affine, LoihiLif, Scale
from neuromorphic.ops.widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT, WEIGHT_BITS, WEIGHT_EXPONENT

LARGEST_CURRENT = 3 * STATE_LIMIT // 2**ALIGNMENT - 1
"""Lava's u wraps once only: beyond this synaptic input it leaves its 24 bits, where no current outlasts its step."""


def largest_current(current_decay: int) -> int:
    """The largest synaptic input that Lava's u wraps rightly, whatever is left of u by then."""
    left = STATE_LIMIT // 2**ALIGNMENT if current_decay < 2**DECAY_BITS else 0
    return int(LARGEST_CURRENT - left)


def weight_exponent(weight: NDArray[np.float32]) -> int | None:
    """The least e with `weight = 2^e q` for 8-bit integers q; None where there is none from 0 to 7."""
    limit = 2 ** (WEIGHT_BITS - 1)
    for exponent in range(WEIGHT_EXPONENT + 1):
        q = weight / 2.0**exponent
        if q.min(initial=0) >= -limit and q.max(initial=0) < limit:
            return exponent if (q == np.rint(q)).all() else None
    return None


def check_stock(graph: Graph) -> None:
    """Refuse what Dense, Sparse and LIFReset can't compute.

    Raises:
        RefusedInput: an Affine or Scale node whose weights have no common exponent, or a bias that is not a
            population's own.
    """
    for node in graph.nodes.values():
        if isinstance(node.operation, Affine | Scale) and weight_exponent(node.operation.weights) is None:
            process = "Dense" if isinstance(node.operation, Affine) else "Sparse"
            raise RefusedInput(
                f"{graph.source}: node {node.name!r} has weights that are not 8-bit integers times one power of two; "
                f"Lava's {process} takes no others"
            )
        if node.spiking and biases(graph)[node.name].any():
            raise RefusedInput(
                f"{graph.source}: node {node.name!r} reads a bias; in integers Lava's neurons take their own only"
            )
        if isinstance(node.operation, LoihiLif) and weight_exponent(node.operation.drive.astype(np.float32)) is None:
            raise RefusedInput(
                f"{graph.source}: node {node.name!r} has a drive that is no 8-bit integers times one power of two"
            )
