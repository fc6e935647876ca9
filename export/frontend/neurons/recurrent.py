"""SpikingJelly's recurrent containers: a matrix, or nothing, and neurons whose spikes come back one step later.

LinearRecurrentContainer:        y_t = neurons(W x_t + V y_t-1 + b)
ElementWiseRecurrentContainer:   y_t = neurons(x_t + y_t-1), where the function of its user's is a sum
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from export.frontend.neurons import spikingjelly
from export.frontend.neurons.equations import Recurrence, package_of
from export.frontend.neurons.standing import PlainNeurons


@torch.no_grad()
def with_recurrent_neurons(module: nn.Module) -> tuple[str, ...]:
    """Put a layer and neurons in the place of each container that is known here, in place; how many, in a sentence.

    Raises:
        RefusedInput: a container's neurons have an equation that is not known here.
    """
    found = []
    containers: list[tuple[str, Any]] = list(module.named_modules())
    for path, part in containers:
        if package_of(type(part)) != "spikingjelly":
            continue
        match type(part).__name__:
            case "LinearRecurrentContainer":
                weight = part.rc.weight.detach()
                inputs = weight.shape[1] - part.sub_module_out_features
                layer = nn.Linear(inputs, len(weight), part.rc.bias is not None)
                layer.weight.copy_(weight[:, :inputs])
                if part.rc.bias is not None:
                    layer.bias.copy_(part.rc.bias)
                parts: list[nn.Module] = [layer]
                recurrence = Recurrence(weight[:, inputs:].double())
            case "ElementWiseRecurrentContainer" if _adds(part.element_wise_function):
                parts, recurrence = [], Recurrence(torch.ones((), dtype=torch.float64))
            case _:
                continue
        neurons = spikingjelly.read(part.sub_module, f"{path}.sub_module")
        if neurons is None:
            continue
        equation = replace(neurons, multi_step=part.step_mode == "m", recurrence=recurrence)
        module.set_submodule(path, nn.Sequential(*parts, PlainNeurons(nn.Identity(), equation)))
        found.append(path)
    return (f"{len(found)} recurrent containers, {found[0]} first: a layer and neurons each",) if found else ()


def _adds(function: Any) -> bool:
    """Whether a function of two tensors is their sum."""
    a, b = torch.rand(2, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = function(a, b)
    return isinstance(found, Tensor) and torch.equal(found, a + b)
