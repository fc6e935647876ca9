"""The output: the node that collects what the module returns, and what the host does with it over time."""

from math import prod

import nir
import numpy as np
import torch

from export.frontend.lowering import Lowering
from export.frontend.signals import Signal
from neuromorphic.ir.metadata import Readout
from spikeclip.errors import RefusedInput


def add_output(lowering: Lowering, result: Signal) -> None:
    """Add the output; where nodes are summed with different factors, a node scales each.

    Raises:
        RefusedInput: the module returns elements in an order of its own.
    """
    context = lowering.context
    lead = _lead(result, lowering)
    names, shapes = [], set()
    factors = {float(term.factor) for term in result.terms}
    for term in result.terms:
        _, element = context.rows(term, lead)
        node = context.nodes[term.node]
        if not torch.equal(element.reshape(-1), torch.arange(node.size)):
            raise RefusedInput(
                f"the module returns elements of {context.name(term.node)} in another order, or some of them; expected "
                "a node's output as it is"
            )
        name = lowering.names[term.node]
        if len(factors) > 1:
            scaled = f"{name}.weighted"
            lowering.put(scaled, nir.Scale(np.full(node.shape, float(term.factor), np.float32)), name)
            name = scaled
        names.append(name)
        shapes.add(prod(node.shape))
    if len(shapes) > 1:
        raise RefusedInput("the module returns a sum of nodes of different sizes")
    first = result.terms[0].node
    flat = isinstance(lowering.nodes[lowering.names[first]], nir.Affine)
    shape = (context.nodes[first].size,) if flat else context.nodes[first].shape
    lowering.put("output", nir.Output(np.array(shape)), *names)


def _lead(result: Signal, lowering: Lowering) -> int:
    """The number of leading dimensions of the result that are time steps and images."""
    if result.time_weights is not None:
        return 1
    steps, images = lowering.context.time_steps, lowering.context.images
    if result.shape[:2] == (steps, images):
        return 2
    raise RefusedInput(
        f"the module returns {list(result.shape)}; expected time steps and images first, [{steps}, {images}, ...], or "
        f"images first and a sum over time, [{images}, ...]"
    )


def readout(result: Signal) -> Readout | None:
    """The host's part: weights over time and a bias; None where the module returns every time step."""
    if result.time_weights is None:
        return None
    factors = {float(term.factor) for term in result.terms}
    factor = factors.pop() if len(factors) == 1 else 1.0
    bias = np.zeros(0)
    if result.constant is not None:
        rows = result.constant.reshape(result.shape[0], -1)
        if not bool((rows == rows[:1]).all()):
            raise RefusedInput("the module adds a constant that differs by image to what it returns")
        bias = rows[0].numpy()
    return Readout((result.time_weights * factor).numpy(), bias)
