"""Fusion: Q, K and V of attention as the channels of one population, which is how a node reads them."""

from dataclasses import replace

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Population, Weighted
from export.frontend.selection import joined, rows_of


def fused(context: Context, parts: list[tuple[int, Tensor]]) -> int:
    """One spiking node with the given channels of several, in this order.

    Populations of one kind whose weights read the same become one population of one weight; else every channel is
    relayed by a neuron of its own.

    Args:
        context: the graph in the making.
        parts: indices of spiking nodes, and of each the channels.
    """
    first = parts[0][0]
    channels = torch.cat([channel for _, channel in parts])
    same = all(index == first for index, _ in parts)
    if same and torch.equal(channels, torch.arange(context.nodes[first].shape[0])):
        return first
    label = "+".join(dict.fromkeys(context.nodes[index].label for index, _ in parts))
    weights = _alike(context, parts)
    if weights is None:
        return joined(context, parts, label)
    rows = [(context.nodes[w], channel) for w, (_, channel) in zip(weights, parts, strict=True)]
    operations = [node.operation for node, _ in rows]
    assert all(isinstance(o, Weighted) for o in operations)
    made = [o for o in operations if isinstance(o, Weighted)]
    stacked = replace(
        made[0],
        weight=torch.cat([o.weight[c] for o, (_, c) in zip(made, rows, strict=True)]),
        bias=torch.cat([o.bias[c] for o, (_, c) in zip(made, rows, strict=True)]),
        pieces=tuple(p for o, (_, c) in zip(made, rows, strict=True) for p in rows_of(o.pieces, c)),
    )
    node = context.nodes[first]
    shape = (len(channels), *node.shape[1:])
    key = tuple((index, tuple(channel.tolist())) for index, channel in parts)
    weight_label = "+".join(dict.fromkeys(n.label for n, _ in rows))
    weight = context.add(weight_label, stacked, shape, rows[0][0].inputs, ("fused weight", key))
    population = node.operation
    assert isinstance(population, Population)
    keys = tuple(dict.fromkeys(k for index, _ in parts for k in _keys(context, index)))
    index = context.add(label, replace(population, key=keys), shape, (weight,), ("fused", key))
    _observe(context, parts, index)
    return index


def _keys(context: Context, index: int) -> tuple[str, ...]:
    operation = context.nodes[index].operation
    return operation.key if isinstance(operation, Population) else ()


def _alike(context: Context, parts: list[tuple[int, Tensor]]) -> list[int] | None:
    """The weight before each population, where all are of one kind and read the same; else None."""
    found: list[int] = []
    kinds = set()
    for index, _ in parts:
        node = context.nodes[index]
        if not isinstance(node.operation, Population) or len(node.inputs) != 1 or node.operation.leak is not None:
            return None
        weight = context.nodes[node.inputs[0]]
        operation = weight.operation
        if not isinstance(operation, Weighted) or not operation.pieces or weight.shape != node.shape:
            return None
        kinds.add((node.operation.neurons, node.operation.factor, weight.inputs, operation.window, weight.shape[1:]))
        found.append(node.inputs[0])
    return found if len(kinds) == 1 else None


def _observe(context: Context, parts: list[tuple[int, Tensor]], index: int) -> None:
    """Let what is known of the parts' spikes be compared with those of the whole."""
    at = 0
    for part, channel in parts:
        space = context.nodes[part].space
        place = torch.full((context.nodes[part].shape[0],), -1)
        place[channel] = at + torch.arange(len(channel))
        for observed in context.observed.values():
            if observed.node == part:
                channel_of = torch.div(observed.order, space, rounding_mode="floor")
                moved = place[channel_of] * space + observed.order % space
                observed.instead.append((index, moved.where(place[channel_of] >= 0, -1)))
        at += len(channel)
