"""What `compiled` runs, compiled by Numba: sums of a layer, and the neurons behind them over all time steps.

Maps are `[P, C]`: positions, then channels, so that what one spike adds to all output channels lies side by side.  An
output position's membranes stay in the processor's first cache while T steps pass.

An output position q reads spans of positions, those from `first[q]` to before `first[q + 1]`: positions `begin` to
before `end`.  What channel c of position p sends meets the row `offset + p C + c` of the weights; of channels on their
own, `offset + p`.  Neighbouring taps of a kernel are one span, so that lists of spikes are read as they are.

Sums are exact in the types that `compiled` chooses, so that their order, and zeros left out, change nothing.

A kernel's first argument, `front`, is what its sums are made of:

    mode            how x becomes what arrives, one of those below
    most            that an element of x counts, where it is made of spikes
    x               `[B, T, P, C]`; uint8 where it is made of spikes; of a single step where all steps are the same
    weight          `[taps C, O]`; `[taps, C]` of channels on their own; of maxima what is added to x, `[1 or P, C]`
    first, offset, begin, end   the spans

Then come, of neurons, room for `sums`, `[O]` of their type; their numbers, each `[1 or Q, O]`; and, of all kernels,
room for what they return: `[B, T, Q, O]`, uint8 of spikes, and v after the last step, `[B, Q, O]`.
"""

from typing import Any

import numpy as np
from numba import njit

from neuromorphic.execution.rows import add_rows
from neuromorphic.ops.types import Array
from neuromorphic.ops.widths import STATE_LIMIT

Mode = tuple[int, ...]
"""How x becomes what arrives, as the length of a tuple: the compiler knows it, and compiles that way alone."""

EVENTS, VALUES, CHANNELS, MAXIMA, CURRENTS = range(1, 6)
"""Rows of weights where there are spikes; rows times values; each channel on its own, weighed or its maximum; as it
is."""

Front = tuple[Mode, int, Array, Array, Array, Array, Array, Array]

Numbers = tuple[Any, ...]
"""Bias, gain and decay of leaky neurons; kept, drive, bias, saturates and saturations of the chip's."""

LEAKY = 3
"""How many leaky neurons have."""


@njit(nogil=True, cache=True)
def layer(front: Front, y: Array) -> None:
    """`y[b, t, q] = Σ weight x`, y `[B, T, Q, O]`."""
    mode, most, x = front[:3]
    start, active = _lists(mode, most, x)
    sums = np.empty(y.shape[3], y.dtype)
    for b in range(x.shape[0]):
        if len(mode) == EVENTS:
            _list(x, b, most, start, active)
        for t in range(x.shape[1]):
            for q in range(y.shape[2]):
                _sum(front, b, t, start, active, q, sums)
                for o in range(y.shape[3]):
                    y[b, t, q, o] = sums[o]


@njit(nogil=True, cache=True)
def neuron_layer(front: Front, sums: Array, numbers: Numbers, threshold: Array, spikes: Array, v: Array) -> None:
    """A layer and neurons behind it, leaky ones or the chip's by how many `numbers` they have."""
    mode, most, x = front[:3]
    start, active = _lists(mode, most, x)
    after = np.empty(v.shape[2], v.dtype)
    for b in range(x.shape[0]):
        if len(mode) == EVENTS:
            _list(x, b, most, start, active)
        for q in range(v.shape[1]):
            row = _row(threshold, q)
            v[b, q] = 0
            for t in range(spikes.shape[1]):
                if t < x.shape[1]:
                    _sum(front, b, t, start, active, q, sums)
                if len(numbers) == LEAKY:  # the compiler knows
                    _leak(sums, numbers, b, q, v, after)
                else:
                    _integrate(sums, numbers, b, q, v, after)
                for o in range(after.shape[0]):
                    fired = after[o] > threshold[row, o]
                    spikes[b, t, q, o] = fired
                    v[b, q, o] = v.dtype.type(0) if fired else after[o]


# Loops below are short and read few arrays each, because LLVM vectorises only those that it can tell apart.


@njit(nogil=True, cache=True)
def _leak(sums: Array, numbers: Numbers, b: int, q: int, v: Array, after: Array) -> None:
    """`v += decay (gain (sum + bias) - v)`."""
    bias, gain, decay = numbers
    i, j, k = _row(bias, q), _row(gain, q), _row(decay, q)
    for o in range(after.shape[0]):
        after[o] = (sums[o] + bias[i, o]) * gain[j, o]
    for o in range(after.shape[0]):
        after[o] = v[b, q, o] + (after[o] - v[b, q, o]) * decay[k, o]


@njit(nogil=True, cache=True)
def _integrate(sums: Array, numbers: Numbers, b: int, q: int, v: Array, after: Array) -> None:
    """`v = trunc(kept v) + 64 (sum + drive) + bias`, as of `LoihiLif`.

    Numbers are integers in float32, as in `ops.loihi.LoihiNeurons`; no u wraps here.  `kept` is 0, 1 or a power of two
    between; the threshold is one of v, above which v saturates unseen.  Where v may saturate below (`saturates`),
    `saturations[0]` counts it.
    """
    kept, drive, bias, saturates, saturations = numbers
    i, j, least = _row(drive, q), _row(bias, q), np.float32(1 - STATE_LIMIT)
    for o in range(after.shape[0]):
        after[o] = (np.float32(sums[o]) + drive[i, o]) * np.float32(64)
    for o in range(after.shape[0]):
        after[o] += np.float32(np.int32(v[b, q, o] * kept)) + bias[j, o]
    if saturates:
        low = 0
        for o in range(after.shape[0]):
            low += after[o] < least
            after[o] = max(after[o], least)
        saturations[0] += low


@njit(nogil=True, cache=True)
def _row(numbers: Array, q: int) -> int:
    """The row of a position's numbers: there is one for all, or one for each."""
    return q if numbers.shape[0] > 1 else 0


@njit(nogil=True, cache=True)
def _lists(mode: Mode, most: int, x: Array) -> tuple[Array, Array]:
    """Room for where the spikes of a step and position begin, and for an image's spikes."""
    steps, positions, channels = x.shape[1:]
    if len(mode) != EVENTS:
        return np.empty((1, 1), np.int32), np.empty(1, np.int32)
    active = np.empty(steps * positions * channels * most + 1, np.int32)
    return np.empty((steps, positions + 1), np.int32), active


@njit(nogil=True, cache=True)
def _list(x: Array, b: int, most: int, start: Array, active: Array) -> None:
    """The spikes of image b, each as `p C + c`, by step and position; one that counts n is there n times."""
    end = 0
    for t in range(x.shape[1]):
        for p in range(x.shape[2]):
            start[t, p] = end
            for c in range(x.shape[3]):  # without a branch: the next one overwrites what doesn't spike
                active[end] = p * x.shape[3] + c
                end += x[b, t, p, c] > 0
                for i in range(1, most):
                    active[end] = p * x.shape[3] + c
                    end += x[b, t, p, c] > i
        start[t, x.shape[2]] = end


@njit(nogil=True, cache=True)
def _sum(front: Front, b: int, t: int, start: Array, active: Array, q: int, y: Array) -> None:
    """What arrives at output position q: y `[O]`."""
    mode, _, x, weight, first, offset, begin, end = front
    y[:] = 0
    if len(mode) == EVENTS:
        for i in range(first[q], first[q + 1]):
            add_rows(weight, active, start[t, begin[i]], start[t, end[i]], offset[i], y)
    elif len(mode) == CURRENTS:
        for o in range(y.shape[0]):
            y[o] = x[b, t, q, o]
    elif len(mode) == VALUES:
        for i in range(first[q], first[q + 1]):
            for p in range(begin[i], end[i]):
                for c in range(x.shape[3]):
                    value, row = y.dtype.type(x[b, t, p, c]), offset[i] + p * x.shape[3] + c
                    if value != 0:
                        for o in range(y.shape[0]):
                            y[o] += value * weight[row, o]
    elif len(mode) == CHANNELS:
        for i in range(first[q], first[q + 1]):
            for p in range(begin[i], end[i]):
                row = offset[i] + p
                for o in range(y.shape[0]):
                    y[o] += y.dtype.type(x[b, t, p, o]) * weight[row, o]
    else:
        for i in range(first[q], first[q + 1]):
            for p in range(begin[i], end[i]):
                row = _row(weight, p)
                if i == first[q] and p == begin[i]:
                    for o in range(y.shape[0]):
                        y[o] = x[b, t, p, o] + weight[row, o]
                for o in range(y.shape[0]):
                    value = y.dtype.type(x[b, t, p, o] + weight[row, o])
                    y[o] = value if value > y[o] else y[o]


@njit(nogil=True, cache=True)
def attention(x: Array, heads: int, scale: float, y: Array) -> None:
    """`y = scale · Q (Kᵀ V)` per head: x uint8 `[B, T, P, 3 D]`, spikes, to y `[B, T, P, D]`."""
    width = y.shape[3]
    size = width // heads
    product = np.empty((width, size), y.dtype)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            product[:] = 0
            for p in range(x.shape[2]):
                for i in range(width):
                    if x[b, t, p, width + i]:
                        value = x[b, t, p, 2 * width + i // size * size : 2 * width + (i // size + 1) * size]
                        for j in range(size):
                            product[i, j] += value[j]
            y[b, t] = 0
            for p in range(x.shape[2]):
                for i in range(width):
                    if x[b, t, p, i]:
                        row = y[b, t, p, i // size * size : (i // size + 1) * size]
                        for j in range(size):
                            row[j] += product[i, j]
                for j in range(width):
                    y[b, t, p, j] *= scale


@njit(nogil=True, cache=True)
def pack(x: Array, bits: Array) -> None:
    """Spikes x uint8 `[N, P, C]`, P a multiple of 8, as `ir.trace.SpikeTrain` keeps them: bits `[N, C P / 8]`."""
    eighths = x.shape[1] // 8
    together = np.empty(x.shape[2], np.uint8)
    for n in range(x.shape[0]):
        for i in range(eighths):
            eight = x[n, 8 * i : 8 * i + 8]
            for c in range(x.shape[2]):
                together[c] = (
                    (eight[0, c] << 7) | (eight[1, c] << 6) | (eight[2, c] << 5) | (eight[3, c] << 4)
                    | (eight[4, c] << 3) | (eight[5, c] << 2) | (eight[6, c] << 1) | eight[7, c]
                )  # fmt: skip
            for c in range(x.shape[2]):
                bits[n, c * eighths + i] = together[c]
