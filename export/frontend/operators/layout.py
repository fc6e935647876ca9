"""Operators that move elements and compute nothing: the same call on the codes.

Which operators are here is a list, and no one asks what they do: an axis is where its elements are.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.signals import ABSENT, ONE, Product, Signal, Term

aten = torch.ops.aten

_MOVING = (
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.transpose.int,
    aten.permute.default,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.swapaxes.default,
    aten.t.default,
    aten.numpy_T.default,
    aten.mT.default,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze.default,
    aten.expand.default,
    aten.expand_as.default,
    aten.repeat.default,
    aten.tile.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.narrow.default,
    aten.index_select.default,
    aten.flip.default,
    aten.roll.default,
    aten.rot90.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
)

_IN_PLACE = {
    aten.unsqueeze_.default: aten.unsqueeze.default,
    aten.squeeze_.dim: aten.squeeze.dim,
    aten.transpose_.default: aten.transpose.int,
    aten.t_.default: aten.t.default,
}
"""Operators that lay a tensor out anew where it is, with those that return the result."""

_KEEPING = (
    aten.contiguous.default,
    aten.clone.default,
    aten.detach.default,
    aten.detach_.default,
    aten.alias.default,
    aten.lift_fresh_copy.default,
    aten._to_copy.default,
    aten.to.dtype,
    aten.to.device,
    aten.to.dtype_layout,
    aten.dropout.default,
    aten.feature_dropout.default,
    aten.dropout_.default,
    aten._assert_tensor_metadata.default,
)
"""Operators that return what they get; dropout does when it is evaluated."""

_SPLITTING = (
    aten.chunk.default,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.split.sizes,
    aten.unbind.int,
    aten.tensor_split.sections,
)

_JOINING = (aten.cat.default, aten.concat.default, aten.stack.default)


def _mover(operator: Callable[..., Tensor]) -> Callable[..., Any]:
    def lower(context: Context, x: Signal | Product, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, Product):
            raise context.refused("moves elements of a product of spikes; expected a third factor, as of attention")
        if operator is aten.expand_as.default:
            return x.laid_out(lambda codes: codes.expand(args[0].shape))
        return x.laid_out(lambda codes: operator(codes, *args, **kwargs))

    return lower


def keep(context: Context, x: Any, *args: Any, **kwargs: Any) -> Any:
    """`y = x`.

    Raises:
        RefusedInput: dropout that is not switched off by evaluation.
    """
    if context.call is not None and "dropout" in str(context.call.target) and len(args) > 1 and args[1]:
        raise context.refused("drops elements at random; expected a module in evaluation mode")
    return x


def _splitter(operator: Callable[..., list[Tensor]]) -> Callable[..., Any]:
    def lower(context: Context, x: Signal, *args: Any, **kwargs: Any) -> list[Signal]:
        count = len(operator(x.terms[0].code, *args, **kwargs))
        return [x.laid_out(lambda codes, i=i: operator(codes, *args, **kwargs)[i]) for i in range(count)]  # type: ignore[misc]

    return lower


def _joiner(operator: Callable[..., Tensor]) -> Callable[..., Any]:
    def lower(context: Context, parts: list[Signal], dim: int = 0) -> Signal:
        """Terms of one node become one term of the whole; where a part has none of it, it is absent."""
        if any(not isinstance(part, Signal) for part in parts):
            parts = [_as_signal(context, part, parts) for part in parts]
        times = [part.time_weights for part in parts]
        if any(t is not None for t in times):
            raise context.refused("joins sums over time, which the host has")
        columns: list[int] = []
        for part in parts:
            columns += [term.node for term in part.terms if term.node not in columns]
        terms = []
        for node in columns:
            found = [[t for t in part.terms if t.node == node and bool((t.code >= 0).any())] for part in parts]
            for layer in range(max(1, *(len(f) for f in found))):
                pieces = [f[layer] if layer < len(f) else None for f in found]
                codes = [
                    torch.full(part.shape, ABSENT) if t is None else t.code
                    for t, part in zip(pieces, parts, strict=True)
                ]
                factors = [ONE if t is None else t.factor for t in pieces]
                given = [t.factor for t in pieces if t is not None] or [ONE]
                if all(f.ndim == 0 and float(f) == float(given[0]) for f in given):
                    factor = given[0]
                else:
                    factor = operator([f.expand(part.shape) for f, part in zip(factors, parts, strict=True)], dim)
                terms.append(Term(node, operator(codes, dim), factor))
        constant = None
        if any(part.constant is not None for part in parts):
            zeros = [torch.zeros(part.shape, dtype=torch.float64) for part in parts]
            given_constants = [
                z if part.constant is None else part.constant for part, z in zip(parts, zeros, strict=True)
            ]
            constant = operator(given_constants, dim)
        return Signal(tuple(terms[0].code.shape), tuple(terms), constant)

    return lower


def _as_signal(context: Context, part: Any, parts: list[Any]) -> Signal:
    """A constant beside signals: an absent element of one of their nodes, and itself."""
    if isinstance(part, Signal):
        return part
    if not isinstance(part, Tensor):
        raise context.refused("joins a product of spikes with other values")
    other = next(p for p in parts if isinstance(p, Signal))
    constant = part.double() if bool(part.any()) else None
    return Signal(tuple(part.shape), (Term(other.terms[0].node, torch.full(part.shape, ABSENT), ONE),), constant)


def copy(context: Context, x: Any, values: Any, **settings: Any) -> Signal:
    """`x[...] = values`, of which the result is `values` in the shape of x."""
    if not isinstance(values, Signal):
        raise context.refused("writes a constant over spikes or currents")
    return values.laid_out(lambda codes: codes.expand(x.shape))


def assign(context: Context, x: Any, values: Any, dim: int, index: int) -> Signal:
    """`x[:, index] = values` along a dimension, as a result of its own."""
    parts = list(x.unbind(dim)) if isinstance(x, Tensor) else _split(context, x, dim)
    parts[index] = values
    stacked: Signal = _stack(context, parts, dim)
    return stacked


def filled_like(context: Context, x: Signal, value: float = 0.0, **settings: Any) -> Tensor:
    """A constant of a signal's shape, as `zeros_like` makes to be written into."""
    return torch.full(x.shape, value)


def new_zeros(context: Context, x: Signal, size: Any, **settings: Any) -> Tensor:
    """Zeros beside a signal."""
    return torch.zeros(size)


_split, _stack = _splitter(aten.unbind.int), _joiner(aten.stack.default)

TABLE: dict[Any, Callable[..., Any]] = {
    **{operator: _mover(operator) for operator in _MOVING},
    **{operator: _mover(same) for operator, same in _IN_PLACE.items()},
    **dict.fromkeys(_KEEPING, keep),
    **{operator: _splitter(operator) for operator in _SPLITTING},
    **{operator: _joiner(operator) for operator in _JOINING},
    aten.zeros_like.default: filled_like,
    aten.full_like.default: filled_like,
    aten.new_zeros.default: new_zeros,
    aten.copy.default: copy,
    aten.select_scatter.default: assign,
}
"""The lowering of each operator."""
