"""The forward of a module whose neurons stand in its own code: its traced calls, with a module for each such neuron.

So parity steps those neurons with the graph's numbers, and everything else by the calls that the user's code makes.
Sizes in the calls are those of one input; for another number of images the code is traced anew.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from export.frontend.inline import with_inline_neurons
from export.frontend.interpreter import NEURONS, NeededCalls
from export.frontend.neurons.equations import Neurons
from export.frontend.neurons.standing import PlainNeurons
from export.frontend.neurons.stepping import Stepping
from export.frontend.operators import normalisation
from export.frontend.recording import made_in, rest
from export.frontend.tracing import Traced, replace_module, trace
from spikeclip.errors import RefusedInput


def run_as_traced(
    module: nn.Module, frames: Tensor, time_steps: int, traced: Traced, inline: Mapping[str, Neurons]
) -> tuple[str, ...]:
    """Give `module` such a forward, in place, and a part for each of its inline neurons; what was read, in sentences.

    Args:
        module: the user's own.
        frames: an input on which both forwards have to return the same.
        time_steps: T.
        traced: the module's calls.
        inline: equations of the neurons that stand in its forward, by their new path.

    Raises:
        RefusedInput: both forwards don't return the same.
    """
    if not inline:
        return ()
    untouched, stepped = copy.deepcopy(module), copy.deepcopy(module).double()
    stepped.forward = _TracedForward(stepped, untouched, time_steps)
    module.forward = _TracedForward(module, untouched, time_steps)
    for path, equation in traced.neurons.items():
        if path in inline:
            stepped.set_submodule(path, Stepping.alone(equation))
            module.set_submodule(path, PlainNeurons(Stepping.alone(equation), equation))
        else:
            replace_module(stepped, path, Stepping.alone(equation))
    _check(copy.deepcopy(untouched).double(), stepped, frames)
    counts = Counter(str(equation) for equation in inline.values())
    return tuple(f"neurons between layers, read by their algebra: {count} of {what}" for what, count in counts.items())


@torch.no_grad()
def _check(untouched: nn.Module, stepped: nn.Module, frames: Tensor) -> None:
    rest(untouched)
    with made_in(torch.float64):
        with _Wide():
            expected = tree_leaves(untouched(frames.clone()))[0]
        found = stepped(frames)
    if not torch.allclose(found, expected.to(found.dtype), rtol=1e-9, atol=1e-9):
        raise RefusedInput(
            "the module's own forward returns something else than its traced calls with neurons in the place of its "
            "membranes; expected neurons in modules of their own, which take currents to spikes"
        )


class _Wide(TorchFunctionMode):
    """Inside the context, code that asks for float32 gets what tensors are by default."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.float:
            return args[0].to(torch.get_default_dtype())
        args, kwargs = tree_map(_as_wide_as_the_module, (args, kwargs or {}))
        return function(*args, **kwargs)


class _TracedForward:
    """The forward of `module`: the calls of `untouched`, traced anew for every shape of the input."""

    def __init__(self, module: nn.Module, untouched: nn.Module, time_steps: int) -> None:
        self.module, self.untouched, self.time_steps = module, untouched, time_steps
        self.calls: dict[torch.Size, _Calls] = {}

    def __call__(self, x: Tensor) -> Any:
        """The module's result, of several the first."""
        if x.shape not in self.calls:
            traced = trace(self.untouched, torch.zeros(x.shape, dtype=torch.float32))
            with_inline_neurons(traced, self.time_steps)
            self.calls[x.shape] = _Calls(traced, self.module)
        return self.calls[x.shape].on(x)


class _Calls(NeededCalls):
    """Runs the traced calls with the tensors, neurons and normalisations that a module has now."""

    def __init__(self, traced: Traced, module: nn.Module) -> None:
        super().__init__(traced.program.graph_module, traced.returned[0])
        self.own, self.paths, self.constants = module, traced.placeholders, traced.program.constants

    def on(self, x: Tensor) -> Any:
        """The result for an input."""
        return self.of(*(x if path is None else self._tensor(path) for path in self.paths.values()))

    def _tensor(self, path: str) -> Any:
        return self.constants[path] if path in self.constants else attrgetter(path)(self.own)

    def run_node(self, n: fx.Node) -> Any:
        if n.target not in normalisation.TABLE:
            return super().run_node(n)
        # With the module's own eps, which writing back changes.
        (x, *_), _ = self.fetch_args_kwargs_from_env(n)
        path = self.paths[n.args[3]] or ""  # type: ignore[index]
        norm: Any = self.own.get_submodule(path.rpartition(".")[0])
        settings = (norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
        normed = nn.functional.batch_norm(x, *settings)
        return normed if n.target is torch.ops.aten.batch_norm.default else (normed, None, None)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is NEURONS:
            return self._fired(args[0], args[2])
        args, kwargs = tree_map(_as_wide_as_the_module, (args, kwargs))
        return super().call_function(target, args, kwargs)

    def _fired(self, currents: Tensor, key: str) -> Tensor:
        part: Any = self.own.get_submodule(key)
        axis = part.neurons.time_axis
        found = part(currents.movedim(0, axis))
        spikes: Tensor = found[0] if isinstance(found, tuple) else found
        return spikes.movedim(axis, 0).clone()  # which code may write into


def _as_wide_as_the_module(argument: Any) -> Any:
    """The default dtype in place of float32: in parity the module runs in float64, and so do its traced calls."""
    return torch.get_default_dtype() if argument is torch.float32 else argument
