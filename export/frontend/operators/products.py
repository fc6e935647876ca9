"""Matrix products of spikes: three factors are self-attention, `Q Kᵀ V`, in whichever order they are multiplied.

    (Q Kᵀ) V,   Q (Kᵀ V),   and transposed Vᵀ (K Qᵀ),   (Vᵀ K) Qᵀ

Heads are wherever the codes say, made by chunk, permute or einops.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.fusion import fused
from export.frontend.nodes import Attention
from export.frontend.operators import arithmetic, sums, weights
from export.frontend.signals import Product, Signal, Term

aten = torch.ops.aten


def multiply_matrices(context: Context, a: Any, b: Any) -> Any:
    """`a @ b`."""
    match a, b:
        case Signal(), Signal():
            if not (context.spiking(a) and context.spiking(b)):
                raise context.refused("multiplies matrices of signals that are not both spikes")
            return Product(a, b)
        case Product(), Signal():
            return _attend(context, a.a, a.b, b, a.factor)
        case Signal(), Product():
            return _attend(context, a, b.a, b.b, b.factor)
        case Signal(), Tensor() if b.ndim == 2:
            return weights.at_tokens(context, a, weights.Parameters(b.detach().double().T))
        case _:
            raise context.refused("multiplies matrices other than spikes, a weight, or attention's three factors")


def einsum(context: Context, equation: str, operands: list[Any], *rest: Any, **settings: Any) -> Any:
    """`torch.einsum` of two operands: a matrix product of spikes, or a sum with weights."""
    left, out = equation.replace(" ", "").split("->")
    names = left.split(",")
    if len(names) != 2 or "." in equation:
        raise context.refused(f"einsum {equation!r}; expected two operands, without an ellipsis")
    (a, b), (x, y) = names, operands
    if not isinstance(x, Signal | Product):
        a, b, x, y = b, a, y, x
    if isinstance(y, Tensor):
        return _weighted_sum(context, a, b, out, x, y)
    both = [i for i in a if i in b and i in out]
    inner = [i for i in a if i in b and i not in out]
    rows, columns = ([i for i in s if i in out and i not in other] for s, other in ((a, b), (b, a)))
    if len(inner) != 1 or len(rows) != 1 or len(columns) != 1:
        raise context.refused(f"einsum {equation!r} of signals; expected a product of matrices")
    p = _permuted(x, a, [*both, *rows, *inner], context)
    q = _permuted(y, b, [*both, *inner, *columns], context)
    result = multiply_matrices(context, p, q)
    order = [*both, *rows, *columns]
    if "".join(order) == out:
        return result
    if isinstance(result, Product):
        if "".join([*both, *columns, *rows]) != out:
            raise context.refused(f"einsum {equation!r} of signals; expected heads before rows and columns")
        # (A B)ᵀ = Bᵀ Aᵀ
        transposed = [s.laid_out(lambda codes: codes.transpose(-1, -2)) for s in (result.b, result.a)]
        return Product(transposed[0], transposed[1], result.factor)
    return result.laid_out(lambda codes: codes.permute(*[order.index(i) for i in out]))


def _permuted(x: Any, names: str, order: list[str], context: Context) -> Any:
    if isinstance(x, Product):
        places = [names.index(i) for i in order]
        rank = len(places)
        if places == list(range(rank)):
            return x
        if places == [*range(rank - 2), rank - 1, rank - 2]:
            b, a = (s.laid_out(lambda codes: codes.transpose(-1, -2)) for s in (x.b, x.a))
            return Product(b, a, x.factor)
        raise context.refused("moves the heads of a product of spikes")
    return x.laid_out(lambda codes: codes.permute(*[names.index(i) for i in order]))


def _weighted_sum(context: Context, a: str, b: str, out: str, x: Any, weight: Tensor) -> Signal:
    """`Σ w x` over the letters that the output doesn't have; where it gets new ones, a matrix."""
    new = [i for i in b if i not in a]
    if not isinstance(x, Signal):
        raise context.refused("sums a product of spikes with weights; expected a third factor, as of attention")
    if not new:
        spread = weight.permute(*sorted(range(len(b)), key=lambda d: a.index(b[d])))
        shape = [x.shape[d] if i in b else 1 for d, i in enumerate(a)]
        scaled = arithmetic.multiply(context, x, spread.reshape(shape))
        gone = [d for d, i in enumerate(a) if i not in out]
        summed = sums.total(context, scaled, gone) if gone else scaled
        rest = [i for i in a if i in out]
        return summed.laid_out(lambda codes: codes.permute(*[rest.index(i) for i in out]))
    inner = [i for i in b if i in a]
    if len(new) != 1 or len(inner) != 1 or inner[0] in out:
        raise context.refused("einsum with a weight of more than rows and columns; expected a matrix")
    matrix = weight.detach().double() if b == new[0] + inner[0] else weight.detach().double().T
    lead = [i for i in a if i != inner[0]]
    moved = x.laid_out(lambda codes: codes.permute(*[a.index(i) for i in [*lead, inner[0]]]))
    y = weights.at_tokens(context, moved, weights.Parameters(matrix))
    order = [*lead, new[0]]
    return y.laid_out(lambda codes: codes.permute(*[order.index(i) for i in out]))


@dataclass(frozen=True, eq=False)
class _Factor:
    """One of attention's three factors at one moment: channels and positions `[heads, rows, columns]` of its node."""

    term: Term
    channel: Tensor
    position: Tensor
    moments: Tensor

    def transposed(self) -> "_Factor":
        channel, position = (x.transpose(1, 2) for x in (self.channel, self.position))
        return _Factor(self.term, channel, position, self.moments)


def _attend(context: Context, a: Signal, b: Signal, c: Signal, factor: float) -> Signal:
    """`factor A B C` of spikes: `Q Kᵀ V` with a token in each row, or `Vᵀ K Qᵀ` with one in each column."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], c.shape[:-2])
    parts = [_factor(context, x, lead) for x in (a, b, c)]
    for part in parts[1:]:
        if not torch.equal(part.moments, parts[0].moments):
            raise context.refused("multiplies spikes of different time steps or images")
    first = parts[0]
    rows = bool((first.position == first.position[:, :, :1]).all() and (first.channel == first.channel[:, :1]).all())
    query, key, value = parts if rows else [part.transposed() for part in reversed(parts)]
    tokens = query.position[0, :, 0]
    space = context.nodes[query.term.node].space
    if not (
        torch.equal(tokens.sort().values, torch.arange(space))
        and bool((query.position == tokens[:, None]).all())
        and bool((query.channel == query.channel[:, :1]).all())
        and bool((key.position == key.position[:1, :1]).all())
        and bool((key.channel == key.channel[:, :, :1]).all())
        and bool((value.position == value.position[:1, :, :1]).all())
        and bool((value.channel == value.channel[:, :1]).all())
        and torch.equal(key.position[0, 0], value.position[0, :, 0])
        and torch.equal(key.position[0, 0].sort().values, torch.arange(space))
    ):
        raise context.refused("multiplies three matrices of spikes other than Q Kᵀ V over all tokens")
    heads, _, width = query.channel.shape
    if value.channel.shape[2] != width:
        raise context.refused(f"attends with {width} channels of Q and {value.channel.shape[2]} of V in each head")
    wanted = [
        (query.term.node, query.channel[:, 0].reshape(-1)),
        (key.term.node, key.channel[:, :, 0].reshape(-1)),
        (value.term.node, value.channel[:, 0].reshape(-1)),
    ]
    source = fused(context, wanted)
    shape = (heads * width, *context.nodes[source].shape[1:])
    index = context.add(context.label("attention"), Attention(heads), shape, (source,), ("attention", source, heads))
    channel = torch.arange(heads)[:, None, None] * width + torch.arange(width)
    element = channel * space + tokens.view(1, -1, 1)
    if not rows:
        element = element.transpose(1, 2)
    code = _moments_of(context, query, lead) * prod(shape) + element[_heads_of(context, query, lead)]
    return Signal(tuple(code.shape), (Term(index, code, torch.tensor(factor, dtype=torch.float64)),))


def _factor(context: Context, x: Signal, lead: tuple[int, ...]) -> _Factor:
    if not context.spiking(x):
        raise context.refused("attends to what is not spikes; expected Q, K and V to come from neurons")
    term = Term(x.terms[0].node, x.terms[0].code.expand(*lead, *x.shape[-2:]), x.terms[0].factor)
    node = context.nodes[term.node]
    moment, element = context.decode(term)
    first = moment[..., 0, 0]
    if not bool((moment == first[..., None, None]).all()) or len(node.shape) != 3:
        raise context.refused(f"attends across time steps, images or vectors of {context.name(term.node)}")
    by_moment = element.reshape(-1, *element.shape[-2:])
    at_first = by_moment[first.reshape(-1) == first.reshape(-1)[0]]
    # The same channels and positions at every other time and image.
    order = torch.argsort(first.reshape(-1), stable=True)
    again = by_moment[order].reshape(-1, *at_first.shape)
    if not bool((again == at_first).all()):
        raise context.refused(f"attends to {context.name(term.node)} in a layout that differs by time step or image")
    channel = at_first // node.space
    return _Factor(term, channel, at_first % node.space, first)


def _moments_of(context: Context, query: _Factor, lead: tuple[int, ...]) -> Tensor:
    return query.moments.expand(lead)[..., None, None]


def _heads_of(context: Context, query: _Factor, lead: tuple[int, ...]) -> Tensor:
    """Which head each of the leading dimensions' places is: numbered as the first moment has them."""
    moments = query.moments.reshape(-1)
    order = torch.argsort(moments, stable=True)
    head = torch.empty_like(order)
    head[order] = torch.arange(len(order)) % len(query.channel)
    return head.view(lead)


TABLE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((aten.matmul.default, aten.bmm.default), multiply_matrices),
    aten.einsum.default: einsum,
}
"""The lowering of each operator."""
