"""Rounding weights so that their errors cancel where inputs are correlated.

Weights are rounded one after the other; each passes its error on to those that come later, in the way that changes
`E |(W - Q) x|²` least (Frantar and Alistarh, "Optimal Brain Compression", arXiv 2208.11580; in this form, GPTQ, with
one Cholesky factor for all rows, arXiv 2210.17323):

    U'U = (E[x x'] + ε)^-1        U upper triangular, ε on the diagonal
    q_i = clip(round(w_i))        w_j -= (w_i - q_i) U_ij / U_ii  for j > i

Neighbouring pixels are alike and spikes are never negative, so errors add up; rounding to nearest, in which each weight
is rounded by itself, loses several times as much.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.graph import Node
from neuromorphic.ops import Affine, Conv2d, Float64
from neuromorphic.ops.widths import WEIGHT_LEAST, WEIGHT_MOST

Rounding = Literal["in turn", "nearest"]

ROWS = 16384
"""Rows x that the second moments of a layer are estimated from, at most; but at least one from every map."""

DAMPING = 0.01
"""ε, relative to the mean of the diagonal."""

CACHE = 2**18
"""Bytes of weights that are rounded together, so that they stay in the processor's cache; rows are independent."""

SEED = 0
"""Of the random choice of these rows."""

Rows = NDArray[Any]
"""Inputs x of the weights, `[groups, rows, weights]`: float32, or uint8 for spikes."""


def windows(node: Node, maps: NDArray[Any]) -> Rows:
    """Inputs of a node's weights, of its input maps `[B, *input shape]`; of a convolution, windows at random places."""
    maps = maps if maps.dtype == np.uint8 else maps.astype(np.float32)
    match node.operation:
        case Affine():
            return maps[None]
        case Conv2d() as conv:
            seen = conv.windows.seen(maps)
            positions = seen.shape[2] * seen.shape[3]
            count = min(positions, max(1, ROWS // len(maps)))
            chosen = np.random.default_rng(SEED).choice(positions, count, replace=False)
            rows = seen[:, :, chosen // seen.shape[3], chosen % seen.shape[3]].swapaxes(1, 2)
            return np.asarray(rows.reshape(len(maps) * count, conv.groups, -1).swapaxes(0, 1))
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no weights that are rounded in turn")


def round_in_turn(weights: Float64, rows: Rows) -> Float64:
    """Integers `[out, n]` for weights `[out, n]` over their step size, given their inputs `[groups, rows, n]`."""
    groups = len(rows)
    result = np.empty_like(weights)
    parts = zip(np.split(weights, groups), rows, np.split(result, groups), strict=True)
    for part, x, out in parts:
        moments = _second_moments(x)
        order = np.argsort(-np.diag(moments), kind="stable")
        moments = moments[np.ix_(order, order)]
        moments[np.diag_indices_from(moments)] += DAMPING * max(np.diag(moments).mean(), 1e-12)
        factor = np.linalg.cholesky(np.linalg.inv(moments)).T
        rows_at_once = max(1, CACHE // (8 * part.shape[1]))
        for start in range(0, len(part), rows_at_once):
            some = slice(start, start + rows_at_once)
            out[some, order] = _rounded_rows(part[some][:, order], factor)
    return result


def _rounded_rows(left: Float64, factor: Float64) -> Float64:
    """Integers for rows of weights, which stand in the order in which they are rounded; overwrites `left`."""
    whole, passed = np.empty_like(left), np.empty_like(left)
    for i in range(left.shape[1]):
        whole[:, i] = np.clip(np.round(left[:, i]), WEIGHT_LEAST, WEIGHT_MOST)
        error = (left[:, i : i + 1] - whole[:, i : i + 1]) / factor[i, i]
        left[:, i + 1 :] -= np.multiply(error, factor[i, i + 1 :], out=passed[:, i + 1 :])
    return whole


def _second_moments(x: Rows) -> Float64:
    """`E[x x']`, float64 `[n, n]`.

    Spikes and counts are summed in float32, which holds their sums exactly.  Other numbers are summed in float64: in
    float32 their sums, and so the weights, would depend on the order in which a processor adds.
    """
    counts = x.dtype == np.uint8 and int(x.max(initial=0)) ** 2 * len(x) < 2**24
    exact: NDArray[Any] = x.astype(np.float32 if counts else np.float64)
    return np.asarray((exact.T @ exact).astype(np.float64) / len(x))


def round_to_nearest(weights: Float64) -> Float64:
    """`clip(round(w), -128, 127)`."""
    return np.asarray(np.clip(np.round(weights), WEIGHT_LEAST, WEIGHT_MOST))


def mean_change(weights: Float64, rows: Rows, rounded: Float64, later: Rows) -> Float64:
    """`E[W x] - E[Q x']` per output channel: the correction of the bias.

    Args:
        weights: W, `[out, n]`.
        rows: x, `[groups, rows, n]`: inputs of the float graph.
        rounded: Q, `[out, n]`.
        later: x', likewise: inputs of the quantised graph.
    """
    means = []
    for matrix, x in ((weights, rows), (rounded, later)):
        grouped = matrix.reshape(len(x), -1, matrix.shape[1])
        means.append(np.einsum("gon,gn->go", grouped, x.mean(1, dtype=np.float64)).reshape(-1))
    return np.asarray(means[0] - means[1])
