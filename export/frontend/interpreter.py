"""Interpretation: the traced calls, one after the other, on signals instead of tensors."""

import operator
from collections.abc import Sequence
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

NEURONS = torch.ops.spikeclip.neurons.default

NO_LOWERING = (
    "has no lowering; expected neurons, convolutions, matrices, normalisations with fixed statistics, pooling, gates, "
    "layouts and sums (docs/frontend.md)"
)


def interpret(traced: Traced, axes: Axes, time_steps: int, prefix: str = "") -> tuple[Context, Signal]:
    """Turn the calls of a module into nodes, and what it returns into a signal.

    Args:
        traced: the module's calls on an example.
        axes: the names of the example's axes.
        time_steps: T.
        prefix: of paths; names of nodes and messages leave it out.

    Raises:
        RefusedInput: a call has no lowering, or no node expresses it; the message names module path and operator.
    """
    placeholders, state = traced.placeholders, traced.state
    inputs = [call for call, path in placeholders.items() if path is None]
    if len(inputs) != 1:
        raise RefusedInput(f"the module takes {len(inputs)} tensors; expected one, of frames")
    shape = tuple(inputs[0].meta["val"].shape)
    context = Context(traced, time_steps, axes.images(shape), prefix)
    paths = list(placeholders.values())
    arguments = [_frames(context, axes, shape) if path is None else state[path].detach() for path in paths]
    if not traced.returned:
        raise RefusedInput("the module returns nothing; expected spikes or currents of its input")
    result = _SymbolicCalls(context, traced.program.graph_module, paths, traced.returned[0]).of(*arguments)
    if len(traced.returned) > 1:
        context.notes.append(f"of {len(traced.returned)} results of the module the first is the output")
    context.call = None
    _check_calls(context)
    if isinstance(result, Membrane):
        raise RefusedInput(f"the module returns the membrane of {result.key!r} first; expected spikes or currents")
    if not isinstance(result, Signal):
        raise RefusedInput(f"the module returns {type(result).__name__}; expected spikes or currents of its input")
    result = rolled(context, result, None if result.shape[:2] == (time_steps, context.images) else 1)
    if time_steps == 1 and result.time_weights is None and result.shape[:2] != (1, context.images):
        result = replace(result, time_weights=ONE.reshape(1))  # the sum over one time step is no operator
    return context, result


def _check_calls(context: Context) -> None:
    """Refuse neurons that are called for fewer time steps than the network has."""
    for path, count in context.calls.items():
        if not context.traced.neurons[path].multi_step and count < context.time_steps:
            raise RefusedInput(
                f"module {context.shown(path)!r} takes one time step a call and is called {count}x, in a network of "
                f"{context.time_steps} time steps: expected a call for each time step, by a loop in the network's own "
                "forward, or neurons that take a time axis"
            )


class NeededCalls(fx.Interpreter):
    """Runs the calls of a graph that one of its results depends on (`calls_read`), and returns that result.

    Args:
        module: holds the graph, and graphs within it.
        result: name of the call whose result is wanted; None for all that the graph returns.
    """

    def __init__(self, module: fx.GraphModule, result: Any) -> None:
        super().__init__(module)
        self.extra_traceback = False  # a refusal already names the module's path and the operator
        self.result = result
        needed = calls_read(self.graph, result)
        self.skipped = {call: None for call in self.graph.nodes if call not in needed}

    def of(self, *arguments: Any) -> Any:
        """The result for these arguments, one for each placeholder."""
        return self.run(*arguments, initial_env=dict(self.skipped), enable_io_processing=False)

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "output" and self.result is not None:
            return next((self.env[call] for call in n.all_input_nodes if call.name == self.result), self.result)
        return super().run_node(n)


class _SymbolicCalls(NeededCalls):
    """Runs calls on signals: each is lowered to nodes.  A call that no signal reaches is computed by torch.

    Args:
        context: the graph in the making.
        module, result: as of `NeededCalls`.
        paths: of the parameter that each placeholder stands for; None for others.
    """

    def __init__(
        self, context: Context, module: fx.GraphModule, paths: Sequence[str | None], result: Any = None
    ) -> None:
        super().__init__(module, result)
        self.context = context
        placeholders = (call for call in self.graph.nodes if call.op == "placeholder")
        self.parameters = {c: path for c, path in zip(placeholders, paths, strict=True) if path is not None}

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        inner = next((i for i, a in enumerate(args) if isinstance(a, fx.GraphModule)), None)
        if inner is not None:  # autocast, or gradients switched off, around some calls
            paths = [self.parameters.get(a) if isinstance(a, fx.Node) else None for a in n.args[inner + 1 :]]
            return _SymbolicCalls(self.context, args[inner], paths).of(*args[inner + 1 :])
        leaves = tree_leaves((args, kwargs))
        if not any(isinstance(leaf, SYMBOLIC) for leaf in leaves):
            if n.target is NEURONS:
                raise RefusedInput(f"module {args[2]!r} reads a constant; expected what the frames cause")
            return self.call_function(n.target, args, kwargs)
        context = self.context
        context.call, context.parameter_of = n, self.parameters
        membrane = next((leaf for leaf in leaves if isinstance(leaf, Membrane)), None)
        if membrane is not None and n.target is not NEURONS:
            raise context.refused(
                f"reads the membrane of {membrane.key!r}; expected its spikes, which alone neurons send"
            )
        if n.target is operator.getitem:
            return args[0][args[1]]
        lower = LOWERINGS.get(n.target)
        if lower is None:
            raise context.refused(NO_LOWERING)
        return lower(context, *args, **kwargs)


def calls_read(graph: fx.Graph, result: Any) -> set[fx.Node]:
    """The calls that `result` (None: every result) depends on, those that write into a tensor, and placeholders.

    What a module computes beside its result (rates to print, features, membranes to plot) needs no lowering.  Neurons
    keep a state from call to call, so that all calls of a neuron are needed where one is.
    """
    calls: dict[str, list[fx.Node]] = {}
    for call in graph.nodes:
        if call.target is NEURONS:
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
            if call.target is NEURONS:
                waiting += calls[str(call.args[2])]
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
