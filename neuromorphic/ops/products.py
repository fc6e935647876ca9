"""The product of two linear operations in a row, as one operation.

    y = W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)

The product of two convolutions is a convolution, if the padding of the second stands for nothing that the first sends:

    z[j] = Σ w1[n] x[j s1 - p1 + d1 n]      y[i] = Σ w2[m] z[i s2 - p2 + d2 m]
    y[i] = Σ w2[m] w1[n] x[i s1 s2 - (p1 + s1 p2) + s1 d2 m + d1 n]

Every other product is a matrix, if that isn't too large.
"""

from dataclasses import dataclass
from math import gcd, prod

import numpy as np

from neuromorphic.ops.convolution import Conv2d, block_diagonal
from neuromorphic.ops.linear import Affine, Scale
from neuromorphic.ops.operation import Fixed, Linear
from neuromorphic.ops.types import Float32, Float64, Shapes
from neuromorphic.ops.windows import Pair

MAX_MATRIX = 2**22
"""Numbers of a matrix that replaces two operations, at most."""


def product(
    first: Linear, of_first: Shapes, second: Linear, of_second: Shapes
) -> tuple[Affine | Conv2d, Shapes] | None:
    """The operation that computes `second(first(x))`, and its shapes; None where a matrix would be too large.

    Its numbers are float32 where that holds them exactly, else float64.

    Args:
        first: with a bias or without.
        of_first: its shapes.
        second: reads the output of `first`, in any shape of as many elements.
        of_second: its shapes.
    """
    convolutions = _convolution(first, of_first), _convolution(second, of_second)
    if None not in convolutions and of_first.output == of_second.input:
        composed = _composed(*convolutions, of_first, of_second)  # type: ignore[arg-type]
        if composed is not None:
            return composed, Shapes(of_first.input, of_second.output)
    if prod(of_first.input) * prod(of_second.output) > MAX_MATRIX:
        return None
    return _matrix(first, of_first, second, of_second), Shapes((prod(of_first.input),), (prod(of_second.output),))


def _convolution(operation: Linear, shapes: Shapes) -> Conv2d | None:
    """The operation as a convolution of maps; None where it can't be one."""
    if len(shapes.input) != 3:
        return None
    if isinstance(operation, Scale):
        rows = operation.scale.reshape(len(operation.scale), -1)
        if not (rows == rows[:, :1]).all():
            return None
        kernel, none = rows[:, :1, None, None].astype(np.float64), np.zeros(len(rows), np.float32)
        return Conv2d(float32_if_exact(kernel), none, (1, 1), (0, 0), (1, 1), len(rows))
    synapses = operation.synapses(shapes)
    divisor = operation.divisor if isinstance(operation, Fixed) else 1
    if not isinstance(synapses, Conv2d):
        return None
    return synapses.with_weights(float32_if_exact(synapses.weight.astype(np.float64) / divisor))


@dataclass(frozen=True)
class _Axis:
    """The windows of two convolutions in a row along one axis, as those of one.

    Attributes:
        stride, padding, dilation, kernel: as of `Windows`.
        lead: taps of 0 in front, with as much more padding, where windows reach beyond the end of the map.
        steps: positions from one tap to the next, of the second and of the first convolution.
        outside: whether the second convolution reads its padding.
    """

    stride: int
    padding: int
    dilation: int
    kernel: int
    lead: int
    steps: Pair
    outside: bool

    def tap(self, m: int, n: int) -> int:
        """The tap of the product that stands for tap m of the second convolution and tap n of the first."""
        return self.lead + (self.steps[0] * m + self.steps[1] * n) // self.dilation


def _axis(first: Conv2d, second: Conv2d, sizes: tuple[int, int, int], axis: int) -> _Axis | None:
    """One axis of x, z and y, of these `sizes`; None where one convolution would see more than the two do."""
    one, two = first.windows, second.windows
    (s1, s2), (p1, p2), (d1, d2), (k1, k2) = (
        (getattr(one, key)[axis], getattr(two, key)[axis]) for key in ("stride", "padding", "dilation", "kernel")
    )
    size, between, out = sizes
    read = np.unique(s2 * np.arange(out)[:, None] - p2 + d2 * np.arange(k2))
    beyond_z = read[(read < 0) | (read >= between)]
    seen = s1 * beyond_z[:, None] - p1 + d1 * np.arange(k1)
    if ((seen >= 0) & (seen < size)).any():
        return None
    steps = (s1 * d2 if k2 > 1 else 0, d1 if k1 > 1 else 0)
    dilation = gcd(*steps) or 1
    span = steps[0] * (k2 - 1) + steps[1] * (k1 - 1) + 1
    stride, padding = s1 * s2, p1 + s1 * p2
    room = size + 2 * padding - span
    lead = -(-max(0, (out - 1) * stride - room) // dilation)
    if (room + lead * dilation) // stride != out - 1:
        return None
    kernel = (span - 1) // dilation + 1 + lead
    return _Axis(stride, padding + lead * dilation, dilation, kernel, lead, steps, bool(beyond_z.size))


def _composed(first: Conv2d, second: Conv2d, of_first: Shapes, of_second: Shapes) -> Conv2d | None:
    lengths = zip(of_first.input[1:], of_first.output[1:], of_second.output[1:], strict=True)
    found = [_axis(first, second, sizes, axis) for axis, sizes in enumerate(lengths)]
    vertical, horizontal = found
    if vertical is None or horizontal is None:
        return None
    if first.bias.any() and (vertical.outside or horizontal.outside):  # padding of the second has no bias
        return None
    groups = gcd(first.groups, second.groups)
    w1, w2 = (_by_group(conv, groups) for conv in (first, second))
    kernel = np.zeros((groups, w2.shape[1], w1.shape[2], vertical.kernel, horizontal.kernel))
    for m in np.ndindex(second.weight.shape[2:]):
        for n in np.ndindex(first.weight.shape[2:]):
            i, j = (axis.tap(a, b) for axis, a, b in zip((vertical, horizontal), m, n, strict=True))
            kernel[..., i, j] += w2[..., m[0], m[1]] @ w1[..., n[0], n[1]]
    seen = block_diagonal(second.weight.astype(np.float64), second.groups).sum((2, 3))
    bias = second.bias + seen @ first.bias.astype(np.float64)
    axes = (vertical, horizontal)
    return Conv2d(
        float32_if_exact(kernel.reshape(-1, *kernel.shape[2:])),
        float32_if_exact(bias),
        stride=_pair(axes, "stride"),
        padding=_pair(axes, "padding"),
        dilation=_pair(axes, "dilation"),
        groups=groups,
    )


def _pair(axes: tuple[_Axis, _Axis], key: str) -> Pair:
    return getattr(axes[0], key), getattr(axes[1], key)


def _by_group(conv: Conv2d, groups: int) -> Float64:
    """Its kernel for fewer groups, block-diagonal within each: `[groups, out / groups, in / groups, height, width]`."""
    within = conv.groups // groups
    parts = conv.weight.reshape(groups, -1, *conv.weight.shape[1:])
    return np.stack([block_diagonal(part, within) for part in parts]).astype(np.float64)


def _matrix(first: Linear, of_first: Shapes, second: Linear, of_second: Shapes) -> Affine:
    def both(x: Float64, one: Linear, two: Linear) -> Float64:
        z = one.apply(x.reshape(-1, *of_first.input), of_first)
        return two.apply(z.reshape(-1, *of_second.input), of_second).reshape(len(x), -1)

    size, weights = prod(of_first.input), (first.unbiased(), second.unbiased())
    rows = max(1, MAX_MATRIX // max(prod(of_first.output), size))
    columns = [both(np.eye(min(rows, size - start), size, start), *weights) for start in range(0, size, rows)]
    bias = both(np.zeros((1, size)), first, second)[0]
    return Affine(float32_if_exact(np.ascontiguousarray(np.concatenate(columns).T)), float32_if_exact(bias))


def float32_if_exact(numbers: Float64) -> Float32:
    """`numbers` in float32 where that holds them exactly, else as they are."""
    single = numbers.astype(np.float32)
    return single if np.array_equal(single, numbers) else numbers  # type: ignore[return-value]
