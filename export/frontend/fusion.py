"""Fusion: Q, K and V of attention as the channels of one population, which is how a node reads them."""

from dataclasses import replace

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Node, Population, Weighted
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
    alike = _alike(context, parts)
    if alike is None:
        return joined(context, parts, label)
    rows = [(weight, channel) for (_, _, weight), (_, channel) in zip(alike, parts, strict=True)]
    stacked = replace(
        rows[0][0],
        weight=torch.cat([weight.weight[channel] for weight, channel in rows]),
        bias=torch.cat([weight.bias[channel] for weight, channel in rows]),
        pieces=tuple(piece for weight, channel in rows for piece in rows_of(weight.pieces, channel)),
    )
    population, before, _ = alike[0]
    shape = (len(channels), *before.shape[1:])
    key = tuple((index, tuple(channel.tolist())) for index, channel in parts)
    weight_label = "+".join(dict.fromkeys(node.label for _, node, _ in alike))
    weight = context.add(weight_label, stacked, shape, before.inputs, ("fused weight", key))
    paths = tuple(dict.fromkeys(path for each, _, _ in alike for path in each.key))
    index = context.add(label, replace(population, key=paths), shape, (weight,), ("fused", key))
    _observe(context, parts, index)
    return index


def _alike(context: Context, parts: list[tuple[int, Tensor]]) -> list[tuple[Population, Node, Weighted]] | None:
    """Each population, the node before it and that node's weight; None unless all are of one kind and read the same."""
    found: list[tuple[Population, Node, Weighted]] = []
    kinds = set()
    for index, _ in parts:
        node = context.nodes[index]
        population = node.operation
        if not isinstance(population, Population) or len(node.inputs) != 1 or population.leak is not None:
            return None
        before = context.nodes[node.inputs[0]]
        weight = before.operation
        if not isinstance(weight, Weighted) or not weight.pieces or before.shape != node.shape:
            return None
        kinds.add((population.neurons, population.factor, before.inputs, weight.window, before.shape[1:]))
        found.append((population, before, weight))
    return found if len(kinds) == 1 else None


def _observe(context: Context, parts: list[tuple[int, Tensor]], index: int) -> None:
    """Compare the spikes that the module sends for the parts with those of the fused node `index` from now on."""
    at = 0
    for part, channel in parts:
        space = context.nodes[part].space
        place = torch.full((context.nodes[part].shape[0],), -1)
        place[channel] = at + torch.arange(len(channel))
        for observed in context.observed.values():
            if observed.node == part:
                channel_of = observed.order // space
                moved = place[channel_of] * space + observed.order % space
                observed.instead.append((index, moved.where(place[channel_of] >= 0, -1)))
        at += len(channel)
