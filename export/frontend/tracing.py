"""Tracing: the module's own code runs once on fake tensors, with every neuron an opaque operator.

`torch.export`, not strict, executes the code as it is: control flow on shapes, einops, loops over time, whatever the
module calls.  What remains are ATen calls with concrete shapes.  A neuron becomes one call that names the module, so
that nothing of its inside (state, surrogate, backend) is traced.
"""

import copy
import re
import warnings
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import torch.fx.config
from torch import Tensor, fx, nn
from torch.fx import _lazy_graph_module as graph_modules

from export.frontend.neurons.equations import Neurons
from export.frontend.neurons.libraries import neurons_of, returned_states
from export.frontend.neurons.standing import StateReset
from spikeclip.errors import RefusedInput


@torch.library.custom_op("spikeclip::neurons", mutates_args=())
def _neurons(x: Tensor, states: list[Tensor], key: str) -> Tensor:
    return torch.zeros_like(x)


@_neurons.register_fake
def _(x: Tensor, states: list[Tensor], key: str) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("spikeclip::membrane", mutates_args=())
def _membrane(x: Tensor, key: str) -> Tensor:
    return torch.zeros_like(x)


@_membrane.register_fake
def _(x: Tensor, key: str) -> Tensor:
    return torch.empty_like(x)


@dataclass(frozen=True)
class Traced:
    """A module's code as ATen calls.

    Attributes:
        program: torch's own.
        neurons: the equation of every neuron, by path.
        leaves: paths of the modules without submodules.
    """

    program: torch.export.ExportedProgram
    neurons: dict[str, Neurons]
    leaves: frozenset[str]

    @property
    def placeholders(self) -> dict[fx.Node, str | None]:
        """The path of the tensor that each placeholder stands for, in their order; None for the module's input."""
        signature = self.program.graph_signature
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        return {call: names.get(call.name) for call in self.program.graph.nodes if call.op == "placeholder"}

    @property
    def state(self) -> dict[str, Tensor]:
        """Tensors by their path."""
        return {**self.program.state_dict, **self.program.constants}

    @property
    def returned(self) -> list[Any]:
        """The results of the module that are not None: each is the name of a call, or a constant of the code."""
        return [result for result in self.program.graph_signature.user_outputs if result is not None]


COMPARISONS = {
    *(getattr(torch.ops.aten, name).Scalar for name in ("gt", "ge")),
    *(getattr(torch.ops.aten, name).Tensor for name in ("gt", "ge")),
    torch.ops.aten.heaviside.default,
}
"""Operators that make spikes of membranes."""


def writes(call: fx.Node) -> bool:
    """Whether a call writes into a tensor that it gets."""
    schema = getattr(call.target, "_schema", None)
    return schema is not None and schema.is_mutable and not schema.name.startswith("aten::_assert")


def path_of(call: fx.Node) -> str:
    """The path of the innermost module whose code makes a call; empty for the module itself."""
    stack: dict[str, tuple[str, Any]] = call.meta.get("nn_module_stack", {})
    paths = [re.sub(r"@\d+", "", path) for path, _ in stack.values()]
    return paths[-1] if paths else ""


def trace(module: nn.Module, example: Tensor) -> Traced:
    """The calls of `module(example)`; the module stays as it is.

    Raises:
        RefusedInput: there are neither neurons nor comparisons, a neuron has no equation here, or the code can't be
            traced.
    """
    neurons = neurons_of(module)
    root = copy.deepcopy(module).eval().requires_grad_(False)
    for path in neurons:
        replace_module(root, path, _Opaque(path, root.get_submodule(path), neurons[path]))
    # Code that reshapes its input in place, as `x.unsqueeze_(1)`, reshapes a copy.
    root.register_forward_pre_hook(lambda module, args: (args[0].clone(),))
    leaves = frozenset(path for path, part in root.named_modules() if path and not any(True for _ in part.children()))
    try:
        # Which line of the module's code each call stands in takes an eighth of the time, and writing Python code of
        # every graph on the way a fifth; nothing here reads either.
        without_lines = mock.patch.object(torch.fx.config, "do_not_emit_stack_traces", True, create=True)
        without_code = graph_modules._use_lazy_graph_module(True)
        with torch.no_grad(), warnings.catch_warnings(), without_lines, without_code:
            warnings.simplefilter("ignore")  # of torch.export, about itself
            program = torch.export.export(root, (example,), strict=False)
            targets = {call.target for call in program.graph.nodes}
            in_place = any(writes(call) for call in program.graph.nodes) and targets & COMPARISONS
            if torch.ops.aten.copy_.default in targets or in_place:
                program = program.run_decompositions({})  # `x[t] = y` as a function of both
    except RefusedInput:
        raise
    except Exception as error:  # whatever the module's own code, or torch's tracing of it, raises
        reason = " ".join(str(error).split())[:300]
        raise RefusedInput(
            f"{type(module).__name__} can't be traced on an input of {list(example.shape)} "
            f"({type(error).__name__}: {reason}); expected a shape that it takes (--input, --axes) and code that "
            "depends on shapes alone, not on values"
        ) from error
    if not neurons and not any(call.target in COMPARISONS for call in program.graph.nodes):
        raise RefusedInput(
            f"{type(module).__name__} has no neurons of a known library, nor code of its own that takes currents to "
            "spikes; expected SpikingJelly's, snnTorch's or Norse's, or such code"
        )
    return Traced(program, neurons, leaves)


def replace_module(root: nn.Module, path: str, replacement: nn.Module) -> None:
    """Replace a module, in place: at its path, and at every other path that leads to the same module."""
    original = root.get_submodule(path)
    for alias, part in list(root.named_modules(remove_duplicate=False)):
        if part is original:
            root.set_submodule(alias, replacement)


class _Opaque(StateReset, nn.Module):
    """Stands for a neuron while its module is traced: one call that names it, with the states that it gets."""

    COPIED = ("v_threshold", "v_reset", "tau", "step_mode", "backend", "threshold", "beta", "alpha")
    """Attributes that code around neurons reads."""

    def __init__(self, key: str, original: nn.Module, neurons: Neurons) -> None:
        super().__init__()
        self.key, self.neurons = key, neurons
        for name in self.COPIED:
            if hasattr(original, name):
                value = getattr(original, name)
                setattr(self, name, value.detach() if isinstance(value, Tensor) else value)
        self.states = returned_states(original)

    def forward(self, x: Tensor, *states: Tensor, **named: Tensor) -> Any:
        given = [s for s in (*states, *named.values()) if isinstance(s, Tensor) and s.shape == x.shape]
        axis = self.neurons.time_axis
        in_time = x.movedim(axis, 0) if axis else x
        spikes = torch.ops.spikeclip.neurons(in_time, given, self.key)
        if axis:
            spikes = spikes.movedim(0, axis)
        if not self.states:
            return spikes
        return (spikes, *(torch.ops.spikeclip.membrane(spikes, self.key) for _ in range(self.states)))
