"""Frames of graphs with several inputs: one array holds the elements of all inputs side by side.

    frame = (a_0, a_1, ..., b_0, b_1, ...)        of the inputs a, b, ... in the order of `Graph.inputs`

So every run has one array of frames, `[N, *frame shape]` or `[N, T, *frame shape]`, whatever the number of inputs.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, meant
from neuromorphic.ir.graph import Graph

Given = NDArray[np.float32] | Mapping[str, NDArray[Any]]
"""Frames as one array, or as arrays by the name of the input that reads them."""


def of_inputs(graph: Graph, frames: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The part of each input in `frames` `[..., *frame shape]`, by its name: `[..., *input shape]`, a view."""
    if len(graph.inputs) == 1:
        return {graph.input: frames}
    found, start = {}, 0
    for name in graph.inputs:
        shape = graph.nodes[name].shape
        found[name] = frames[..., start : start + prod(shape)].reshape(*frames.shape[:-1], *shape)
        start += prod(shape)
    return found


def side_by_side(graph: Graph, given: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The frames of all inputs as one array; those of some inputs may be the same in every step.

    Args:
        graph: that reads them.
        given: `[N, *input shape]` or `[N, T, *input shape]`, by the name of the input.

    Returns:
        `[N, *frame shape]` or, where an input has one frame per step, `[N, T, *frame shape]`.

    Raises:
        RefusedInput: an input has no frames, a name is that of no input, or shapes, N or T don't fit.
    """
    check_inputs(graph, given)
    if len(graph.inputs) == 1:
        return given[graph.input]
    sizes: dict[str, tuple[int, ...]] = {}
    for name in graph.inputs:
        found, shape = given[name].shape, graph.nodes[name].shape
        lead = found[: len(found) - len(shape)]
        if len(lead) not in (1, 2) or found != (*lead, *shape):
            raise RefusedInput(
                f"{graph.source}: frames of the input {name!r} have the shape {list(found)}; expected [N, T, ...] or "
                f"[N, ...] of {list(shape)}"
            )
        sizes[name] = lead
    for axis, what in enumerate(("samples", "time steps")):
        counts = {name: lead[axis] for name, lead in sizes.items() if axis < len(lead)}
        if len({*counts.values()}) > 1:
            listed = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
            raise RefusedInput(f"{graph.source}: {what} of the inputs differ: {listed}; expected as many of each")
    lead = max(sizes.values(), key=len)
    parts = []
    for name in graph.inputs:
        flat = given[name].reshape(*sizes[name], -1)
        still = len(sizes[name]) < len(lead)
        parts.append(np.broadcast_to(flat[:, None], (*lead, flat.shape[-1])) if still else flat)
    return np.concatenate(parts, axis=-1)


def check_inputs(graph: Graph, given: Mapping[str, object]) -> None:
    """Refuse names that are no inputs of `graph`, and inputs for which nothing is given."""
    if odd := [name for name in given if name not in graph.inputs]:
        known = ", ".join(graph.inputs)
        raise RefusedInput(f"{graph.source}: no input {odd[0]!r}; expected {known}{meant(str(odd[0]), graph.inputs)}")
    if missing := [name for name in graph.inputs if name not in given]:
        names, known = ", ".join(missing), ", ".join(graph.inputs)
        raise RefusedInput(f"{graph.source}: no frames for {names}; expected some for each of {known}")


def several_ends(graph: Graph) -> list[str]:
    """Reasons why a format with one input and one output can't hold `graph`, one sentence each."""
    several = [(what, names) for what, names in (("inputs", graph.inputs), ("outputs", graph.outputs)) if names[1:]]
    return [f"{graph.source}: {len(names)} {what} ({', '.join(names[:4])}); expected one" for what, names in several]
