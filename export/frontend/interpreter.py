"""Interpretation: the traced calls, one after the other, on signals instead of tensors."""

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from export.frontend.axes import Axes
from export.frontend.context import Context
from export.frontend.nodes import Frames
from export.frontend.operators import LOWERINGS
from export.frontend.operators.sums import rolled
from export.frontend.signals import ONE, Membrane, Product, Signal, Term
from export.frontend.tracing import Traced, writes
from spikeclip.errors import RefusedInput

SYMBOLIC = (Signal, Product, Membrane)


def interpret(traced: Traced, axes: Axes, time_steps: int, prefix: str = "") -> tuple[Context, Signal]:
    """The nodes that a module's calls are, and the signal that it returns.

    Args:
        traced: the module's calls on an example.
        axes: what the example's axes are.
        time_steps: T.
        prefix: of paths, which names of nodes and messages leave out.

    Raises:
        RefusedInput: a call that has no lowering, or one that no node says, by module path and operator.
    """
    program = traced.program
    placeholders, state = traced.placeholders, traced.state
    inputs = [call for call, path in placeholders.items() if path is None]
    if len(inputs) != 1:
        raise RefusedInput(f"the module takes {len(inputs)} tensors; expected one, of frames")
    shape = tuple(inputs[0].meta["val"].shape)
    context = Context(traced, time_steps, axes.images(shape), prefix)
    paths = list(placeholders.values())
    arguments: list[Any] = [_frames(context, axes, shape) if p is None else state[p].detach() for p in paths]
    # Before them stand values of buffers that the module's code changes.
    first, *others = program.graph_signature.user_outputs or [None]
    result = next(
        (r for r in tree_leaves(_run(context, program.graph_module, arguments, paths, first)) if r is not None), None
    )
    if others:
        context.notes.append(f"of {1 + len(others)} results of the module the first is the output")
    context.call = None
    if isinstance(result, Membrane):
        raise RefusedInput(f"the module returns the membrane of {result.key!r} first; expected spikes or currents")
    if not isinstance(result, Signal):
        raise RefusedInput(f"the module returns {type(result).__name__}; expected spikes or currents of its input")
    result = rolled(context, result, None if result.shape[:2] == (time_steps, context.images) else 1)
    if time_steps == 1 and result.time_weights is None and result.shape[:2] != (1, context.images):
        result = replace(result, time_weights=ONE.reshape(1))  # the sum over one time step is no operator
    return context, result


def _run(
    context: Context,
    module: fx.GraphModule,
    arguments: list[Any],
    paths: list[str | None],
    result: str | None = None,
) -> Any:
    """The result of the calls of a graph.

    Args:
        context: the graph in the making.
        module: holds the calls, and graphs within them.
        arguments: one for each placeholder.
        paths: of the parameters that the arguments are; None for others.
        result: the call whose result is wanted; by default of all that are returned.  None stands for the others.
    """
    values: dict[fx.Node, Any] = {}
    parameters: dict[fx.Node, str] = {}
    remaining = iter(zip(arguments, paths, strict=True))
    last_use, read = _last_uses(module.graph), calls_read(module.graph, result)
    for call in module.graph.nodes:
        if call not in read:
            continue
        match call.op:
            case "placeholder":
                values[call], path = next(remaining)
                if path is not None:
                    parameters[call] = path
            case "get_attr":
                values[call] = getattr(module, str(call.target))
            case "output":
                return fx.node.map_arg(call.args[0], lambda node: values.get(node))
            case _:
                values[call] = _called(context, values, call, parameters)
        for done in last_use.get(call, ()):
            del values[done]
    raise RefusedInput("the module returns nothing; expected spikes or currents")


def calls_read(graph: fx.Graph, result: str | None) -> set[fx.Node]:
    """Calls that `result` depends on, or all results, those that write into a tensor, and placeholders.

    What a module computes beside its result (rates to print, features, membranes to plot) needs no lowering.  Neurons
    keep a state from call to call, so that with one call they need all.
    """
    calls: dict[str, list[fx.Node]] = {}
    for call in graph.nodes:
        if call.target is torch.ops.spikeclip.neurons.default:
            calls.setdefault(str(call.args[2]), []).append(call)
    waiting = [call for call in graph.nodes if call.op == "placeholder" or writes(call)]
    for call in graph.nodes:
        if call.op == "output":
            waiting += [call, *(n for n in call.all_input_nodes if result in (None, n.name))]
    found: set[fx.Node] = set()
    while waiting:
        call = waiting.pop()
        if call not in found:
            found.add(call)
            waiting += () if call.op == "output" else call.all_input_nodes
            if call.target is torch.ops.spikeclip.neurons.default:
                waiting += calls[str(call.args[2])]
    return found


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """Results that each call is the last to read: codes take eight bytes per element, and are dropped early."""
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


def _called(context: Context, values: dict[fx.Node, Any], call: fx.Node, parameters: dict[fx.Node, str]) -> Any:
    args: Any = fx.node.map_arg(call.args, lambda node: values[node])
    kwargs: Any = fx.node.map_arg(call.kwargs, lambda node: values[node])
    inner = next((i for i, a in enumerate(args) if isinstance(a, fx.GraphModule)), None)
    if inner is not None:  # autocast, or gradients switched off, around some calls
        paths = [parameters.get(a) if isinstance(a, fx.Node) else None for a in call.args[inner + 1 :]]
        return _run(context, args[inner], list(args[inner + 1 :]), paths)
    if not _symbolic((args, kwargs)):
        if call.target is torch.ops.spikeclip.neurons.default:
            raise RefusedInput(f"module {args[2]!r} reads a constant; expected what the frames cause")
        return call.target(*args, **kwargs)  # type: ignore[operator]
    context.call, context.parameter_of = call, parameters
    membrane = next((a for a in tree_leaves((args, kwargs)) if isinstance(a, Membrane)), None)
    if membrane is not None and call.target is not torch.ops.spikeclip.neurons.default:
        raise context.refused(f"reads the membrane of {membrane.key!r}; expected its spikes, which alone neurons send")
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
