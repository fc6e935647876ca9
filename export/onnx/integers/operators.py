"""Operators in integers for each operation without a state: one function per operation.

They read and return `[N, ...]`, of one time step.  Biases act where `analysis.biases` puts them, not here.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from export.onnx.builder import Builder
from export.onnx.integers.values import ZERO, Integers, Type, Value, added, byte, cast, digits, number, scaled, width
from neuromorphic.ops import Affine, Conv2d, MaxPool2d, Scale, SelfAttention, Shapes, SumPool2d
from neuromorphic.ops.windows import Windows


def add_conv(builder: Builder, name: str, conv: Conv2d, shapes: Shapes, x: Value, base: str) -> Value:
    """A convolution without its bias.

    Args:
        builder: gets the operators.
        name: of the output.
        conv: with whole weights.
        shapes: of the node.
        x: what it reads.
        base: of the names of constants, the same in every time step.
    """
    weight = conv.weight.astype(np.int64)
    bound = int(np.abs(weight).reshape(len(weight), -1).sum(1).max()) * max(abs(x.low), abs(x.high))
    dtype = width(bound)
    if not x.fits or dtype is np.int64:
        return Value(_by_taps(builder, name, conv, weight, shapes, x, dtype, base), dtype, -bound, bound)
    read, zero = byte(builder, name, x)
    above, right = conv.windows.around
    settings: dict[str, Any] = {
        "kernel_shape": list(weight.shape[2:]),
        "strides": list(conv.stride),
        "dilations": list(conv.dilation),
        "pads": [above[0], right[0], above[1], right[1]],
        "group": conv.groups,
    }
    terms = []
    for i, (digit, factor) in enumerate(digits(weight)):
        constant = builder.constant(f"{base}.weight.{i}", digit)
        inputs = (read, constant, zero, number(builder, ZERO, np.uint8))
        y = builder.add("ConvInteger", f"{name}/digit.{i}", *inputs, **settings)
        terms.append(scaled(builder, f"{name}/scaled.{i}", y, factor.reshape(-1, 1, 1), dtype))
    return Value(added(builder, f"{name}/sum", terms), dtype, -bound, bound)


def _by_taps(
    builder: Builder, name: str, conv: Conv2d, weight: Integers, shapes: Shapes, x: Value, dtype: Type, base: str
) -> str:
    """`Σ_mn W[:, :, m, n] x[window's tap m, n]`, each a product of matrices per group."""
    groups, (channels, height, width_) = conv.groups, shapes.output
    wide = cast(builder, f"{name}/wide", x, dtype)
    terms = []
    for m, n, tap in _taps(builder, name, wide, conv.windows, shapes, number(builder, 0, dtype)):
        flat = builder.integers(-1, groups, shapes.input[0] // groups, height * width_)
        seen = builder.add("Reshape", f"{name}/columns.{m}.{n}", tap, flat)
        matrix = weight[:, :, m, n].reshape(groups, channels // groups, -1).astype(dtype)
        constant = builder.constant(f"{base}.weight.{m}.{n}", matrix)
        terms.append(builder.add("MatMul", f"{name}/product.{m}.{n}", constant, seen))
    return builder.add("Reshape", name, added(builder, f"{name}/sum", terms), builder.integers(-1, *shapes.output))


def add_affine(builder: Builder, name: str, affine: Affine, x: Value, base: str) -> Value:
    """`W x`."""
    weight = affine.weight.astype(np.int64)
    bound = int(np.abs(weight).sum(1).max()) * max(abs(x.low), abs(x.high))
    dtype = width(bound)
    if not x.fits or dtype is np.int64:
        constant = builder.constant(f"{base}.weight", weight.T.astype(dtype))
        y = builder.add("MatMul", name, cast(builder, f"{name}/wide", x, dtype), constant)
        return Value(y, dtype, -bound, bound)
    read, zero = byte(builder, name, x)
    terms = []
    for i, (digit, factor) in enumerate(digits(weight)):
        constant = builder.constant(f"{base}.weight.{i}", digit.T)
        y = builder.add("MatMulInteger", f"{name}/digit.{i}", read, constant, zero, number(builder, ZERO, np.uint8))
        terms.append(scaled(builder, f"{name}/scaled.{i}", y, factor, dtype))
    return Value(added(builder, f"{name}/sum", terms), dtype, -bound, bound)


def add_scale(builder: Builder, name: str, scale: Scale, x: Value, base: str) -> Value:
    """`s x`, element by element."""
    factor = scale.scale.astype(np.int64)
    bound = int(np.abs(factor).max()) * max(abs(x.low), abs(x.high))
    dtype = width(bound)
    constant = builder.constant(f"{base}.scale", factor.astype(dtype))
    y = builder.add("Mul", name, cast(builder, f"{name}/wide", x, dtype), constant)
    return Value(y, dtype, -bound, bound)


def add_sum_pool(builder: Builder, name: str, pool: SumPool2d, shapes: Shapes, x: Value) -> Value:
    """Sums of windows: of the whole map at once, else tap by tap."""
    taps = prod(pool.kernel_size)
    low, high = min(0, x.low) * taps, max(0, x.high) * taps
    dtype = width(low, high)
    wide = cast(builder, f"{name}/wide", x, dtype)
    if pool.kernel_size == shapes.input[1:] and pool.padding == (0, 0):
        y = builder.add("ReduceSum", name, wide, builder.integers(2, 3), keepdims=1)
    else:
        zero = number(builder, 0, dtype)
        y = added(builder, name, [tap for *_, tap in _taps(builder, name, wide, pool.windows, shapes, zero)])
    return Value(y, dtype, low, high)


def add_max_pool(builder: Builder, name: str, pool: MaxPool2d, shapes: Shapes, x: Value) -> Value:
    """The largest of each window; padding is less than anything."""
    dtype = width(x.low, x.high)
    wide = cast(builder, f"{name}/wide", x, dtype)
    least = number(builder, x.low, dtype)
    taps = [tap for *_, tap in _taps(builder, name, wide, pool.windows, shapes, least)]
    y = taps[0] if len(taps) == 1 else builder.add("Max", name, *taps)
    return Value(y, dtype, x.low, x.high)


def add_attention(builder: Builder, name: str, attention: SelfAttention, shapes: Shapes, x: Value) -> Value:
    """`scale · (V Kᵀ) Q` per head, channels before tokens, of spikes."""
    size, tokens = attention.head(shapes)
    bound = int(attention.scale) * size * tokens
    dtype = width(bound)
    heads = builder.integers(-1, 3, attention.heads, size, tokens)
    split = builder.add("Reshape", f"{name}/heads", cast(builder, f"{name}/bytes", x, np.uint8), heads)
    parts = builder.split([f"{name}/{part}" for part in "qkv"], split, axis=1)
    q, k, v = (
        builder.add("Reshape", f"{part}/head", part, builder.integers(-1, attention.heads, size, tokens))
        for part in parts
    )
    transposed = builder.add("Transpose", f"{name}/k.T", k, perm=[0, 1, 3, 2])
    sums = builder.add("MatMulInteger", f"{name}/v k.T", v, transposed)
    wide = [
        builder.cast(f"{name}/wide q", q, dtype),
        cast(builder, f"{name}/wide v k.T", Value(sums, np.int32, 0, 0), dtype),
    ]
    y = builder.add("MatMul", f"{name}/v k.T q", wide[1], wide[0])
    y = scaled(builder, f"{name}/scaled", y, np.array([int(attention.scale)]), dtype)
    return Value(builder.add("Reshape", name, y, builder.integers(-1, *shapes.output)), dtype, 0, bound)


def _taps(
    builder: Builder, name: str, x: str, windows: Windows, shapes: Shapes, outside: str
) -> Iterator[tuple[int, int, str]]:
    """Yield every tap (m, n) of a window with what each output sees there, `[N, C, H', W']`; padding is `outside`."""
    (top, bottom), (left, right) = windows.around
    if top + bottom + left + right:
        pads = builder.integers(0, 0, top, left, 0, 0, bottom, right)
        x = builder.add("Pad", f"{name}/padded", x, pads, outside)
    (sh, sw), (dh, dw) = windows.stride, windows.dilation
    rows, columns = shapes.output[1:]
    for m in range(windows.kernel[0]):
        for n in range(windows.kernel[1]):
            first = (m * dh, n * dw)
            last = (first[0] + sh * (rows - 1) + 1, first[1] + sw * (columns - 1) + 1)
            where = (builder.integers(*part) for part in (first, last, (2, 3), (sh, sw)))
            yield m, n, builder.add("Slice", f"{name}/tap.{m}.{n}", x, *where)
