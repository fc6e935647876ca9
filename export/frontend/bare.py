"""A bare copy of a user's module: without wrappers, in float32 on the CPU, with the weights that its layers use.

DataParallel and torch.compile wrap a module and compute the same.  Weight and spectral normalisation, pruning and
other parametrizations compute a weight anew in every call, from parameters under other names: here it is a parameter.
"""

import copy

import torch
from torch import Tensor, nn
from torch._dynamo import OptimizedModule
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils._pytree import tree_leaves

from spikeclip.errors import RefusedInput

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_HALF = (torch.float16, torch.bfloat16)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside of DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(module, _WRAPPERS):
            module = module.module
        elif isinstance(module, OptimizedModule):
            module = module._orig_mod
        else:
            return module


def bare(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """A bare copy of a module, in evaluation mode, and notes on what the copy changes; the module stays as it is.

    Raises:
        RefusedInput: a tensor has no numbers, as on the meta device.
    """
    module = unwrapped(module)
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    empty = next((name for name, tensor in named.items() if tensor.is_meta), None)
    if empty is not None:
        raise RefusedInput(f"tensor {empty!r} is on the meta device, without numbers; expected a module with weights")
    own = copy.deepcopy(module, _detached(module)).eval()
    for part in own.modules():
        _unparametrized(part)
    half = sorted({str(tensor.dtype) for tensor in named.values() if tensor.dtype in _HALF})
    notes = [f"weights of {kind}: computed in float32, where the module's own {kind} rounds" for kind in half]
    rounded = [name for name, tensor in named.items() if _rounds(tensor)]
    if rounded:
        notes.append(f"weights of torch.float64: rounded to float32 ({', '.join(rounded[:4])}; {len(rounded)} in all)")
    return own.float().cpu().requires_grad_(False), tuple(notes)


def _rounds(tensor: Tensor) -> bool:
    """Whether a tensor has values that float32 doesn't hold."""
    return tensor.dtype == torch.float64 and not torch.equal(tensor.float().double(), tensor)


def _detached(module: nn.Module) -> dict[int, object]:
    """The memo of a `deepcopy`: detached copies of tensors with a gradient, as of a membrane after training."""
    attributes = [value for part in module.modules() for value in vars(part).values()]
    flowing = (leaf for leaf in tree_leaves(attributes) if isinstance(leaf, Tensor) and not leaf.is_leaf)
    return {id(tensor): tensor.detach().clone() for tensor in flowing}


def _unparametrized(part: nn.Module) -> None:
    """Make parameters of the weights that a layer computes from others, in place."""
    if parametrize.is_parametrized(part):
        # By hand, as torch takes the property off a class that the copy shares with the user's own.
        values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}  # type: ignore[union-attr]
        part.__class__ = type(part).__bases__[0]
        del part.parametrizations
        for name, value in values.items():
            part.register_parameter(name, nn.Parameter(value))
    for hook in list(part._forward_pre_hooks.values()):
        match hook:
            case WeightNorm():
                remove_weight_norm(part, hook.name)
            case SpectralNorm():
                remove_spectral_norm(part, hook.name)
            case prune.BasePruningMethod():
                prune.remove(part, hook._tensor_name)  # type: ignore[no-untyped-call]
