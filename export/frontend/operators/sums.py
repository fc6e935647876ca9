"""Sums and means: over time by the host, over positions and channels by nodes.

A mean is a sum with a factor, since sums are exact; the factor is folded where the sum is read.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Scaled, Shape, SumWindows, Weighted, Window
from export.frontend.signals import ABSENT, ONE, Signal, Term

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
            constant = None if y.constant is None else y.constant / x.shape[time]
            y = replace(y, time_weights=y.time_weights / x.shape[time], constant=constant)
    if not keepdim:
        y = y.laid_out(lambda codes: codes.squeeze(axes))
    return y


@dataclass(frozen=True, eq=False)
class _Sum:
    """A planned node, which sums groups of the elements of another node.

    Attributes:
        operation: what it computes.
        key: what makes it the same operation as another.
        shape: of its output.
        moments, places: of each group, (time, image) and element of the output.
        term: what it sums.
    """

    operation: SumWindows | Weighted | None
    key: tuple[Hashable, ...]
    shape: Shape
    moments: Tensor
    places: Tensor
    term: Term

    def joins(self, other: "_Sum") -> bool:
        """Whether a single node can compute this sum and the other."""
        return (
            self.key == other.key
            and float(self.term.factor) == float(other.term.factor)
            and torch.equal(self.places, other.places)
        )


def over_elements(context: Context, x: Signal, dims: list[int]) -> Signal:
    """`Σ x` over dimensions other than time and images; each of them stays, with one element."""
    keep = [d for d in range(len(x.shape)) if d not in dims]
    shape = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
    joined: list[list[_Sum]] = []
    # Of several nodes even a sum over one position is a node, so that what reads it reads one.
    for found in (_grouped(context, term, dims, keep, always=len(x.terms) > 1) for term in x.terms):
        group = next((g for g in joined if g[0].joins(found)), None)
        if group is None or found.operation is None:
            joined.append([found])
        else:
            group.append(found)
    terms = tuple(_summed(context, group, shape) for group in joined)
    constant = None if x.constant is None else x.constant.sum(dims, keepdim=True)
    return Signal(shape, terms, constant, x.time_weights)


def _summed(context: Context, group: list[_Sum], shape: tuple[int, ...]) -> Term:
    """The term that reads one node made of several sums."""
    first = group[0]
    if first.operation is None:
        return Term(first.term.node, first.term.code.reshape(shape), first.term.factor)
    inputs = tuple(found.term.node for found in group)
    index = context.add(context.label("sum"), first.operation, first.shape, inputs, ("sum", inputs, first.key))
    moments = context.common_moments([(found.term.node, found.moments) for found in group])
    if context.nodes[index].static:
        moments = moments % context.images
    code = moments * context.nodes[index].size + first.places
    return Term(index, code.view(shape), first.term.factor)


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
    """`Σ_t w_t x_t`, w being the terms' factors: the signal of the first time step, with these weights.

    Of time steps in a row; w is 0 in the others.
    """
    steps = x.shape[dim]
    weights: Tensor | None = None
    terms, starts = [], set[int]()
    for term in x.terms:
        node = context.nodes[term.node]
        codes = term.code.movedim(dim, 0)
        step = 0 if node.static else context.images * node.size
        later = torch.arange(steps).view(-1, *([1] * (codes.ndim - 1))) * step
        first = codes[:1]
        start = int(first.max()) // step if step else 0
        if step:
            starts.add(start)
        shown = (first >= start * step) & (first < (start + 1) * step) if step else first >= 0
        if not torch.equal(shown, first >= 0) or not torch.equal(codes, (first + later).where(first >= 0, ABSENT)):
            raise context.refused(f"sums other elements of {context.name(term.node)} in each time step")
        kept = term.factor if term.uniform else ONE
        own = (ONE if term.uniform else term.factor).expand(x.shape).movedim(dim, 0).reshape(steps, -1)
        if not bool((own == own[:, :1]).all()):
            raise context.refused(f"sums {context.name(term.node)} over time with weights that differ by element")
        if weights is None:
            weights = own[:, 0].clone()
        elif not torch.equal(weights, own[:, 0]):
            raise context.refused("sums nodes over time with different weights")
        terms.append(Term(term.node, (first - start * step).where(first >= 0, ABSENT).movedim(0, dim), kept))
    if len(starts) > 1:
        raise context.refused("sums nodes over different time steps")
    start = starts.pop() if starts else 0
    padded = torch.zeros(context.time_steps, dtype=torch.float64)
    padded[start : start + steps] = ONE if weights is None else weights
    constant = None if x.constant is None else x.constant.sum(dim, keepdim=True)
    return Signal(tuple(terms[0].code.shape), tuple(terms), constant, padded)


def rolled(context: Context, x: Signal, least: int | None = None) -> Signal:
    """A signal whose terms are the time steps of one node, as a loop in Python adds them, as a sum over time.

    Any other signal is returned as it is.

    Args:
        context: the graph in the making.
        x: of one time step for each of a node's terms.
        least: how many time steps are a sum over time; all by default.
    """
    if x.time_weights is not None or context.time_steps == 1:
        return x
    by_node: dict[int, list[Term]] = {}
    for term in x.terms:
        by_node.setdefault(term.node, []).append(term)
    steps = len(next(iter(by_node.values())))
    if steps < (least or context.time_steps) or any(len(terms) != steps for terms in by_node.values()):
        return x
    stacked = tuple(
        Term(node, torch.stack([t.code for t in terms]), torch.stack([t.factor.expand(x.shape) for t in terms]))
        for node, terms in by_node.items()
    )
    summed = _over_time(context, Signal((steps, *x.shape), stacked), 0)
    return replace(summed.laid_out(lambda codes: codes.squeeze(0)), constant=x.constant)


def even(context: Context, term: Term) -> Term:
    """A term with one factor for all of its elements: where they differ, a node multiplies by them.

    Raises:
        RefusedInput: an element of the node has several factors.
    """
    if term.uniform:
        return term
    node = context.nodes[term.node]
    _, element = context.decode(term)
    present = term.code >= 0
    scale = torch.ones(node.size, dtype=torch.float64)
    scale[element[present]] = term.factor[present]
    if not torch.equal(scale[element[present]], term.factor[present]):
        raise context.refused(f"multiplies {context.name(term.node)} by numbers that differ in time")
    operation = Scaled(scale.view(node.shape))
    key = ("scaled", term.node, scale.numpy().tobytes())
    index = context.add(f"{node.label}.scaled", operation, node.shape, (term.node,), key)
    return Term(index, term.code, ONE)


def _grouped(context: Context, term: Term, dims: list[int], keep: list[int], *, always: bool) -> _Sum:
    """The sum of groups of a term's elements: along `dims`, one for each place of the dimensions `keep`.

    `always`: also where each group is one element, of maps of one position.
    """
    term = even(context, term)
    node = context.nodes[term.node]
    count = prod(term.code.shape[d] for d in keep)
    moment, element = (x.permute(*keep, *dims).reshape(count, -1) for x in context.decode(term))
    if bool((element < 0).any()) or not bool((moment == moment[:, :1]).all()):
        raise context.refused(f"sums elements of {context.name(term.node)} across time steps or images, or with gaps")
    moment = moment[:, 0]
    if element.shape[1] == 1 and not (always and len(node.shape) == 3 and node.space == 1):
        return _Sum(None, (), node.shape, moment, element[:, 0], term)
    if len(node.shape) == 3:
        found = (
            _over_map(node.shape, element) or _over_channels(node.shape, element) or _over_windows(node.shape, element)
        )
        if found is not None:
            operation, key, shape, places = found
            return _Sum(operation, (key, node.shape), shape, moment, places, term)
    operation, key, shape, places = _over_groups(node.shape, element)
    return _Sum(operation, (key, node.shape), shape, moment, places, term)


_Found = tuple[SumWindows | Weighted, Hashable, Shape, Tensor]


def _over_map(shape: Shape, element: Tensor) -> _Found | None:
    """The sum over all positions of each channel; None where the groups are others."""
    space = prod(shape[1:])
    if element.shape[1] != space:
        return None
    channel = element[:, 0] // space
    expected = channel[:, None] * space + torch.arange(space)
    if not torch.equal(element.sort(1).values, expected):
        return None
    size = (shape[1], shape[2])
    return SumWindows(size, Window(stride=size)), "map", (shape[0], 1, 1), channel


def _over_channels(shape: Shape, element: Tensor) -> _Found | None:
    """The sum over groups of channels at each position; None where the groups are others."""
    space = prod(shape[1:])
    channel, position = element // space, element % space
    if not bool((position == position[:, :1]).all()):
        return None
    sets, which = torch.unique(channel.sort(1).values, dim=0, return_inverse=True)
    weight = torch.zeros(len(sets), shape[0], 1, 1, dtype=torch.float64)
    weight[:, :, 0, 0].scatter_add_(1, sets, torch.ones(sets.shape, dtype=torch.float64))
    operation = Weighted(weight, torch.zeros(len(sets), dtype=torch.float64), Window(), fixed=True)
    return operation, tuple(sets.reshape(-1).tolist()), (len(sets), *shape[1:]), which * space + position[:, 0]


def _over_windows(shape: Shape, element: Tensor) -> _Found | None:
    """The sum over windows side by side; None where the groups are others."""
    _, height, width = shape
    first = element.min(1).values
    inside = element - first[:, None]
    rows, columns = inside // width, inside % width
    tall, wide = int(rows.max()) + 1, int(columns.max()) + 1
    expected = (torch.arange(tall)[:, None] * width + torch.arange(wide)).reshape(-1)
    if tall * wide != element.shape[1] or height % tall or width % wide:
        return None
    if not torch.equal(inside.sort(1).values, expected.expand(len(inside), -1)):
        return None
    space = height * width
    channel, position = first // space, first % space
    row, column = position // width, position % width
    if bool((row % tall).any()) or bool((column % wide).any()):
        return None
    made = (shape[0], height // tall, width // wide)
    places = channel * prod(made[1:]) + row // tall * made[2] + column // wide
    return SumWindows((tall, wide), Window(stride=(tall, wide))), ("windows", tall, wide), made, places


def _over_groups(shape: Shape, element: Tensor) -> _Found:
    """The sum over any groups of elements, of a map by a kernel of its size."""
    sets, which = torch.unique(element.sort(1).values, dim=0, return_inverse=True)
    weight = torch.zeros(len(sets), prod(shape), dtype=torch.float64)
    weight.scatter_add_(1, sets, torch.ones(sets.shape, dtype=torch.float64))
    bias = torch.zeros(len(sets), dtype=torch.float64)
    key = tuple(sets.reshape(-1).tolist())
    if len(shape) == 1:
        return Weighted(weight, bias, None, fixed=True), key, (len(sets),), which
    return Weighted(weight.view(len(sets), *shape), bias, Window(), fixed=True), key, (len(sets), 1, 1), which


TABLE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((aten.sum.dim_IntList, aten.sum.default), total),
    **dict.fromkeys((aten.mean.dim, aten.mean.default), mean),
}
"""The lowering of each operator."""
