"""Pooling over windows: the maximum of spikes is their OR, that of currents a node of its own; averages are sums."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import MaxWindows, Or, Pair, SumWindows, Window
from export.frontend.operators.sums import even, over_elements
from export.frontend.operators.tokens import max_over_tokens
from export.frontend.selection import picked
from export.frontend.signals import Signal, Term

aten = torch.ops.aten


def pair(value: Any) -> Pair:
    """One or two integers as (vertical, horizontal)."""
    if isinstance(value, int):
        return value, value
    return int(value[0]), int(value[-1])


def _triple(value: Any) -> list[int]:
    """One or three integers as a list of three."""
    return [value] * 3 if isinstance(value, int) else [int(each) for each in value]


def max_pool(
    context: Context,
    x: Signal,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Signal:
    """`y = max x` over windows of a map."""
    size = pair(kernel)
    window = Window(pair(stride) if stride else size, pair(padding), pair(dilation))
    if ceil_mode:
        raise context.refused("pools with ceil_mode; expected windows that lie on the map and its padding")
    spikes = context.spiking(x)
    if window.dilation != (1, 1):
        raise context.refused("pools with a dilation; expected windows without gaps")
    y, (terms, moments, shape) = _batched(context, x)
    factors = {float(term.factor) for term in terms}
    if len(factors) > 1 or min(factors) <= 0:
        raise context.refused(f"takes the maximum of currents with the factors {sorted(factors)}; expected one above 0")
    operation = Or(size, window) if spikes else MaxWindows(size, window)
    made = (shape[0], *window.size(shape, size))
    inputs = tuple(term.node for term in terms)
    index = context.add(context.label("max"), operation, made, inputs, ("max", inputs, size, window))
    return _placed(context, x, y, index, moments, terms[0].factor)


def _batched(context: Context, x: Signal) -> tuple[Signal, tuple[list[Term], Tensor, tuple[int, ...]]]:
    """A signal `[rows, C, H, W]`, and the whole maps that it sums.

    Raises:
        RefusedInput: it is no sum of whole maps.
    """
    context.timed(x)
    if x.constant is not None:
        raise context.refused("pools currents with a constant added; expected it added behind the pooling")
    y = x if len(x.shape) == 4 else x.laid_out(lambda codes: codes.unsqueeze(0))
    terms, moments, shapes = [], [], set()
    for term in y.terms:
        term = even(context, term)
        moment, element = context.rows(term, 1)
        node = context.nodes[term.node]
        channel = context.channels(element, node.shape)
        if channel is None:
            raise context.refused(f"pools {context.name(term.node)} as {list(element.shape)}; expected whole maps")
        if not torch.equal(channel, torch.arange(node.shape[0])):
            if bool((channel < 0).any()):
                raise context.refused(f"pools channels that {context.name(term.node)} doesn't have")
            index = picked(context, term.node, channel)
            term = Term(
                index, context.encode(index, moment, torch.arange(element.numel()).view(element.shape)), term.factor
            )
        terms.append(term)
        moments.append((term.node, moment))
        shapes.add(context.nodes[term.node].shape)
    if len({term.node for term in terms}) < len(terms):
        raise context.refused("pools a sum that holds one node twice")
    return y, (terms, context.common_moments(moments), shapes.pop())


def _placed(context: Context, x: Signal, y: Signal, index: int, moments: Tensor, factor: Tensor) -> Signal:
    made = context.nodes[index].shape
    code = context.encode(index, moments, torch.arange(prod(made)).view(made))
    if len(x.shape) == 3:
        code = code.squeeze(0)
    return Signal(tuple(code.shape), (Term(index, code, factor),))


def max_pool_3d(
    context: Context, x: Signal, kernel: Sequence[int], stride: Sequence[int] = (), padding: Any = 0, *rest: Any
) -> Signal:
    """A maximum over windows of three dimensions, `(1, n, m)`, which are windows of a map.

    The first of the three are channels or time: Spike-Driven-Transformer pools `[T, B, C, H, W]` like that.
    """
    sizes, steps, pads = (_triple(value) for value in (kernel, stride or kernel, padding))
    if (sizes[0], steps[0], pads[0]) != (1, 1, 0):
        raise context.refused(f"takes the maximum over windows of {sizes}; expected 1 along the first dimension")
    whole = x if len(x.shape) == 5 else x.laid_out(lambda codes: codes.unsqueeze(0))
    moment, _ = context.decode(whole.terms[0])
    tokens = max_over_tokens(context, x, sizes[1:], steps[1:], pads[1:]) if len(x.shape) == 5 else None
    if tokens is not None:
        return tokens
    if bool((moment == moment[:, :, :1]).all()):  # the first of the three are channels
        rows = whole.shape[:2]
        flat = whole.laid_out(lambda codes: codes.flatten(0, 1))
        back = max_pool(context, flat, sizes[1:], steps[1:], pads[1:], *rest).laid_out(
            lambda codes: codes.reshape(*rows, *codes.shape[1:])
        )
    else:
        images, _, depth = whole.shape[:3]
        flat = whole.laid_out(lambda codes: codes.transpose(1, 2).flatten(0, 1))
        pooled = max_pool(context, flat, sizes[1:], steps[1:], pads[1:], *rest)
        back = pooled.laid_out(lambda codes: codes.reshape(images, depth, *codes.shape[1:]).transpose(1, 2))
    return back if len(x.shape) == 5 else back.laid_out(lambda codes: codes.squeeze(0))


def average_pool(
    context: Context,
    x: Signal,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Signal:
    """`y = Σ x / n` over windows of a map of n positions."""
    size, pads = pair(kernel), pair(padding)
    if ceil_mode or (pads != (0, 0) and not count_include_pad):
        raise context.refused("averages with ceil_mode, or without the padding counted; expected neither")
    window = Window(pair(stride) if stride else size, pads)
    return _sum_windows(context, x, size, window, 1 / (divisor_override or prod(size)))


def _sum_windows(context: Context, x: Signal, size: Pair, window: Window, factor: float) -> Signal:
    scale = torch.tensor(factor, dtype=torch.float64)
    if size == (1, 1) and window.stride == (1, 1) and window.padding == (0, 0):
        return x.times(scale)
    y, (terms, moments, shape) = _batched(context, x)
    made = (shape[0], *window.size(shape, size))
    summed = []
    for factor_of in sorted({float(term.factor) for term in terms}):
        inputs = tuple(term.node for term in terms if float(term.factor) == factor_of)
        key = ("sum", inputs, size, window)
        index = context.add(context.label("sum"), SumWindows(size, window), made, inputs, key)
        placed = _placed(context, x, y, index, moments, torch.tensor(factor_of, dtype=torch.float64) * scale)
        summed.append(placed)
    return Signal(summed[0].shape, tuple(term for part in summed for term in part.terms))


def adaptive_average_pool(context: Context, x: Signal, size: Any) -> Signal:
    """`y = Σ x / n` over the windows that divide a map into `size` parts."""
    height, width = x.shape[-2:]
    target = (size[0] or height, size[-1] or width) if not isinstance(size, int) else (size, size)
    if (height, width) == target:
        return x
    if (height, width) == (1, 1):
        return x.laid_out(lambda codes: codes.expand(*codes.shape[:-2], *target))
    if target == (1, 1):
        rank = len(x.shape)
        scale = torch.tensor(1 / (height * width), dtype=torch.float64)
        return over_elements(context, context.timed(x), [rank - 2, rank - 1]).times(scale)
    if height % target[0] or width % target[1]:
        raise context.refused(f"averages a map of {height}x{width} into {target[0]}x{target[1]} uneven parts")
    kernel = (height // target[0], width // target[1])
    return _sum_windows(context, x, kernel, Window(stride=kernel), 1 / prod(kernel))


def average_pool_3d(context: Context, x: Signal, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any) -> Signal:
    """An average over windows `(1, n, m)` of `[T, B, C, H, W]`, which are windows of a map."""
    sizes, steps, pads = (_triple(value) for value in (kernel, stride or kernel, padding))
    if (sizes[0], steps[0], pads[0]) != (1, 1, 0) or len(x.shape) != 5:
        raise context.refused(f"averages over windows of {sizes}; expected 1 along the first dimension, of five")
    maps = x.laid_out(lambda codes: codes.flatten(0, 1))
    made = average_pool(context, maps, sizes[1:], steps[1:], pads[1:], *rest)
    return made.laid_out(lambda codes: codes.reshape(*x.shape[:2], *codes.shape[1:]))


def adaptive_average_pool_3d(context: Context, x: Signal, size: Sequence[int]) -> Signal:
    """`y = Σ x / n` over the windows that divide the maps of `[T, B, C, H, W]` into `size[1:]` parts."""
    if size[0] != x.shape[-3] or len(x.shape) != 5:
        raise context.refused(f"averages {list(x.shape[-3:])} into {list(size)} parts; expected its maps alone")
    made = adaptive_average_pool(context, x.laid_out(lambda codes: codes.flatten(0, 1)), size[1:])
    return made.laid_out(lambda codes: codes.reshape(*x.shape[:2], *codes.shape[1:]))


def adaptive_max_pool(context: Context, x: Signal, size: Any) -> Any:
    """`y = max x` over the windows that divide a map into `size` parts."""
    height, width = x.shape[-2:]
    target = pair(size)
    if height % target[0] or width % target[1]:
        raise context.refused(f"takes maxima of {height}x{width} in {target[0]}x{target[1]} uneven parts")
    return (max_pool(context, x, (height // target[0], width // target[1])),)


def _of_one_column(lower: Callable[..., Any], neutral: tuple[int, ...]) -> Callable[..., Any]:
    """A pooling of `[..., C, N]` as of maps of one column; `neutral` of its kernel, stride, padding and dilation."""

    def lowered(context: Context, x: Signal, *sizes: Any) -> Any:
        pairs = [
            (pair(given)[0], across) if given != [] else []
            for given, across in zip(sizes[: len(neutral)], neutral, strict=False)
        ]
        maps = x.laid_out(lambda codes: codes.unsqueeze(-1))
        made = lower(context, maps, *pairs, *sizes[len(neutral) :])
        found = made[0] if isinstance(made, tuple) else made
        squeezed = found.laid_out(lambda codes: codes.squeeze(-1))
        return (squeezed, None) if isinstance(made, tuple) else squeezed

    return lowered


def average_pool_1d(context: Context, x: Signal, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any) -> Signal:
    """`y = Σ x / n` over groups of n neighbours, the votes of a class's neurons; other windows are those of a map."""
    size, pads = pair(kernel)[0], pair(padding)[0]
    step = pair(stride)[0] if stride else size
    if step != size or pads or x.shape[-1] % size:
        of_map: Signal = _of_one_column(average_pool, (1, 1, 0))(context, x, size, step, pads, *rest)
        return of_map
    grouped = x.laid_out(lambda codes: codes.reshape(*codes.shape[:-1], -1, size))
    summed = over_elements(context, grouped, [len(grouped.shape) - 1]).laid_out(lambda codes: codes.squeeze(-1))
    return summed.times(torch.tensor(1 / size, dtype=torch.float64))


def _first_of_pair(lower: Callable[..., Signal]) -> Callable[..., Any]:
    return lambda context, *args, **kwargs: (lower(context, *args, **kwargs), None)


TABLE: dict[Any, Callable[..., Any]] = {
    aten.max_pool2d.default: max_pool,
    aten.max_pool2d_with_indices.default: _first_of_pair(max_pool),
    aten.max_pool3d.default: max_pool_3d,
    aten.max_pool3d_with_indices.default: _first_of_pair(max_pool_3d),
    aten.avg_pool2d.default: average_pool,
    aten.avg_pool3d.default: average_pool_3d,
    aten.avg_pool1d.default: average_pool_1d,
    aten.max_pool1d.default: _of_one_column(max_pool, (1, 1, 0, 1)),
    aten.max_pool1d_with_indices.default: _of_one_column(_first_of_pair(max_pool), (1, 1, 0, 1)),
    aten.adaptive_avg_pool1d.default: _of_one_column(adaptive_average_pool, (1,)),
    aten.adaptive_max_pool1d.default: _of_one_column(adaptive_max_pool, (1,)),
    **dict.fromkeys((aten.adaptive_avg_pool2d.default, aten._adaptive_avg_pool2d.default), adaptive_average_pool),
    **dict.fromkeys((aten.adaptive_avg_pool3d.default, aten._adaptive_avg_pool3d.default), adaptive_average_pool_3d),
    aten.adaptive_max_pool2d.default: adaptive_max_pool,
}
"""The lowering of each operator."""
