"""Groups of a convolution: as the file declares them, not as the values of a kernel suggest.

NIR 1.0.8's type check refuses grouped kernels, so exporters write block-diagonal ones, with zeros where a group doesn't
see a channel.  These kernels are taken for grouped ones:

    files of this project            those that the metadata's `groups` lists, with these numbers of groups
    its files before that key        every block-diagonal kernel, with the most possible groups
    files of others                  none: the `groups` of the node itself count
"""

from collections.abc import Iterator
from copy import copy
from math import gcd

import nir
import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ops import Array, Float32


def grouped(node: nir.Conv2d, name: str, metadata: GraphMetadata, where: str) -> nir.Conv2d:
    """The grouped convolution that a node with a block-diagonal kernel stands for; the node itself if it has none.

    Args:
        node: whose parameters are numbers; it is not changed.
        name: of the node, in the metadata.
        metadata: of the graph.
        where: names the node in messages.

    Raises:
        RefusedInput: the kernel doesn't consist of the declared groups.
    """
    weight = np.asarray(node.weight)
    if weight.ndim != 4 or np.any(np.asarray(node.groups) != 1):
        return node
    groups = block_diagonal_groups(weight) if metadata.groups is None else metadata.groups.get(name, 1)
    if groups == 1:
        return node
    out, inputs = weight.shape[:2]
    if out % groups or inputs % groups or _outside(weight, groups).any():
        raise RefusedInput(
            f"{where}: the metadata declares {groups} groups; its kernel {list(weight.shape)} does not consist of as "
            "many diagonal blocks of equal size with zeros around them"
        )
    meant = copy(node)
    meant.weight, meant.groups = blocks(weight, groups), groups
    return meant


def block_diagonal_groups(weight: Float32) -> int:
    """The most groups g such that `weight`, `[out, in, ...]`, is zero outside g diagonal blocks and in none of them.

    It is 1 for a kernel without structure, and where a block would be all zero, since zeros alone are no structure.
    """
    filled = (groups for groups in divisions(weight) if blocks(weight, groups).reshape(groups, -1).any(1).all())
    return next(filled, 1)


def divisions(weight: Float32) -> Iterator[int]:
    """All g > 1, the most first, such that `weight`, `[out, in, ...]`, is zero outside g diagonal blocks."""
    connected = (weight != 0).any(tuple(range(2, weight.ndim)))
    most = gcd(*connected.shape)
    return (g for g in range(most, 1, -1) if most % g == 0 and not _outside(connected, g).any())


def _outside(weight: Array, groups: int) -> Array:
    """The weights between channels of different groups."""
    rows, columns = (np.arange(n) // (n // groups) for n in weight.shape[:2])
    return np.asarray(weight[rows[:, None] != columns])


def blocks(weight: Float32, groups: int) -> Float32:
    """The diagonal blocks, one below the other: `[out, in / groups, ...]`."""
    out, inner = len(weight), weight.shape[1] // groups
    first = np.arange(out) // (out // groups) * inner
    return np.asarray(weight[np.arange(out)[:, None], first[:, None] + np.arange(inner)])
