"""From NIR's nodes to operations: parameters checked, shapes worked out.

Every `_convert_*` takes the node, the shape of its input, where it stands (for messages) and the seconds per time step;
it returns the operation and the shape of its output, or raises RefusedInput.
"""

from collections.abc import Callable
from math import gcd

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ops import extensions as nodes
from neuromorphic.ops.neuron_conversion import (
    convert_cuba_li,
    convert_cuba_lif,
    convert_delay,
    convert_if,
    convert_integrator,
    convert_li,
    convert_lif,
    convert_threshold,
)
from neuromorphic.ops.operations import (
    Affine,
    Conv1d,
    Conv2d,
    Flatten,
    Floats,
    MaxPool2d,
    Operation,
    Scale,
    SelfAttention,
    Shape,
    Sink,
    Source,
    SumPool2d,
)
from neuromorphic.ops.quantities import finite, pair, single
from neuromorphic.reading.nesting import Passage
from neuromorphic.reading.parameters import declared_shape


def _window(
    shape: Shape, kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], where: str
) -> tuple[int, int]:
    """Height and width that a kernel's windows leave of a `[C, H, W]` map."""
    height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True))
    if height < 1 or width < 1:
        raise RefusedInput(f"{where}: a kernel of {list(kernel)} does not fit its input {list(shape)}")
    return height, width


def _map_shape(shape: Shape, where: str) -> Shape:
    if len(shape) != 3:
        raise RefusedInput(f"{where}: its input has the shape {list(shape)}; expected [C, H, W]")
    return shape


def _convert_input(node: nir.Input, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    return Source(), shape


def _convert_output(node: nir.Output, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    declared = declared_shape(node.output_type["output"], where)
    batch = len(declared) - len(shape)
    if declared != (1,) * batch + shape:  # the axes of an exporter's sample data (`parameters.without_batch`)
        raise RefusedInput(f"{where} declares the shape {list(declared)}; its input has {list(shape)}")
    return Sink(), shape


def _convert_flatten(node: nir.Flatten, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
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
    return Flatten(), (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])


def _convert_passage(node: Passage, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    declared = declared_shape(node.declared, where)
    if declared != shape:
        raise RefusedInput(f"{where} declares the shape {list(declared)}; its input has {list(shape)}")
    return Flatten(), shape


def _convert_sum_pool(node: nir.SumPool2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    return _pool(node, shape, where, average=False)


def _convert_average_pool(node: nir.AvgPool2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    return _pool(node, shape, where, average=True)


def _pool(node: nir.SumPool2d | nir.AvgPool2d, shape: Shape, where: str, *, average: bool) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    kernel = pair(node.kernel_size, "kernel_size", where, 1)
    stride, padding = pair(node.stride, "stride", where, 1), pair(node.padding, "padding", where, 0)
    pool = SumPool2d(kernel, stride, padding, kernel[0] * kernel[1] if average else 1)
    return pool, (channels, *_window(shape, kernel, stride, padding, where))


def _convert_conv(node: nir.Conv2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    weight, bias, groups = _kernel(node, channels, "[out, in / groups, height, width]", where)
    stride = pair(node.stride, "stride", where, 1)
    dilation = pair(node.dilation, "dilation", where, 1)
    kernel = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
    padding = _conv_padding(node.padding, stride, kernel, where)
    if groups == 1:
        groups = block_diagonal_groups(weight)
        weight = _diagonal_blocks(weight, groups)
    conv = Conv2d(weight, bias, stride, padding, dilation, groups)
    return conv, (len(weight), *_window(shape, kernel, stride, padding, where))


def _convert_conv1d(node: nir.Conv1d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    if len(shape) != 2:
        raise RefusedInput(f"{where}: its input has the shape {list(shape)}; expected [C, N]")
    weight, bias, groups = _kernel(node, shape[0], "[out, in / groups, kernel]", where)
    stride, dilation = single(node.stride, "stride", where, 1), single(node.dilation, "dilation", where, 1)
    kernel = (1, dilation * (weight.shape[2] - 1) + 1)
    padding = node.padding if isinstance(node.padding, str) else single(node.padding, "padding", where, 0)
    _, along = _conv_padding(padding, (stride, stride), kernel, where)
    _, size = _window((shape[0], 1, shape[1]), kernel, (1, stride), (0, along), where)
    return Conv1d(weight, bias, stride, along, dilation, groups), (len(weight), size)


def _kernel(node: nir.Conv1d | nir.Conv2d, channels: int, expected: str, where: str) -> tuple[Floats, Floats, int]:
    """Weight, bias and groups of a convolution that reads so many channels."""
    weight, bias = finite(node.weight, "weight", where), finite(node.bias, "bias", where)
    if weight.ndim != expected.count(",") + 1 or min(weight.shape) < 1:
        raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; expected {expected}")
    if bias.shape != weight.shape[:1]:
        raise RefusedInput(f"{where}: bias has the shape {list(bias.shape)}; expected {list(weight.shape[:1])}")
    groups = single(node.groups, "groups", where, 1)
    if len(weight) % groups:
        raise RefusedInput(f"{where}: {len(weight)} output channels in {groups} groups; expected groups of equal size")
    if weight.shape[1] * groups != channels:
        raise RefusedInput(f"{where}: its weight reads {weight.shape[1] * groups} channels; its input has {channels}")
    return weight, bias, groups


def _conv_padding(padding: object, stride: tuple[int, int], kernel: tuple[int, ...], where: str) -> tuple[int, int]:
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0
        if padding == "same" and stride == (1, 1) and all(k % 2 for k in kernel):
            return kernel[0] // 2, kernel[1] // 2
        raise RefusedInput(
            f"{where}: padding {shown(padding)} with kernel {list(kernel)}, stride {list(stride)}; expected numbers"
        )
    return pair(padding, "padding", where, 0)


def _convert_scale(node: nir.Scale, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    scale = finite(node.scale, "scale", where)
    if scale.size != 1 and scale.shape != shape:
        raise RefusedInput(f"{where}: scale has the shape {list(scale.shape)}; expected {list(shape)}")
    return Scale(np.broadcast_to(scale.reshape(()) if scale.size == 1 else scale, shape)), shape


def _convert_affine(node: nir.Affine | nir.Linear, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    weight = finite(node.weight, "weight", where)
    if weight.ndim != 2 or (weight.shape[1],) != shape:
        raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; its input has {list(shape)}")
    bias = finite(node.bias, "bias", where) if isinstance(node, nir.Affine) else np.zeros(len(weight), np.float32)
    if bias.shape != weight.shape[:1]:
        raise RefusedInput(f"{where}: bias has the shape {list(bias.shape)}; expected {list(weight.shape[:1])}")
    return Affine(weight, bias), (len(weight),)


def _convert_max_pool(node: nodes.MaxPool2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    _agree(node.input_shape, shape, where)
    pool = MaxPool2d(
        pair(node.kernel_size, "kernel_size", where, 1),
        pair(node.stride, "stride", where, 1),
        pair(node.padding, "padding", where, 0),
    )
    if any(2 * p > k for p, k in zip(pool.padding, pool.kernel, strict=True)):
        raise RefusedInput(
            f"{where}: padding is {list(pool.padding)}; expected at most half of the kernel {list(pool.kernel)}"
        )
    return pool, (channels, *_window(shape, pool.kernel, pool.stride, pool.padding, where))


def _convert_attention(
    node: nodes.SpikingSelfAttention, shape: Shape, where: str, dt: float
) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    _agree(node.input_shape, shape, where)
    heads, scale = np.asarray(node.heads), np.asarray(node.scale)
    if heads.size != 1 or not np.issubdtype(heads.dtype, np.integer) or heads.min() < 1:
        raise RefusedInput(f"{where}: heads is {shown(node.heads)}; expected an integer of at least 1")
    if channels % (3 * heads.item()):
        raise RefusedInput(
            f"{where}: its input has {channels} channels; expected Q, K and V of equal size in {heads.item()} heads"
        )
    if scale.size != 1 or scale.dtype.kind not in "iuf" or not 0 < scale.item() < np.inf:
        raise RefusedInput(f"{where}: scale is {shown(node.scale)}; expected a finite number above 0")
    return SelfAttention(heads.item(), float(scale.item())), (channels // 3, *shape[1:])


def _agree(declared: NDArray[np.integer], shape: Shape, where: str) -> None:
    if not np.array_equal(np.atleast_1d(declared), shape):
        raise RefusedInput(
            f"{where} declares the input shape {shown(np.asarray(declared).tolist())}; it has {list(shape)}"
        )


OPERATIONS: dict[type, Callable[..., tuple[Operation, Shape]]] = {
    nir.Input: _convert_input,
    nir.Output: _convert_output,
    nir.Flatten: _convert_flatten,
    Passage: _convert_passage,
    nir.SumPool2d: _convert_sum_pool,
    nir.Conv2d: _convert_conv,
    nir.Affine: _convert_affine,
    nir.Linear: _convert_affine,
    nir.Scale: _convert_scale,
    nir.Conv1d: _convert_conv1d,
    nir.AvgPool2d: _convert_average_pool,
    nir.Delay: convert_delay,
    nir.LIF: convert_lif,
    nir.IF: convert_if,
    nir.CubaLIF: convert_cuba_lif,
    nir.Threshold: convert_threshold,
    nir.I: convert_integrator,
    nir.LI: convert_li,
    nir.CubaLI: convert_cuba_li,
    nodes.MaxPool2d: _convert_max_pool,
    nodes.SpikingSelfAttention: _convert_attention,
}
"""How each type of node is converted; other types are refused."""

NEURONS = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold, nir.I, nir.LI, nir.CubaLI)
"""Types of nodes that are neurons."""


def block_diagonal_groups(weight: Floats) -> int:
    """The most groups g such that `weight`, `[out, in, ...]`, is zero outside g diagonal blocks and in none of them.

    1 for a kernel without structure, and for one with an all-zero block: zeros alone are no structure.
    """
    connected = np.abs(weight).reshape(*weight.shape[:2], -1).max(2) > 0
    out_channels, in_channels = connected.shape
    most = gcd(out_channels, in_channels)
    for groups in range(most, 1, -1):
        if most % groups:
            continue
        blocks = connected.reshape(groups, out_channels // groups, groups, in_channels // groups).any((1, 3))
        if blocks.diagonal().all() and blocks.sum() == groups:
            return groups
    return 1


def _diagonal_blocks(weight: Floats, groups: int) -> Floats:
    out_channels, in_channels = weight.shape[0] // groups, weight.shape[1] // groups
    blocks = [
        weight[g * out_channels : (g + 1) * out_channels, g * in_channels : (g + 1) * in_channels]
        for g in range(groups)
    ]
    return np.concatenate(blocks)
