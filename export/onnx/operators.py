"""Operators for each stateless node of a graph: one small function per type.

They read and return `[B, C, H, W]`, where B counts images, or images of every time step: it makes no difference to
them.  Sums in another order are exact where the certificate says so.
"""

from collections.abc import Callable, Iterable
from typing import Any

import nir
import numpy as np

from export.onnx.builder import Builder
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.reading.grouping import blocks, divisions


def add_operator(builder: Builder, name: str, node: nir.NIRNode, x: str, dtype: type[np.generic]) -> str:
    """The output of a node that reads x.

    Args:
        builder: gets the operators.
        name: of the node, and of its output.
        node: of one of the types in `OPERATORS`.
        x: name of what it reads.
        dtype: of x and of the output: float32, or float64 in a readout of currents.
    """
    return OPERATORS[type(node)](builder, name, node, x, dtype)


def _conv(builder: Builder, name: str, node: nir.Conv2d, x: str, dtype: type[np.generic]) -> str:
    """A convolution, in groups where its kernel has blocks; without a bias where all of it is 0.

    In groups it adds the same products, but for those with zeros outside the blocks: exact where the dense one is.
    """
    groups = next(divisions(node.weight), 1)
    weight = node.weight if groups == 1 else blocks(node.weight, groups)
    read = [x, builder.constant(f"{name}.weight", weight)]
    if node.bias.any():
        read.append(builder.constant(f"{name}.bias", node.bias))
    window = _window(weight.shape[2:], node.stride, node.padding)
    return builder.add("Conv", name, *read, **window, dilations=_integers(node.dilation), group=groups)


def _sum_pool(builder: Builder, name: str, node: nir.SumPool2d, x: str, dtype: type[np.generic]) -> str:
    """The sum over the whole map where the window is the map; else each channel's convolution with ones.

    An average times the size of the window would round.
    """
    channels, height, width = _integers(node.input_type["input"])
    kernel, padding = _integers(node.kernel_size), _integers(node.padding)
    if kernel == [height, width] and padding == [0, 0]:
        return builder.add("ReduceSum", name, x, builder.integers(2, 3), keepdims=1)
    ones = builder.constant(f"{name}.weight", np.ones((channels, 1, *kernel), dtype))
    return builder.add("Conv", name, x, ones, **_window(kernel, node.stride, padding), group=channels)


def _max_pool(builder: Builder, name: str, node: MaxPool2d, x: str, dtype: type[np.generic]) -> str:
    """The largest value in each window; ONNX pads with minus infinity, as the node does."""
    return builder.add("MaxPool", name, x, **_window(node.kernel_size, node.stride, node.padding))


def _attention(builder: Builder, name: str, node: SpikingSelfAttention, x: str, dtype: type[np.generic]) -> str:
    """`scale · (V Kᵀ) Q` per head, channels before tokens: the transpose of `scale · Q (Kᵀ V)`."""
    channels, height, width = _integers(node.output_type["output"])
    heads = builder.integers(-1, 3, node.heads, channels // node.heads, height * width)
    split = builder.add("Reshape", f"{name}/heads", x, heads)
    q, k, v = builder.split([f"{name}/{part}" for part in "qkv"], split, axis=1)
    transposed = builder.add("Transpose", f"{name}/k.T", k, perm=[0, 1, 2, 4, 3])
    sums = builder.add("MatMul", f"{name}/v k.T", v, transposed)
    products = builder.add("MatMul", f"{name}/v k.T q", sums, q)
    scaled = builder.add("Mul", f"{name}/scaled", products, builder.number(node.scale))
    return builder.add("Reshape", name, scaled, builder.integers(-1, channels, height, width))


def _flatten(builder: Builder, name: str, node: nir.Flatten, x: str, dtype: type[np.generic]) -> str:
    """`[B, C, H, W]` to `[B, C H W]`."""
    return builder.add("Flatten", name, x, axis=1)


def _affine(builder: Builder, name: str, node: nir.Affine, x: str, dtype: type[np.generic]) -> str:
    """`W x + b`; float64 is left to the runtime to make of the float32 weights, which are half as large."""
    weight, bias = (builder.constant(f"{name}.{part}", getattr(node, part)) for part in ("weight", "bias"))
    if dtype is np.float64:
        weight, bias = (builder.cast(f"{part}/float64", part, np.float64) for part in (weight, bias))
    return builder.add("Gemm", name, x, weight, bias, transB=1)


def _window(kernel: Iterable[int], stride: Iterable[int], padding: Iterable[int]) -> dict[str, list[int]]:
    """A window's attributes in ONNX, where padding is told before and behind."""
    return {"kernel_shape": _integers(kernel), "strides": _integers(stride), "pads": 2 * _integers(padding)}


def _integers(values: Iterable[int]) -> list[int]:
    return [int(n) for n in values]


OPERATORS: dict[type, Callable[[Builder, str, Any, str, type[np.generic]], str]] = {
    nir.Conv2d: _conv,
    nir.SumPool2d: _sum_pool,
    MaxPool2d: _max_pool,
    SpikingSelfAttention: _attention,
    nir.Flatten: _flatten,
    nir.Affine: _affine,
}
"""The function that adds each type of node: of the builder, the node's name, the node, what it reads and its type."""
