"""Weights: convolutions and matrices become one node for each order of channels that they read.

A matrix that is applied at every position of a map (tokens, whatever their axis) is a 1x1 convolution.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Piece, Weighted, Window
from export.frontend.operators.pooling import pair
from export.frontend.operators.sums import even, rolled
from export.frontend.signals import ABSENT, ONE, Signal, Term
from neuromorphic.ops.convolution import block_diagonal

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class _Read:
    """The part of one term that a weight reads: `columns[i]` is the node's input that its input i is."""

    node: int
    columns: Tensor
    factor: Tensor
    moments: Tensor
    positions: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of a weight.

    Attributes:
        weight: float64 `[out, in, ...]`, without groups.
        bias: `[out]`, or None.
        paths: of the module's parameters that the two are; None where they are none.
        norm: path of the normalisation that the weight stands for; empty for none.
    """

    weight: Tensor
    bias: Tensor | None = None
    paths: tuple[str | None, str | None] = (None, None)
    norm: str = ""


def convolve(
    context: Context,
    x: Signal,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Signal:
    """`y = W * x + b` of maps."""
    context.timed(x)
    kernel = (weight.shape[2], weight.shape[3])
    gaps = pair(dilation)
    if isinstance(padding, str):
        reach = [0 if padding == "valid" else d * (k - 1) for d, k in zip(gaps, kernel, strict=True)]
        if any(n % 2 for n in reach):
            raise context.refused("pads one side more than the other, to the same size; expected an odd kernel")
        padding = [n // 2 for n in reach]
    window = Window(pair(stride), pair(padding), gaps)
    if x.constant is not None:
        raise context.refused("convolves currents with a constant added; expected neurons between the two")
    y = x if len(x.shape) == 4 else x.laid_out(lambda codes: codes.unsqueeze(0))
    reads = []
    for term in y.terms:
        moments, element = context.rows(Term(term.node, term.code, ONE), 1)
        node = context.nodes[term.node]
        columns = context.channels(element, node.shape)
        if columns is None:
            raise context.refused(f"convolves {context.name(term.node)} as {list(element.shape)}; expected whole maps")
        factor = term.factor
        if not term.uniform:
            by_channel = factor[0, :, 0, 0]
            if bool((factor == by_channel[:, None, None]).all()):
                factor = by_channel
            else:
                scaled = even(context, term)
                reads.append(_Read(scaled.node, columns, scaled.factor, moments))
                continue
        reads.append(_Read(term.node, columns, factor, moments))
    parameters = Parameters(ungrouped(weight, groups), bias, _paths(context))
    result = _weighted(context, parameters, window, reads)
    return result if len(x.shape) == 4 else result.laid_out(lambda codes: codes.squeeze(0))


def ungrouped(weight: Tensor, groups: int) -> Tensor:
    """`[out, in / groups, ...]` to `[out, in, ...]` in float64, zero where a group doesn't see a channel."""
    weight = weight.detach().double()
    return weight if groups == 1 else torch.from_numpy(block_diagonal(weight.cpu().numpy(), groups))


def convolve_1d(
    context: Context,
    x: Signal,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Signal:
    """`y = W * x + b` of maps of one column; with a kernel of 1 at every token, whatever the map."""
    if weight.shape[2] != 1 or pair(stride) != (1, 1) or padding not in (0, [0], "valid", "same"):
        maps = x.laid_out(lambda codes: codes.unsqueeze(-1))
        along = padding if isinstance(padding, str) else (pair(padding)[0], 0)
        steps, gaps = (pair(stride)[0], 1), (pair(dilation)[0], 1)
        made = convolve(context, maps, weight.unsqueeze(-1), bias, steps, along, gaps, groups)
        return made.laid_out(lambda codes: codes.squeeze(-1))
    tokens = x.laid_out(lambda codes: codes.transpose(-1, -2))
    y = at_tokens(context, tokens, Parameters(ungrouped(weight, groups).squeeze(2), bias, _paths(context)))
    return y.laid_out(lambda codes: codes.transpose(-1, -2))


def linear(context: Context, x: Signal, weight: Tensor, bias: Tensor | None = None) -> Signal:
    """`y = W x + b` along the last dimension."""
    return at_tokens(context, x, Parameters(weight.detach().double(), bias, _paths(context)))


def _paths(context: Context) -> tuple[str | None, str | None]:
    """The paths of weight and bias among the arguments of the present call, a convolution or a linear layer."""
    return context.parameter(1, "weight"), context.parameter(2, "bias")


def add_product(context: Context, bias: Tensor, x: Any, weight: Any, **settings: Any) -> Signal:
    """`y = b + x W`, as `addmm` has it."""
    if not isinstance(x, Signal) or not isinstance(weight, Tensor) or settings:
        raise context.refused("adds a product other than of a signal and a matrix")
    return at_tokens(context, x, Parameters(weight.detach().double().T, bias))


def at_tokens(context: Context, x: Signal, parameters: Parameters) -> Signal:
    """`y = W x + b` along the last dimension: at the positions of maps, or of whole vectors."""
    x = rolled(context, x)
    lead = x.shape[:-1]
    if x.constant is not None and x.time_weights is None:
        raise context.refused("weighs currents with a constant added; expected neurons between the two")
    reads = [_read_tokens(context, term, prod(lead)) for term in x.terms]
    if len({read.positions is None for read in reads}) > 1:
        raise context.refused("weighs a sum of tokens and of vectors")
    first = reads[0].positions
    for read in reads[1:]:
        if first is not None and read.positions is not None and not torch.equal(read.positions, first):
            raise context.refused("weighs a sum of different positions")
    weight, bias = parameters.weight, parameters.bias
    host = None
    if x.time_weights is not None and bias is not None and float(x.time_weights.sum()) != 1:
        host, bias = bias, None  # added once, to the sum over time
    if x.constant is not None:
        shift = x.constant.reshape(-1, weight.shape[1]) @ weight.T
        host = shift if host is None else shift + host
    weight = weight if first is None else weight[:, :, None, None]
    used = replace(parameters, weight=weight, bias=bias)
    y = _weighted(context, used, None if first is None else Window(), reads)
    y = y.laid_out(lambda codes: codes.reshape(*lead, len(weight)))
    constant = (
        None if host is None else host.detach().double().expand(prod(lead), len(weight)).reshape(*lead, len(weight))
    )
    return Signal(y.shape, y.terms, constant, x.time_weights)


def _read_tokens(context: Context, term: Term, rows: int) -> _Read:
    """A term `[..., F]` whose rows are each one position of a map, or each the whole of a vector."""
    node = context.nodes[term.node]
    moment, element = (x.reshape(rows, -1) for x in context.decode(term))
    present = element >= 0
    if not bool((present == present[:1]).all()) or not bool(present.any()):
        raise context.refused(f"reads {context.name(term.node)} with gaps that differ by row")
    seen = present[0].nonzero()[:, 0]
    if not bool((moment[:, seen] == moment[:, seen[:1]]).all()):
        raise context.refused(f"mixes time steps or images of {context.name(term.node)}")
    factor = term.factor
    if not term.uniform:
        by_row = factor.reshape(rows, -1)
        if not bool((by_row == by_row[:1]).all()):
            return _read_tokens(context, even(context, term), rows)
        factor = by_row[0]
    moments = moment[:, seen[0]]
    if len(node.shape) == 3:
        space = node.space
        channel = (element // space).where(present, ABSENT)
        position = element % space
        if bool((channel == channel[:1]).all()) and bool((position[:, seen] == position[:, seen[:1]]).all()):
            return _Read(term.node, channel[0], factor, moments, position[:, seen[0]])
    if not bool((element == element[:1]).all()):
        raise context.refused(f"reads {context.name(term.node)} row by row as neither tokens nor vectors")
    return _Read(term.node, element[0], factor, moments)


def _weighted(context: Context, parameters: Parameters, window: Window | None, reads: list[_Read]) -> Signal:
    """Nodes `W x + b`, one for each order of columns and factor among what is read; b with the first."""
    groups: dict[Hashable, list[_Read]] = {}
    for read in reads:
        shape = context.nodes[read.node].shape
        groups.setdefault((read.factor.numpy().tobytes(), tuple(read.columns.tolist()), shape), []).append(read)
    terms = []
    bias = parameters.bias
    named = parameters.norm or parameters.paths[0]
    if len(groups) > 1 or any(bool((read.columns < 0).any()) for read in reads):
        parameters = replace(parameters, norm="")  # whose module holds one gain for each channel
    for key, group in groups.items():
        inputs = tuple(read.node for read in group)
        operation = _operation(context, parameters, bias, window, group[0])
        same = None if named is None else ("weight", named, parameters.paths, inputs, key, window, bias is not None)
        source = context.nodes[inputs[0]].shape
        made: tuple[int, ...] = (len(operation.weight),)
        if window is not None:
            made = (*made, *window.size(source, (operation.weight.shape[2], operation.weight.shape[3])))
        index = context.add(context.label("weight"), operation, made, inputs, same)
        moments = context.common_moments([(read.node, read.moments) for read in group])
        terms.append(Term(index, _placed(context, index, moments, group[0].positions), ONE))
        bias = None
    return Signal(tuple(terms[0].code.shape), tuple(terms))


def _placed(context: Context, index: int, moments: Tensor, positions: Tensor | None) -> Tensor:
    """Codes of a node: whole, `[rows, *shape]`, or at one position for each row, `[rows, C]`."""
    made = context.nodes[index].shape
    if positions is None:
        return context.encode(index, moments, torch.arange(prod(made)).view(made))
    channels = torch.arange(made[0]) * prod(made[1:])
    return context.encode(index, moments, channels) + positions[:, None]


def _operation(
    context: Context, parameters: Parameters, bias: Tensor | None, window: Window | None, read: _Read
) -> Weighted:
    """The weight in the order of the node's own inputs."""
    weight = parameters.weight
    shape = context.nodes[read.node].shape
    inputs = prod(shape) if window is None else shape[0]
    seen = (read.columns >= 0).nonzero()[:, 0]
    factor = read.factor if read.factor.ndim == 0 else read.factor[seen].view(1, -1, *([1] * (weight.ndim - 2)))
    dense = torch.zeros(len(weight), inputs, *weight.shape[2:], dtype=torch.float64)
    dense.index_add_(1, read.columns[seen], weight[:, seen] * factor)
    shift = torch.zeros(len(weight), dtype=torch.float64) if bias is None else bias.detach().double()
    pieces: tuple[Piece, ...] = ()
    rows = torch.arange(len(weight))
    if parameters.norm:
        pieces = (Piece("", None, rows, read.columns, read.factor, (parameters.norm,)),)
    elif parameters.paths[0] is not None:
        held = None if bias is None else parameters.paths[1]
        pieces = (Piece(parameters.paths[0], held, rows, read.columns, read.factor),)
    return Weighted(dense, shift, window, pieces)


TABLE: dict[Any, Callable[..., Any]] = {
    aten.conv2d.default: convolve,
    aten.conv2d.padding: convolve,
    aten.conv1d.default: convolve_1d,
    aten.conv1d.padding: convolve_1d,
    aten.linear.default: linear,
    aten.addmm.default: add_product,
}
"""The lowering of each operator."""
