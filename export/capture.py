"""From a module to the graph of what it calls: symbolic tracing that stops at layers and refuses everything unknown."""

import copy
import operator
from collections.abc import Callable, Container
from typing import Any

import torch
from spikingjelly.activation_based import base, functional
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from spikeclip.errors import RefusedInput
from spikeclip.neurons import And, SpikingSelfAttention, TokenSum

ADDITIONS: tuple[Callable[..., Any], ...] = (operator.add, operator.iadd, torch.add)
"""Functions that become edges into one node; each of exactly two traced tensors."""


OPERATIONS = And | TokenSum | SpikingSelfAttention
"""The encoders' own operations without weights."""


class _Tracer(fx.Tracer):
    """Traces `method` of a module; layers of torch and SpikingJelly, and `OPERATIONS`, are called, not entered."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.traced_func_name = method
        self.entered = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        self.entered = module_qualified_name
        known = isinstance(m, base.StepModule | OPERATIONS)  # what SpikingJelly has, and what inherits from it
        return known or super().is_leaf_module(m, module_qualified_name)


def capture(module: nn.Module, method: str, known: Container[type]) -> fx.GraphModule:
    """A copy of `module.method` as a graph of calls.

    Requires: the method takes one tensor, and its control flow doesn't depend on values.
    Ensures: every node is the one input, the output, a call of a module whose type is in `known`, or an addition of
    two traced tensors.

    Raises:
        RefusedInput: something else happens in the method; the module's path and what was found are named.
    """
    tracer = _Tracer(method)
    root = copy.deepcopy(module).eval()
    try:
        graph = tracer.trace(root)
    except (fx.proxy.TraceError, TypeError, AttributeError, RuntimeError) as error:
        where = f"in or after module {tracer.entered!r}" if tracer.entered else f"in {type(module).__name__}.{method}"
        raise RefusedInput(f"{where}: cannot be traced ({error}); expected layers and additions alone") from error
    traced = fx.GraphModule(root, graph)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise RefusedInput(f"{type(module).__name__}.{method} takes {len(inputs)} tensors; expected one")
    for node in graph.nodes:
        _refuse_unknown(node, traced, known)
    return traced


def _refuse_unknown(node: fx.Node, traced: fx.GraphModule, known: Container[type]) -> None:
    if node.op in ("placeholder", "output"):
        return
    if node.op == "call_module":
        found = type(traced.get_submodule(str(node.target)))
        if found not in known:
            raise RefusedInput(f"module {node.target!r} is of type {found.__name__}, which has no lowering")
    elif node.op == "call_function" and node.target in ADDITIONS:
        if node.kwargs or len(node.args) != 2 or not all(isinstance(a, fx.Node) for a in node.args):
            raise RefusedInput(f"{inside(node)}: {node.format_node()} adds something else than two traced tensors")
    else:
        name = getattr(node.target, "__name__", str(node.target))
        raise RefusedInput(f"{inside(node)} calls {name}, which has no lowering; expected layers and additions alone")


def inside(node: fx.Node) -> str:
    """The path of the module whose code made `node`, for messages."""
    stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    return f"module {stack[-1]!r}" if stack and stack[-1] else "the encoder"


def shapes(traced: fx.GraphModule, frame: tuple[int, int, int]) -> dict[fx.Node, tuple[int, ...]]:
    """Shape of every traced tensor, without time and batch, for an input `[1, 1, *frame]`.

    Raises:
        RefusedInput: a module doesn't accept the shape that it gets.
    """
    functional.reset_net(traced)
    try:
        with torch.no_grad():
            ShapeProp(traced).propagate(torch.zeros(1, 1, *frame))
    except (RuntimeError, ValueError) as error:
        raise RefusedInput(f"the encoder doesn't run on frames of the shape {list(frame)}: {error}") from error
    functional.reset_net(traced)
    return {node: tuple(node.meta["tensor_meta"].shape[2:]) for node in traced.graph.nodes if node.op != "output"}
