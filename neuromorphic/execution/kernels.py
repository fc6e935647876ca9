"""The kernels of `compiled`, compiled by Numba: sums of a layer, and the neurons behind them over all time steps.

Numba keeps what it compiled beside this file, until the file changes.  After a change of `blocks`, `firing`, `lists`,
`registers` or `rows` alone: `touch` it.

Maps are `[P, C]`: positions, then channels, so that what one spike adds to all output channels lies side by side.  An
output position's membranes stay in the processor's first cache while T steps pass.

An output position q reads spans of positions, those from `first[q]` to before `first[q + 1]`: positions `begin` to
before `end`.  What channel c of position p sends meets the row `offset + p C + c` of the weights; of channels on their
own, `offset + p`.  Neighbouring taps of a kernel are one span, so that lists of spikes are read as they are.

Sums are exact in the types that `compiled` chooses, so that their order, and zeros left out, change nothing.

A kernel's first argument, `front`, is what its sums are made of:

    mode            how x becomes what arrives, one of those below
    most            that an element of x counts, where it is made of spikes
    pairs           of steps, t and t + pairs, that share the sums of spikes that both have
    x               `[B, T, P, C]`; uint8 where it is made of spikes; of a single step where all steps are the same
    weight          `[taps C, O]`; `[taps, C]` of channels on their own; of maxima what is added to x, `[1 or P, C]`; of
                    currents an empty one: sums are of its type
    spans           first, offset, begin, end, int32

Then come, of neurons, their kind and numbers, each `[1 or Q, O]` of v's type;
and, of all kernels, room for what they return: `[B, T, Q, O]`, uint8 of spikes, and v after the last step, `[B, Q, O]`.
"""

import numpy as np
from numba import njit

from neuromorphic.execution.blocks import SIDE, transpose_block
from neuromorphic.execution.firing import integrate, leak
from neuromorphic.execution.lists import EIGHT, SET, append
from neuromorphic.execution.rows import add_row, sum_products, sum_rows
from neuromorphic.ops.types import Array

Mode = tuple[int, ...]
"""How x becomes what arrives, as the length of a tuple: the compiler knows it, and compiles that way alone."""

EVENTS, VALUES, CHANNELS, MAXIMA, CURRENTS = range(1, 6)
"""Rows of weights where there are spikes; rows times values; each channel on its own, weighed or its maximum; as it
is."""

Spans = tuple[Array, Array, Array, Array]

Front = tuple[Mode, int, int, Array, Array, Spans]

LEAKY, CHIP = 1, 2
"""Neurons, as the length of a tuple likewise: those of `firing.leak` and those of `firing.integrate`."""

Numbers = tuple[Array, Array, Array, Array]
"""Bias, gain, decay and threshold of leaky neurons; kept, drive, bias and threshold of the chip's."""

part = njit(forceinline=True, no_cpython_wrapper=True)
"""Of a function that kernels alone call: machine code of its own, which nothing would run, isn't made."""


@njit(nogil=True, cache=True)
def layer(front: Front, y: Array) -> None:
    """`y[b, t, q] = Σ weight x`, y `[B, T, Q, O]`."""
    mode, most, pairs, x, weight, spans = front
    start, active = _lists(mode, most, pairs, x)
    sums, onto = np.zeros((pairs + 2, y.shape[3]), y.dtype), _onto(pairs, x)
    for b in range(x.shape[0]):
        if len(mode) == EVENTS:
            _list(x, b, most, pairs, start, active)
        for q in range(y.shape[2]):
            _share(mode, pairs, x, weight, spans, q, start, active, sums)
            for t in range(x.shape[1]):
                _sum(mode, x, weight, spans, b, t, q, start, active, sums, onto)
                for o in range(y.shape[3]):
                    y[b, t, q, o] = sums[-1, o]


@njit(nogil=True, cache=True)
def neuron_layer(front: Front, kind: Mode, numbers: Numbers, spikes: Array, v: Array, rest: bool) -> int:
    """A layer and the neurons behind it, which begin at `rest`, or else where v is.

    Returns:
        how many v of the chip's neurons were below the least.
    """
    mode, most, pairs, x, weight, spans = front
    start, active = _lists(mode, most, pairs, x)
    sums, onto = np.zeros((pairs + 2, v.shape[2]), weight.dtype), _onto(pairs, x)
    saturations = 0
    for b in range(x.shape[0]):
        if len(mode) == EVENTS:
            _list(x, b, most, pairs, start, active)
        for q in range(v.shape[1]):
            first, second, third, threshold = numbers
            of_position = (_at(first, q), _at(second, q), _at(third, q), _at(threshold, q), v[b, q])
            if rest:
                v[b, q] = 0
            _share(mode, pairs, x, weight, spans, q, start, active, sums)
            for t in range(spikes.shape[1]):
                if t < x.shape[1]:
                    _sum(mode, x, weight, spans, b, t, q, start, active, sums, onto)
                if len(kind) == LEAKY:
                    leak(sums[-1], *of_position, spikes[b, t, q])
                else:
                    saturations += integrate(sums[-1], *of_position, spikes[b, t, q])
    return saturations


@njit(nogil=True, cache=True)
def step(x: Array, numbers: Numbers, v: Array, spikes: Array) -> None:
    """One time step of leaky neurons: x, v and spikes `[B, N]`, numbers `[N]`."""
    for b in range(x.shape[0]):
        leak(x[b], *numbers, v[b], spikes[b])


@part
def _at(numbers: Array, q: int) -> Array:
    """A position's numbers: there is one row for all, or one for each."""
    row: Array = numbers[q if numbers.shape[0] > 1 else 0]
    return row


# Where step t and step t + pairs have spikes in common, what these add up to is computed once.  So there is a list of
# each step's own spikes, and, behind those, one of what each pair shares; of a last odd step all are its own.


@part
def _lists(mode: Mode, most: int, pairs: int, x: Array) -> tuple[Array, Array]:
    """Room for where the spikes of a list and position begin, and for an image's spikes."""
    steps, positions, channels = x.shape[1:]
    if len(mode) != EVENTS:
        return np.empty((1, 1), np.int32), np.empty(1, np.int32)
    room = steps * positions * channels * most + EIGHT
    return np.empty((steps + pairs, positions + 1), np.int32), np.empty(room, np.int32)


@part
def _onto(pairs: int, x: Array) -> Array:
    """The row of sums that each step's own spikes are added to: what it shares, or zeros."""
    onto = np.full(x.shape[1], pairs)
    for t in range(2 * pairs):
        onto[t] = t if t < pairs else t - pairs
    return onto


@part
def _list(x: Array, b: int, most: int, pairs: int, start: Array, active: Array) -> None:
    """The spikes of image b, each as `p C + c`, by list and position; one that counts n is there n times."""
    steps, positions, channels = x.shape[1:]
    sent, end = x[b].reshape(-1).view(np.uint8), 0  # as it is; the compiler also meets floats here
    for i in range(steps + pairs):
        step, both = (i - steps, True) if i >= steps else (i, i >= 2 * pairs)
        beside = 0 if i < steps and both else positions * channels * (pairs if step < pairs else -pairs)
        for p in range(positions):
            start[i, p] = end
            name, at = p * channels, (step * positions + p) * channels
            for over in range(most):
                for c in range(0, channels - EIGHT + 1, EIGHT):
                    here = at + c
                    end += append(sent, here, here + beside, both, np.uint8(over), np.int32(name + c), SET, active, end)
                for c in range(channels // EIGHT * EIGHT, channels):
                    active[end] = name + c
                    end += sent[at + c] > over and (sent[at + c + beside] > over) == both
        start[i, positions] = end


@part
def _sum(
    mode: Mode,
    x: Array,
    weight: Array,
    spans: Spans,
    b: int,
    t: int,
    q: int,
    start: Array,
    active: Array,
    sums: Array,
    onto: Array,
) -> None:
    """Sum what arrives at output position q, to the last row of `sums`; its other ones are as `_share` leaves them."""
    if len(mode) == EVENTS:
        sum_rows(weight, spans, q, active, start, t, sums, onto[t], sums.shape[0] - 1)
    else:
        _sum_of_values(mode, x, weight, spans, b, t, q, sums[-1])


@part
def _share(
    mode: Mode, pairs: int, x: Array, weight: Array, spans: Spans, q: int, start: Array, active: Array, sums: Array
) -> None:
    """Sum the spikes that steps have in common, to the first rows of `sums`."""
    if len(mode) == EVENTS:
        for k in range(pairs):
            sum_rows(weight, spans, q, active, start, x.shape[1] + k, sums, pairs, k)


@part
def _sum_of_values(mode: Mode, x: Array, weight: Array, spans: Spans, b: int, t: int, q: int, y: Array) -> None:
    """Sum what arrives at output position q, where not all of x are spikes or each channel is on its own: y `[O]`."""
    first, offset, begin, end = spans
    y[:] = 0
    if len(mode) == CURRENTS:
        for o in range(y.shape[0]):
            y[o] = x[b, t, q, o]
    elif len(mode) == VALUES:
        steps, positions, channels = x.shape[1:]
        sum_products(weight, spans, q, x, (b * steps + t) * positions * channels, channels, y)
    elif len(mode) == CHANNELS:
        for i in range(first[q], first[q + 1]):
            for p in range(begin[i], end[i]):
                row = offset[i] + p
                for o in range(y.shape[0]):
                    y[o] += y.dtype.type(x[b, t, p, o]) * weight[row, o]
    else:
        for i in range(first[q], first[q + 1]):
            for p in range(begin[i], end[i]):
                added = _at(weight, p)
                if i == first[q] and p == begin[i]:
                    for o in range(y.shape[0]):
                        y[o] = x[b, t, p, o] + added[o]
                for o in range(y.shape[0]):
                    value = y.dtype.type(x[b, t, p, o] + added[o])
                    y[o] = value if value > y[o] else y[o]


@njit(nogil=True, cache=True)
def attention(x: Array, heads: int, scale: float, y: Array) -> None:
    """`y = scale · Q (Kᵀ V)` per head: x uint8 `[B, T, P, 3 D]`, spikes, to y `[B, T, P, D]`."""
    steps, positions, width = y.shape[1:]
    size = width // heads
    values, product = np.empty((positions * heads, size), y.dtype), np.empty((width, size), y.dtype)
    answer, sent, active = y.reshape(-1, size), x.reshape(-1), np.empty(width + EIGHT, np.int32)
    head = np.arange(width) // size
    for b in range(x.shape[0]):
        for t in range(steps):
            y[b, t] = 0
            product[:] = 0
            here = (b * steps + t) * positions
            for p in range(positions):
                at = (here + p) * 3 * width
                for h in range(heads):
                    for j in range(size):
                        values[p * heads + h, j] = sent[at + 2 * width + h * size + j]
                for i in range(_spiking(sent, at + width, width, active)):
                    add_row(values, p * heads + head[active[i]], product, active[i])
            for p in range(positions):
                for i in range(_spiking(sent, (here + p) * 3 * width, width, active)):
                    add_row(product, active[i], answer, (here + p) * heads + head[active[i]])
            for p in range(positions):
                for j in range(width):
                    y[b, t, p, j] *= scale


@part
def _spiking(sent: Array, at: int, channels: int, active: Array) -> int:
    """How many channels from `at` on spike; which they are, to the beginning of `active`."""
    found, whole = 0, channels // EIGHT * EIGHT
    for c in range(0, whole, EIGHT):
        found += append(sent, at + c, at + c, True, np.uint8(0), np.int32(c), SET, active, found)
    for c in range(whole, channels):
        active[found] = c
        found += sent[at + c] > 0
    return found


@njit(nogil=True, cache=True)
def transpose(x: Array, y: Array) -> None:
    """`y[n, j, i] = x[n, i, j]`, in y's type, which is x's, or integers where x has floats."""
    height, width = x.shape[1:]
    rows, columns = height // SIDE * SIDE, width // SIDE * SIDE
    # Columns change last: rows of y may lie as far apart as what shares a place in the cache.
    for n in range(x.shape[0]):
        for j in range(0, columns, SIDE):
            for i in range(0, rows, SIDE):
                transpose_block(x, (n * height + i) * width + j, width, y, (n * width + j) * height + i, height)
        for i in range(height):
            for j in range(columns if i < rows else 0, width):
                y[n, j, i] = x[n, i, j]


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
