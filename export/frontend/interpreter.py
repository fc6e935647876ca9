"""Interpretation: the traced calls, one after the other, on signals instead of tensors."""

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from export.frontend.axes import Axes
from export.frontend.context import Context
from export.frontend.nodes import Frames
from export.frontend.operators import LOWERINGS
from export.frontend.operators.sums import rolled
from export.frontend.signals import ONE, Membrane, Product, Signal, Term
from export.frontend.tracing import Traced
from spikeclip.errors import RefusedInput

SYMBOLIC = (Signal, Product, Membrane)


def interpret(traced: Traced, axes: Axes, time_steps: int) -> tuple[Context, Signal]:
    """The nodes that a module's calls are, and the signal that it returns.

    Args:
        traced: the module's calls on an example.
        axes: what the example's axes are.
        time_steps: T.

    Raises:
        RefusedInput: a call that has no lowering, or one that no node says, by module path and operator.
    """
    program = traced.program
    values: dict[fx.Node, Any] = {}
    context: Context | None = None
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    state = {**program.state_dict, **program.constants}
    last_use = _last_uses(program.graph)
    for call in program.graph.nodes:
        match call.op:
            case "placeholder" if call.name in names:
                values[call] = state[names[call.name]].detach()
            case "placeholder" if context is None:
                shape = tuple(call.meta["val"].shape)
                context = Context(traced, time_steps, axes.images(shape))
                values[call] = _frames(context, axes, shape)
            case "placeholder":
                raise RefusedInput("the module takes several inputs; expected one tensor of frames")
            case "get_attr":
                values[call] = getattr(program.graph_module, str(call.target))
            case "output":
                return _finished(context, values, call)
            case _:
                values[call] = _called(context, values, call, names)
        for done in last_use.get(call, ()):
            del values[done]
    raise RefusedInput("the module returns nothing; expected spikes or currents")


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """What no call after each call reads: codes take eight bytes per element, so that they are dropped early."""
    last: dict[fx.Node, fx.Node] = {}
    for call in graph.nodes:
        for source in call.all_input_nodes:
            last[source] = call
    found: dict[fx.Node, list[fx.Node]] = {}
    for source, call in last.items():
        if call.op != "output":
            found.setdefault(call, []).append(source)
    return found


def _frames(context: Context, axes: Axes, shape: tuple[int, ...]) -> Signal:
    """The input's codes, in the order of its axes."""
    frame = axes.frame(shape)
    index = context.add("input", Frames(), frame, ())
    context.nodes[index] = replace(context.nodes[index], static=not axes.timed)
    steps = context.time_steps if axes.timed else 1
    moments = torch.arange(steps * context.images)
    code = context.encode(index, moments, torch.arange(context.nodes[index].size).view(frame))
    code = axes.from_time_first(code.view(steps, context.images, *frame))
    return Signal(shape, (Term(index, code.contiguous(), ONE),))


def _called(context: Context | None, values: dict[fx.Node, Any], call: fx.Node, names: dict[str, str]) -> Any:
    args = fx.node.map_arg(call.args, lambda node: values[node])
    kwargs = fx.node.map_arg(call.kwargs, lambda node: values[node])
    if context is None or not _symbolic((args, kwargs)):
        if call.target is torch.ops.spikeclip.neurons.default:
            raise RefusedInput(f"module {args[2]!r} reads a constant; expected what the frames cause")
        return call.target(*args, **kwargs)  # type: ignore[operator]
    context.call = call
    context.parameter_of = {n: names[n.name] for n in call.all_input_nodes if n.op == "placeholder" and n.name in names}
    if call.target is operator.getitem:
        return args[0][args[1]]
    lower = LOWERINGS.get(call.target)
    if lower is None:
        raise context.refused("has no lowering: no layer, layout or sum that is known here")
    return lower(context, *args, **kwargs)


def _symbolic(arguments: Any) -> bool:
    if isinstance(arguments, list | tuple):
        return any(_symbolic(a) for a in arguments)
    if isinstance(arguments, dict):
        return any(_symbolic(a) for a in arguments.values())
    return isinstance(arguments, SYMBOLIC)


def _finished(context: Context | None, values: dict[fx.Node, Any], call: fx.Node) -> tuple[Context, Signal]:
    """The first of what the module returns."""
    found: Any = call.args[0]
    while isinstance(found, tuple | list) and found:
        found = found[0]
    result = values.get(found) if isinstance(found, fx.Node) else found
    if context is None or isinstance(result, Tensor | Product | Membrane) or not isinstance(result, Signal):
        raise RefusedInput(f"the module returns {type(result).__name__}; expected spikes or currents of its input")
    context.call = None
    return context, rolled(context, result)
