"""Layers of the user's whose forward computes a weight: standardised, binary, quantised, masked.

Such a layer becomes the one that it is derived from, with the weight that it uses as its parameter, where both return
the same on random inputs; where they don't, as where it rounds what it reads too, it stays as it is.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from export.frontend.neurons.equations import package_of

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
_WEIGHTED = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.linear)
_LIBRARIES = ("torch", "spikingjelly")


@torch.no_grad()
def with_fixed_weights(module: nn.Module) -> tuple[str, ...]:
    """Give such layers of `module` a fixed weight, in place; the note says how many there are."""
    paths = [path for path, part in module.named_modules() if isinstance(part, _LAYERS) and _fixed(part)]
    return (f"{len(paths)} layers whose code computes their weight, {paths[0]} first: as it is now",) if paths else ()


def _fixed(part: Any) -> bool:
    """Give a layer its computed weight as a parameter and the class of its library; False if it stays as it was."""
    plain = next(kind for kind in type(part).__mro__ if package_of(kind) in _LIBRARIES)
    theirs = [kind for kind in type(part).__mro__ if package_of(kind) not in _LIBRARIES]
    if not any({"forward", "_conv_forward"} & set(vars(kind)) for kind in theirs):
        return False
    x = _example(part)
    try:
        with _Calls() as seen:
            expected = part(x)
        ((_, weight, *rest),) = seen.arguments
    except Exception:  # of the user's code, which tracing will meet again; or several calls, or none
        return False
    bias = next((value for value in rest if isinstance(value, Tensor)), None)
    if weight.shape != part.weight.shape:
        return False
    before, own = type(part), dict(part._parameters)
    part.__class__ = plain
    part.weight = nn.Parameter(weight.detach().clone(), False)
    part.bias = None if bias is None else nn.Parameter(bias.detach().clone(), False)
    found = part(x)
    if found.shape == expected.shape and torch.equal(found, expected):
        return True
    part.__class__ = before
    part._parameters.update(own)
    return False


def _example(part: Any) -> Tensor:
    """A random input of a layer: 2 images, with 2 time steps if the layer has a time axis."""
    lead = (2, 2) if getattr(part, "step_mode", "s") == "m" else (2,)
    if isinstance(part, nn.Linear):
        shape: tuple[int, ...] = (part.in_features,)
    else:
        reach = (d * (k - 1) + 2 for d, k in zip(part.dilation, part.kernel_size, strict=True))
        shape = (part.in_channels, *reach)
    return torch.randn(*lead, *shape, generator=torch.Generator().manual_seed(0))


class _Calls(TorchFunctionMode):
    """Inside the context, the arguments of every convolution and linear layer are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: list[list[Any]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _WEIGHTED:
            self.arguments.append([*args[:3], *[v for k, v in (kwargs or {}).items() if k == "bias"]])
        return function(*args, **(kwargs or {}))
