"""Sums and means: over time by the host, over positions and channels by nodes.

A mean is a sum with a factor, since sums are exact; the factor is folded where the sum is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Scaled, SumWindows, Weighted, Window
from export.frontend.signals import ONE, Signal, Term

aten = torch.ops.aten


def total(context: Context, x: Signal, dims: Any = None, keepdim: bool = False, **settings: Any) -> Signal:
    """`Σ x` over dimensions."""
    return _reduce(context, x, dims, keepdim, average=False)


def mean(context: Context, x: Signal, dims: Any = None, keepdim: bool = False, **settings: Any) -> Signal:
    """`Σ x / n` over dimensions of n elements in all."""
    return _reduce(context, x, dims, keepdim, average=True)


def _axes(x: Signal, dims: Any) -> list[int]:
    rank = len(x.shape)
    chosen: Sequence[int] = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    return sorted(d % rank for d in chosen)


def _reduce(context: Context, x: Signal, dims: Any, keepdim: bool, *, average: bool) -> Signal:
    if not isinstance(x, Signal):
        raise context.refused("sums a product of spikes; expected a third factor, as of attention")
    axes = _axes(x, dims)
    time = next((d for d in axes if x.time_weights is None and _is_time(context, x, d)), None)
    rest = [d for d in axes if d != time]
    y = over_elements(context, x, rest) if rest else x
    if average:
        y = y.times(torch.tensor(1 / prod(x.shape[d] for d in rest), dtype=torch.float64))
    if time is not None:
        y = _over_time(context, y, time)
        if average and y.time_weights is not None:
            y = replace(y, time_weights=y.time_weights / context.time_steps)
    if not keepdim:
        y = y.laid_out(lambda codes: codes.squeeze(axes))
    return y


def over_elements(context: Context, x: Signal, dims: list[int]) -> Signal:
    """`Σ x` over dimensions of one time step and image each; they stay, with one element."""
    keep = [d for d in range(len(x.shape)) if d not in dims]
    shape = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
    terms = tuple(_grouped(context, term, dims, keep, shape) for term in x.terms)
    constant = None if x.constant is None else x.constant.sum(dims, keepdim=True)
    return Signal(shape, terms, constant, x.time_weights)


def _is_time(context: Context, x: Signal, dim: int) -> bool:
    for term in x.terms:
        if context.nodes[term.node].static or x.shape[dim] == 1:
            continue
        moment, _ = context.decode(term)
        first, last = moment.movedim(dim, 0)[0], moment.movedim(dim, 0)[-1]
        both = (first >= 0) & (last >= 0)
        if bool(both.any()) and bool(((last - first)[both] == (x.shape[dim] - 1) * context.images).all()):
            return True
    return False


def _over_time(context: Context, x: Signal, dim: int) -> Signal:
    """`Σ_t w_t x_t`, w being the terms' factors: the signal of the first time step, with these weights."""
    steps = x.shape[dim]
    weights: Tensor | None = None
    terms = []
    for term in x.terms:
        node = context.nodes[term.node]
        codes = term.code.movedim(dim, 0)
        later = torch.arange(steps).view(-1, *([1] * (codes.ndim - 1))) * (0 if node.static else context.images * node.size)
        if not torch.equal(codes, (codes[:1] + later).where(codes[:1] >= 0, -1)):
            raise context.refused(f"sums other elements of {context.name(term.node)} in each time step")
        kept = term.factor if term.uniform else ONE
        own = (ONE if term.uniform else term.factor).expand(x.shape).movedim(dim, 0).reshape(steps, -1)
        if not bool((own == own[:, :1]).all()):
            raise context.refused(f"sums {context.name(term.node)} over time with weights that differ by element")
        if weights is None:
            weights = own[:, 0].clone()
        elif not torch.equal(weights, own[:, 0]):
            raise context.refused("sums nodes over time with different weights")
        terms.append(Term(term.node, codes[:1].movedim(0, dim), kept))
    constant = x.constant
    if constant is not None:
        if not bool((constant == constant.select(dim, 0).unsqueeze(dim)).all()):
            raise context.refused("sums a constant over time that differs by time step")
        constant = constant.narrow(dim, 0, 1)
    if steps != context.time_steps:
        raise context.refused(f"sums {steps} time steps of {context.time_steps}; expected all")
    return Signal(tuple(terms[0].code.shape), tuple(terms), constant, weights)


def rolled(context: Context, x: Signal) -> Signal:
    """The same; a sum of one node's time steps, as a loop in Python makes it, as a sum over time."""
    steps = context.time_steps
    if x.time_weights is not None or len(x.terms) < steps or steps == 1 or len(x.terms) % steps:
        return x
    by_node: dict[int, list[Term]] = {}
    for term in x.terms:
        by_node.setdefault(term.node, []).append(term)
    if any(len(terms) != steps for terms in by_node.values()):
        return x
    stacked = tuple(
        Term(node, torch.stack([t.code for t in terms]), torch.stack([t.factor.expand(x.shape) for t in terms]))
        for node, terms in by_node.items()
    )
    constant = None if x.constant is None else (x.constant / steps).expand(steps, *x.shape)
    summed = _over_time(context, Signal((steps, *x.shape), stacked, constant), 0)
    return summed.laid_out(lambda codes: codes.squeeze(0))


def even(context: Context, term: Term) -> Term:
    """A term with one factor for all of its elements: where they differ, a node multiplies by them.

    Raises:
        RefusedInput: an element of the node has several factors.
    """
    if term.uniform:
        return term
    node = context.nodes[term.node]
    moment, element = context.decode(term)
    present = term.code >= 0
    scale = torch.ones(node.size, dtype=torch.float64)
    scale[element[present]] = term.factor[present]
    if not torch.equal(scale[element[present]], term.factor[present]):
        raise context.refused(f"multiplies {context.name(term.node)} by numbers that differ in time")
    operation = Scaled(scale.view(node.shape))
    key = ("scaled", term.node, scale.numpy().tobytes())
    index = context.add(f"{node.label}.scaled", operation, node.shape, (term.node,), key)
    return Term(index, term.code, ONE)


def _grouped(context: Context, term: Term, dims: list[int], keep: list[int], shape: tuple[int, ...]) -> Term:
    """The term of a node that sums groups of another's elements."""
    term = even(context, term)
    node = context.nodes[term.node]
    count = prod(term.code.shape[d] for d in keep)
    moment, element = (x.permute(*keep, *dims).reshape(count, -1) for x in context.decode(term))
    if bool((element < 0).any()) or not bool((moment == moment[:, :1]).all()):
        raise context.refused(f"sums elements of {context.name(term.node)} across time steps or images, or with gaps")
    if element.shape[1] == 1:
        return Term(term.node, term.code.reshape(shape), term.factor)
    moment = moment[:, 0]
    space = node.space
    if len(node.shape) == 3:
        channel, position = torch.div(element, space, rounding_mode="floor"), element % space
        same_channel = bool((channel == channel[:, :1]).all())
        if same_channel and element.shape[1] == space and bool((position.sort(1).values == torch.arange(space)).all()):
            return _over_map(context, term, moment, channel[:, 0], shape)
        if bool((position == position[:, :1]).all()):
            return _over_channels(context, term, moment, channel, position[:, 0], shape)
        window = _windows(context, term, element)
        if window is not None:
            index, place = window
            return Term(index, (moment * context.nodes[index].size + place).view(shape), term.factor)
    sets, which = torch.unique(element.sort(1).values, dim=0, return_inverse=True)
    weight = torch.zeros(len(sets), node.size, dtype=torch.float64)
    weight.scatter_add_(1, sets, torch.ones(sets.shape, dtype=torch.float64))
    operation = Weighted(weight, torch.zeros(len(sets), dtype=torch.float64), None)
    key = ("groups", term.node, tuple(sets.reshape(-1).tolist()))
    index = context.add(context.label("sum"), operation, (len(sets),), (term.node,), key)
    return Term(index, (moment * len(sets) + which).view(shape), term.factor)


def _over_map(context: Context, term: Term, moment: Tensor, channel: Tensor, shape: tuple[int, ...]) -> Term:
    """The sum over all positions of each channel."""
    node = context.nodes[term.node]
    size = (node.shape[1], node.shape[2])
    operation = SumWindows(size, Window(stride=size))
    index = context.add(context.label("sum"), operation, (node.shape[0], 1, 1), (term.node,), ("sum", term.node))
    return Term(index, (moment * node.shape[0] + channel).view(shape), term.factor)


def _over_channels(
    context: Context, term: Term, moment: Tensor, channel: Tensor, position: Tensor, shape: tuple[int, ...]
) -> Term:
    """The sum over groups of channels at each position."""
    node = context.nodes[term.node]
    sets, which = torch.unique(channel.sort(1).values, dim=0, return_inverse=True)
    weight = torch.zeros(len(sets), node.shape[0], 1, 1, dtype=torch.float64)
    weight[:, :, 0, 0].scatter_add_(1, sets, torch.ones(sets.shape, dtype=torch.float64))
    operation = Weighted(weight, torch.zeros(len(sets), dtype=torch.float64), Window())
    made = (len(sets), *node.shape[1:])
    key = ("channels", term.node, tuple(sets.reshape(-1).tolist()))
    index = context.add(context.label("sum"), operation, made, (term.node,), key)
    return Term(index, (moment * prod(made) + which * node.space + position).view(shape), term.factor)


def _windows(context: Context, term: Term, element: Tensor) -> tuple[int, Tensor] | None:
    """A pooling whose windows, side by side, are the groups: its node, and which of its elements each group is."""
    node = context.nodes[term.node]
    _, height, width = node.shape
    first = element.min(1).values
    inside = element - first[:, None]
    rows, columns = torch.div(inside, width, rounding_mode="floor"), inside % width
    tall, wide = int(rows.max()) + 1, int(columns.max()) + 1
    expected = (torch.arange(tall)[:, None] * width + torch.arange(wide)).reshape(-1)
    if tall * wide != element.shape[1] or height % tall or width % wide:
        return None
    if not torch.equal(inside.sort(1).values, expected.expand(len(inside), -1)):
        return None
    channel, position = torch.div(first, node.space, rounding_mode="floor"), first % node.space
    row, column = torch.div(position, width, rounding_mode="floor"), position % width
    if bool((row % tall).any()) or bool((column % wide).any()):
        return None
    made = (node.shape[0], height // tall, width // wide)
    operation = SumWindows((tall, wide), Window(stride=(tall, wide)))
    index = context.add(context.label("sum"), operation, made, (term.node,), ("sum", term.node, tall, wide))
    place = channel * prod(made[1:]) + torch.div(row, tall, rounding_mode="floor") * made[2]
    return index, place + torch.div(column, wide, rounding_mode="floor")


TABLE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((aten.sum.dim_IntList, aten.sum.default), total),
    **dict.fromkeys((aten.mean.dim, aten.mean.default), mean),
}
"""What lowers each operator."""
