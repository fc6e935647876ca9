"""From NIR's nodes to operations: parameters checked, shapes worked out.

Every `_convert_*` takes the node, the shape of its input, where it stands (for messages) and the seconds per time step;
it returns the operation and the shape of its output, or raises RefusedInput.
"""

from collections.abc import Callable
from math import gcd

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic import nodes
from neuromorphic.errors import RefusedInput, shown
from neuromorphic.operations import (
    Affine,
    Conv2d,
    Flatten,
    Floats,
    Lif,
    MaxPool2d,
    Operation,
    SelfAttention,
    Shape,
    Sink,
    Source,
    SumPool2d,
)
from neuromorphic.parameters import declared_shape


def _finite(array: NDArray[np.float32], what: str, where: str) -> Floats:
    with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite, and is refused
        result = np.asarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        raise RefusedInput(f"{where}: {what} holds values that are not finite")
    return result


def _pair(value: object, what: str, where: str, least: int) -> tuple[int, int]:
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.size not in (1, 2) or not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < least:
        raise RefusedInput(f"{where}: {what} is {shown(value)}; expected one or two integers of at least {least}")
    return int(numbers[0]), int(numbers[-1])


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
    if declared != shape:
        raise RefusedInput(f"{where} declares the shape {list(declared)}; its input has {list(shape)}")
    return Sink(), shape


def _convert_flatten(node: nir.Flatten, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    end = node.end_dim % len(shape)
    if node.start_dim != 0 or end != len(shape) - 1:
        raise RefusedInput(
            f"{where} flattens dimensions {node.start_dim} to {node.end_dim} of {list(shape)}; expected all of them"
        )
    return Flatten(), (int(np.prod(shape)),)


def _convert_sum_pool(node: nir.SumPool2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    pool = SumPool2d(
        _pair(node.kernel_size, "kernel_size", where, 1),
        _pair(node.stride, "stride", where, 1),
        _pair(node.padding, "padding", where, 0),
    )
    return pool, (channels, *_window(shape, pool.kernel, pool.stride, pool.padding, where))


def _convert_conv(node: nir.Conv2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    weight = _finite(node.weight, "weight", where)
    if weight.ndim != 4 or min(weight.shape) < 1:
        raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; expected [out, in, height, width]")
    bias = _finite(node.bias, "bias", where)
    if bias.shape != weight.shape[:1]:
        raise RefusedInput(f"{where}: bias has the shape {list(bias.shape)}; expected {list(weight.shape[:1])}")
    stride = _pair(node.stride, "stride", where, 1)
    dilation = _pair(node.dilation, "dilation", where, 1)
    kernel = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
    padding = _conv_padding(node.padding, stride, kernel, where)
    if node.groups != 1:
        raise RefusedInput(f"{where} has {node.groups} groups; expected 1 with a block-diagonal kernel")
    if weight.shape[1] != channels:
        raise RefusedInput(f"{where}: its weight reads {weight.shape[1]} channels; its input has {channels}")
    groups = block_diagonal_groups(weight)
    grouped = _diagonal_blocks(weight, groups)
    conv = Conv2d(grouped, bias, stride, padding, dilation, groups)
    return conv, (len(weight), *_window(shape, kernel, stride, padding, where))


def _conv_padding(padding: object, stride: tuple[int, int], kernel: tuple[int, ...], where: str) -> tuple[int, int]:
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0
        if padding == "same" and stride == (1, 1) and all(k % 2 for k in kernel):
            return kernel[0] // 2, kernel[1] // 2
        raise RefusedInput(
            f"{where}: padding {shown(padding)} with kernel {list(kernel)}, stride {list(stride)}; expected numbers"
        )
    return _pair(padding, "padding", where, 0)


def _convert_affine(node: nir.Affine | nir.Linear, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    weight = _finite(node.weight, "weight", where)
    if weight.ndim != 2 or (weight.shape[1],) != shape:
        raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; its input has {list(shape)}")
    bias = _finite(node.bias, "bias", where) if isinstance(node, nir.Affine) else np.zeros(len(weight), np.float32)
    if bias.shape != weight.shape[:1]:
        raise RefusedInput(f"{where}: bias has the shape {list(bias.shape)}; expected {list(weight.shape[:1])}")
    return Affine(weight, bias), (len(weight),)


def _convert_lif(node: nir.LIF, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    values: dict[str, Floats] = {}
    for key in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        value = _finite(getattr(node, key), key, where)
        if value.size != 1 and value.shape != shape:
            raise RefusedInput(f"{where}: {key} has the shape {list(value.shape)}; expected {list(shape)}")
        values[key] = np.broadcast_to(value.reshape(()) if value.size == 1 else value, shape)
    for key in ("v_leak", "v_reset"):
        if values[key].any():
            raise RefusedInput(
                f"{where}: {key} is {values[key].flat[0]}; expected 0, since Lava's neurons rest and reset at 0"
            )
    if values["tau"].min() < np.float32(dt):
        raise RefusedInput(f"{where}: tau is {values['tau'].min()} s; expected at least dt = {dt} s")
    if values["v_threshold"].min() < 0:
        raise RefusedInput(f"{where}: v_threshold is {values['v_threshold'].min()}; expected 0 or more")
    # In float32, as the file holds them: 2e-4 / 1e-4 is exactly 2 there, and 1 / 2 exactly 0.5.
    with np.errstate(over="ignore"):  # a tau beyond float32's steps decays by 0
        steps = values["tau"] / np.float32(dt)
    return Lif(np.float32(1) / steps, values["r"], values["v_threshold"]), shape


def _convert_max_pool(node: nodes.MaxPool2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    _agree(node.input_shape, shape, where)
    pool = MaxPool2d(
        _pair(node.kernel_size, "kernel_size", where, 1),
        _pair(node.stride, "stride", where, 1),
        _pair(node.padding, "padding", where, 0),
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
    nir.SumPool2d: _convert_sum_pool,
    nir.Conv2d: _convert_conv,
    nir.Affine: _convert_affine,
    nir.Linear: _convert_affine,
    nir.LIF: _convert_lif,
    nodes.MaxPool2d: _convert_max_pool,
    nodes.SpikingSelfAttention: _convert_attention,
}
"""How each type of node is converted; other types are refused."""


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
