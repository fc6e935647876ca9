"""Sums, differences, and products with numbers: edges into one node, and factors that are folded where they are read.

A product of two signals is a gate (`gates`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.operators.gates import multiply_spikes
from export.frontend.signals import Product, Signal, Term

aten = torch.ops.aten


def add(context: Context, a: Any, b: Any, *, alpha: float = 1) -> Any:
    """`a + alpha b`; of one node's same elements one term, with the sum of the factors."""
    if not isinstance(a, Signal):
        if isinstance(a, Product) or isinstance(b, Product):
            raise context.refused("adds a product of spikes; expected a third factor, as of attention")
        # A constant first: a + alpha b with b a signal.
        return _plus(context, _scaled(b, alpha), a)
    if isinstance(b, Product):
        raise context.refused("adds a product of spikes; expected a third factor, as of attention")
    if not isinstance(b, Signal):
        return _plus(context, a, b if alpha == 1 else torch.as_tensor(b, dtype=torch.float64) * alpha)
    shape = tuple(np.broadcast_shapes(a.shape, b.shape))
    a, b = _expanded(a, shape), _expanded(_scaled(b, alpha), shape)
    weights = _common_weights(context, a, b)
    constant = a.constant if b.constant is None else b.constant if a.constant is None else a.constant + b.constant
    terms = list(a.terms)
    for term in b.terms:
        _join(terms, term)
    return Signal(shape, tuple(terms), constant, weights)


def _common_weights(context: Context, a: Signal, b: Signal) -> Tensor | None:
    if (a.time_weights is None) != (b.time_weights is None):
        raise context.refused("adds a sum over time to what has a time of its own")
    if a.time_weights is None or b.time_weights is None:
        return None
    if not torch.equal(a.time_weights, b.time_weights):
        raise context.refused("adds sums over time with different weights")
    return a.time_weights


def _join(terms: list[Term], term: Term) -> None:
    """Add a term to a sum: to the same elements' factor, into gaps of the same node's term, or beside the others."""
    for i, known in enumerate(terms):
        if known.node != term.node:
            continue
        if torch.equal(known.code, term.code):
            terms[i] = replace(known, factor=known.factor + term.factor)
            return
        same_factor = known.uniform and term.uniform and float(known.factor) == float(term.factor)
        if same_factor and not bool(((known.code >= 0) & (term.code >= 0)).any()):
            terms[i] = replace(known, code=torch.maximum(known.code, term.code))
            return
    terms.append(term)


def _plus(context: Context, x: Any, constant: Any) -> Any:
    if not isinstance(x, Signal):
        raise context.refused("adds a constant to no signal")
    value = torch.as_tensor(constant, dtype=torch.float64)
    if not bool(value.any()):
        return x if tuple(value.shape) in ((), x.shape) else _expanded(x, np.broadcast_shapes(x.shape, value.shape))
    shape = tuple(np.broadcast_shapes(x.shape, value.shape))
    x, value = _expanded(x, shape), value.expand(shape)
    return replace(x, constant=value if x.constant is None else x.constant + value)


def _expanded(x: Signal, shape: tuple[int, ...]) -> Signal:
    return x if x.shape == tuple(shape) else x.laid_out(lambda codes: codes.expand(shape))


def _scaled(x: Any, factor: Any) -> Any:
    factor = torch.as_tensor(factor, dtype=torch.float64)
    if isinstance(x, Product):
        return replace(x, factor=x.factor * float(factor))
    return x if factor.ndim == 0 and float(factor) == 1 else x.times(factor)


def subtract(context: Context, a: Any, b: Any, *, alpha: float = 1) -> Any:
    """`a - alpha b`."""
    return add(context, a, b, alpha=-alpha)


def reverse_subtract(context: Context, a: Any, b: Any, alpha: float = 1) -> Any:
    """`b - alpha a`."""
    return add(context, _scaled(a, -alpha), b)


def negate(context: Context, a: Any) -> Any:
    """`-a`."""
    return _scaled(a, -1.0)


def multiply(context: Context, a: Any, b: Any) -> Any:
    """`a b`: of a signal and numbers, factors; of two signals, a gate."""
    if isinstance(b, Signal | Product) and not isinstance(a, Signal | Product):
        a, b = b, a
    if isinstance(b, Signal | Product):
        if isinstance(a, Product) or isinstance(b, Product):
            raise context.refused("multiplies a product of spikes by a signal; expected self-attention")
        shape = tuple(np.broadcast_shapes(a.shape, b.shape))
        return multiply_spikes(context, _expanded(a, shape), _expanded(b, shape))
    factor = torch.as_tensor(b, dtype=torch.float64)
    if factor.numel() == 1:
        return _scaled(a, factor.reshape(()))
    if isinstance(a, Product):
        raise context.refused(f"multiplies a product of spikes by {factor.numel()} numbers; expected one")
    shape = tuple(np.broadcast_shapes(a.shape, factor.shape))
    return _expanded(a, shape).times(factor.expand(shape))


def divide(context: Context, a: Any, b: Any, **settings: Any) -> Any:
    """`a / b` by numbers."""
    if isinstance(b, Signal | Product) or settings.get("rounding_mode"):
        raise context.refused("divides by a signal, or rounds; expected a division by numbers")
    return multiply(context, a, 1.0 / torch.as_tensor(b, dtype=torch.float64))


TABLE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar, aten.add_.Scalar), add),
    **dict.fromkeys((aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar), subtract),
    **dict.fromkeys((aten.rsub.Scalar, aten.rsub.Tensor), reverse_subtract),
    aten.neg.default: negate,
    **dict.fromkeys((aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar), multiply),
    **dict.fromkeys((aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar), divide),
}
"""The lowering of each operator."""
