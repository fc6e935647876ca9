"""Neurons: a population for each of the module's, and the gates that neurons in a row of their own are."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Attention, Node, Observed, Population, Shape
from export.frontend.operators.sums import even
from export.frontend.selection import selected
from export.frontend.signals import ONE, Membrane, Signal, Term


@dataclass(frozen=True, eq=False)
class _Current:
    """The part of one term that neurons read: `elements[i]` is the node's element that neuron i reads."""

    node: int
    elements: Tensor
    factor: float


def neurons(context: Context, x: Any, states: list[Any], key: str) -> Signal:
    """The spikes of the neurons `key` that read x: `[T, B, ...]` of a multi-step module, else `[B, ...]`."""
    if not isinstance(x, Signal):
        raise context.refused("reads a product of spikes; expected a current")
    context.timed(x)
    equation = context.traced.neurons[key]
    call = context.calls.get(key, 0)
    context.calls[key] = call + 1
    _check_states(context, states, key, call)
    if equation.multi_step and call:
        raise context.refused("is called twice, and would go on from where it was; expected one call")
    if not equation.multi_step and call >= context.time_steps:
        raise context.refused(f"is called more than {context.time_steps}x; expected one call for each time step (-T)")
    given = x.shape
    x, lead = _with_images(context, x, equation.multi_step)
    rows = prod(x.shape[:lead])
    moments = torch.arange(rows) + (0 if equation.multi_step else call * context.images)
    currents = [_current(context, term, lead, moments) for term in x.terms]
    shape, order = _shape(context, currents)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    factor = _factor(context, currents)
    leak = None
    if x.constant is not None:
        constant = x.constant.reshape(rows, -1)
        if not bool((constant == constant[:1]).all()):
            raise context.refused("reads a constant that differs by time step or image")
        leak = (constant[0][place] / factor).view(shape)
    inputs = tuple(selected(context, c.node, c.elements[place], shape) for c in currents)
    if len(set(inputs)) < len(inputs):
        raise context.refused("reads one node twice, which a sum of edges can't say")
    index = _population(context, Population(equation, (key,), factor, leak), shape, inputs, order)
    code = context.encode(index, moments, order).reshape(given)
    return Signal(given, (Term(index, code, ONE),))


def _with_images(context: Context, x: Signal, multi_step: bool) -> tuple[Signal, int]:
    """The current with times and images in front, and how many dimensions those are.

    Raises:
        RefusedInput: the time axis has other steps than T: times and images are one axis.
    """
    if not multi_step:
        return x, 1
    steps, images = context.time_steps, context.images
    if x.shape[0] != steps:
        mixes = x.shape[0] == steps * images
        why = (
            "time steps and images are one axis there, so that membranes flow from image to image: what it computes of "
            "an image depends on those before it in the batch. A batch of one image at a time has no such flow"
            if mixes
            else "expected one for each time step"
        )
        raise context.refused(f"steps {x.shape[0]} times, the network {steps}: {why}")
    if images == 1 and (len(x.shape) == 1 or x.shape[1] != 1):
        return x.laid_out(lambda codes: codes.unsqueeze(1)), 2
    return x, 2


def _check_states(context: Context, states: list[Any], key: str, call: int) -> None:
    for state in states:
        own = isinstance(state, Membrane) and state.key == key and state.call == call - 1
        zero = isinstance(state, Tensor) and not bool(state.any()) and not call
        spikes = isinstance(state, Signal)
        if not (own or zero or spikes):
            raise context.refused("is given a state other than the one it returned in the step before")


def _current(context: Context, term: Term, lead: int, moments: Tensor) -> _Current:
    term = even(context, term)
    found, elements = context.rows(term, lead)
    static = context.nodes[term.node].static
    if not torch.equal(found, moments % context.images if static else moments):
        raise context.refused(f"reads {context.name(term.node)} of other time steps or images than its own")
    return _Current(term.node, elements.reshape(-1), float(term.factor))


def _factor(context: Context, currents: list[_Current]) -> float:
    """The factor of all currents, which moves into the neurons' threshold; 1 where they differ."""
    factors = {current.factor for current in currents}
    if len(factors) == 1 and min(factors) > 0:
        return factors.pop()
    for i, current in enumerate(currents):
        node = context.nodes[current.node]
        if current.factor > 0 and isinstance(node.operation, Attention):
            operation = replace(node.operation, scale=current.factor)
            index = context.add(
                (node.label, node.kind), operation, node.shape, node.inputs, ("scaled", current.node, current.factor)
            )
            currents[i] = _Current(index, current.elements, 1.0)
        elif current.factor != 1:
            scale = torch.tensor(current.factor, dtype=torch.float64).expand(node.size)
            term = Term(current.node, torch.arange(node.size), scale)
            currents[i] = _Current(even(context, term).node, current.elements, 1.0)
    return 1.0


def _shape(context: Context, currents: list[_Current]) -> tuple[Shape, Tensor]:
    """The shape of the population, and which of its elements each of the module's neurons is.

    That of a node that is read as a whole, where there is one; else that of the channels that are read.
    """
    for current in currents:
        node = context.nodes[current.node]
        if node.size == len(current.elements) and _holds_all(current.elements):
            return node.shape, current.elements
    node = context.nodes[currents[0].node]
    elements = currents[0].elements
    return _part(node, elements)


def _holds_all(elements: Tensor) -> bool:
    """Whether n numbers are those from 0 to n - 1, in any order."""
    inside = int(elements.min()) >= 0 and int(elements.max()) < len(elements)
    return inside and bool(torch.zeros(len(elements), dtype=torch.bool).index_fill_(0, elements, True).all())


def _part(node: Node, elements: Tensor) -> tuple[Shape, Tensor]:
    channel, position = elements // node.space, elements % node.space
    seen = torch.unique(channel)
    if len(node.shape) == 3 and len(seen) * node.space == len(elements) and bool((elements >= 0).all()):
        return (len(seen), *node.shape[1:]), torch.searchsorted(seen, channel.contiguous()) * node.space + position
    return (len(elements),), torch.arange(len(elements))


def _population(context: Context, operation: Population, shape: Shape, inputs: tuple[int, ...], order: Tensor) -> int:
    (key,) = operation.key
    index = context.add(context.shown(key), operation, shape, inputs, ("neurons", key))
    # A population is never the same at every time step, whatever it reads.
    node = context.nodes[index]
    if node.static:
        context.nodes[index] = replace(node, static=False)
    first = node.operation
    assert isinstance(first, Population)
    leaks = [torch.zeros(()) if leak is None else leak for leak in (first.leak, operation.leak)]
    if first.factor != operation.factor or bool((leaks[0] != leaks[1]).any()):
        raise context.refused("reads another multiple or constant in one time step than in another; expected the same")
    if sorted(node.inputs) != sorted(inputs) or node.shape != shape:
        before, now = ([context.name(i) for i in nodes] for nodes in (node.inputs, inputs))
        raise context.refused(f"reads {now} in one time step and {before} in another; expected the same")
    if key not in context.observed:
        context.observed[key] = Observed(index, order, operation.neurons.multi_step)
    return index


def membrane(context: Context, x: Signal, key: str) -> Membrane:
    """The state that a neuron of snnTorch returns."""
    return Membrane(key, context.calls[key] - 1)


TABLE: dict[Any, Callable[..., Any]] = {
    torch.ops.spikeclip.neurons.default: neurons,
    torch.ops.spikeclip.membrane.default: membrane,
}
"""The lowering of each operator."""
