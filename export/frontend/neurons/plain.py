"""Neurons written out in plain PyTorch: modules of the user's own that take currents to spikes.

Their code may be of any form: a loop over time around a custom autograd function, membranes in lists or in place, time
as the first, the second or the last axis.  So they are read by what they do (`measuring`).
"""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from export.frontend.neurons.equations import package_of
from export.frontend.neurons.libraries import read
from export.frontend.neurons.measuring import measured
from export.frontend.neurons.standing import InTurn, PlainNeurons
from export.frontend.tracing import replace_module
from spikeclip.errors import RefusedInput

LIBRARIES = frozenset({"torch", "torchvision", "timm", "einops", "spikingjelly", "snntorch", "norse"})
"""Packages whose modules are no neurons, or read by their parameters."""


@torch.no_grad()
def with_plain_neurons(module: nn.Module, example: Tensor, time_steps: int) -> tuple[str, ...]:
    """Put `PlainNeurons` in the place of the user's own, in place; what was read, in sentences.

    Args:
        module: in evaluation mode.
        example: an input.
        time_steps: T.

    Raises:
        RefusedInput: a module sends spikes by no equation that is known here.
    """
    candidates = _candidates(module)
    if not candidates:
        return ()
    counts, inside = Counter[str](), tuple[str, ...]()
    for path, shapes in _shapes(module, candidates, example).items():
        original = candidates[path]
        found = None if path.startswith(inside) else measured(original, path, shapes, time_steps)
        if found is None:
            continue
        inside = (*inside, f"{path}.")
        parts = [PlainNeurons(original, found) for _ in range(len(shapes) if found.multi_step else 1)]
        replace_module(module, path, parts[0] if len(parts) == 1 else InTurn(parts))
        counts[f"{type(original).__name__}: {found}"] += 1
    return tuple(f"neurons in plain PyTorch, read by their spikes: {count} {what}" for what, count in counts.items())


def _candidates(module: nn.Module) -> dict[str, nn.Module]:
    """Modules that could be such neurons: of no library, without weights, neither inside nor around a library's."""
    known = tuple(f"{path}." for path, part in module.named_modules() if _is_librarys(part))
    return {
        path: part
        for path, part in module.named_modules()
        if path
        and not path.startswith(known)
        and not _is_of_library(part)
        and all(parameter.numel() == 1 for parameter in part.parameters())
        and not any(_is_librarys(inner) for inner in part.modules())
    }


def _is_of_library(part: nn.Module) -> bool:
    kinds = (kind for kind in type(part).__mro__ if issubclass(kind, nn.Module) and kind is not nn.Module)
    return any(package_of(kind) in LIBRARIES for kind in kinds)


def _is_librarys(part: nn.Module) -> bool:
    """Whether a module is a neuron of a library, or of its form: one that is read by its parameters, or refused."""
    try:
        return read(part, "") is not None
    except RefusedInput:
        return _is_of_library(part)


def _shapes(module: nn.Module, candidates: dict[str, nn.Module], example: Tensor) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of what each of `candidates` reads, call by call, in a run of a copy; without those that read others."""
    own = copy.deepcopy(module)
    seen: dict[str, list[tuple[int, ...]]] = {path: [] for path in candidates}
    odd: set[str] = set()

    def keep(path: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
                seen[path].append(tuple(args[0].shape))
            else:
                odd.add(path)

        return hook

    for path in candidates:
        own.get_submodule(path).register_forward_pre_hook(keep(path), with_kwargs=True)
    try:
        own(example)
    except Exception:  # the user's own code: tracing meets it again, and says where
        return {}
    return {path: shapes for path, shapes in seen.items() if shapes and path not in odd}
