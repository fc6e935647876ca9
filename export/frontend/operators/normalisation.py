"""Batch normalisation with the statistics of training: rows of the weight before it, or a scaling of its own.

g (W x + b - m) / sqrt(s + eps) + h = (g' W) x + (g' (b - m) + h)    with g' = g / sqrt(s + eps)
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Weighted
from export.frontend.operators.weights import Parameters, at_tokens
from export.frontend.signals import ONE, Signal, Term, unrepeated

aten = torch.ops.aten


def batch_norm(
    context: Context,
    x: Signal,
    gain: Tensor | None,
    offset: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *rest: Any,
) -> Signal:
    """`y = g (x - m) / sqrt(s + eps) + h` along dimension 1."""
    if mean is None or variance is None or training:
        raise context.refused("normalises with the statistics of its batch; expected those of training")
    scale = (variance.double() + eps).rsqrt() * (1 if gain is None else gain.detach().double())
    end = torch.zeros_like(scale) if offset is None else offset.detach().double()
    path = (context.parameter(3) or "").rpartition(".")[0]
    folded = _folded(context, context.timed(x), scale, mean.double(), end, path)
    return folded if folded is not None else _alone(context, x, scale, end - mean.double() * scale, path)


def _folded(context: Context, x: Signal, scale: Tensor, mean: Tensor, end: Tensor, path: str) -> Signal | None:
    """The signal of the weight before it with scaled rows; None where it isn't one weight's whole rows."""
    if len(x.terms) != 1 or x.constant is not None or not x.terms[0].uniform or float(x.terms[0].factor) != 1:
        return None
    term = x.terms[0]
    node = context.nodes[term.node]
    operation = node.operation
    if not isinstance(operation, Weighted) or not operation.pieces or node.shape[0] != x.shape[1]:
        return None
    element = unrepeated(context.decode(term)[1])
    begins = (torch.arange(x.shape[1]) * node.space).view(-1, *([1] * (element.ndim - 2)))
    if bool(((element < begins) | (element >= begins + node.space)).any()):
        return None
    by_row = scale.view(-1, *([1] * (operation.weight.ndim - 1)))
    pieces = tuple(replace(piece, norms=(*piece.norms, path)) for piece in operation.pieces)
    bias = scale * (operation.bias - mean) + end
    normed = Weighted(operation.weight * by_row, bias, operation.window, pieces)
    index = context.add(node.label, normed, node.shape, node.inputs, ("norm", term.node, path))
    return Signal(x.shape, (Term(index, term.code, ONE),))


def _alone(context: Context, x: Signal, scale: Tensor, shift: Tensor, path: str) -> Signal:
    """A normalisation that no weight stands before: a weight for each channel by itself."""
    parameters = Parameters(torch.diag(scale), shift, norm=path)
    channels_last = x.laid_out(lambda codes: codes.movedim(1, -1))
    return at_tokens(context, channels_last, parameters).laid_out(lambda codes: codes.movedim(-1, 1))


def evaluated(
    context: Context,
    x: Signal,
    gain: Tensor | None,
    offset: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Signal, None, None]:
    """`batch_norm` as torch's decomposition calls it, with None for the batch's statistics, which nothing reads."""
    return batch_norm(context, x, gain, offset, mean, variance, False, momentum, eps), None, None


TABLE: dict[Any, Callable[..., Any]] = {
    aten.batch_norm.default: batch_norm,
    aten._native_batch_norm_legit_no_training.default: evaluated,
}
"""The lowering of each operator."""
