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

from export.frontend.neurons import norse, snntorch, spikingjelly
from export.frontend.neurons.equations import Neurons
from export.frontend.neurons.measuring import measured
from spikeclip.errors import RefusedInput

LIBRARIES = frozenset({"torch", "torchvision", "timm", "einops", "spikingjelly", "snntorch", "norse"})
"""Packages whose modules are no neurons, or read by their parameters."""


class PlainNeurons(nn.Module):
    """Stands for neurons of the user's: their code, with the equation that was read off it.

    Attributes:
        neurons: the equation.
    """

    def __init__(self, original: nn.Module, neurons: Neurons) -> None:
        super().__init__()
        self.neurons = neurons
        self._original = (original,)  # hidden: its parts are none of the network's any more

    def forward(self, x: Tensor) -> Any:
        return self._original[0](x)


class InTurn(nn.Module):
    """One module that the network calls several times, as often as it has parts: each call is another part's."""

    def __init__(self, parts: list[PlainNeurons]) -> None:
        super().__init__()
        self.count, self.calls = len(parts), 0
        for index, part in enumerate(parts, 1):
            self.add_module(str(index), part)

    def forward(self, x: Tensor) -> Any:
        self.calls = self.calls % self.count + 1
        return self.get_submodule(str(self.calls))(x)


def read(module: Any, key: str) -> Neurons | None:
    """As `libraries.READERS`."""
    return module.neurons if isinstance(module, PlainNeurons) else None


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
        for alias, part in list(module.named_modules(remove_duplicate=False)):
            if part is original:
                module.set_submodule(alias, parts[0] if len(parts) == 1 else InTurn(parts))
        counts[f"{type(original).__name__}: {_said(found)}"] += 1
    return tuple(f"neurons in plain PyTorch, read by their spikes: {count} {what}" for what, count in counts.items())


def _said(neurons: Neurons) -> str:
    sign = ">=" if neurons.at_threshold else ">"
    return f"v = {1 - neurons.decay:g} v + x, spikes at v {sign} {neurons.threshold:g}, reset {neurons.reset}"


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
    return any(kind.__module__.split(".")[0] in LIBRARIES for kind in kinds)


def _is_librarys(part: nn.Module) -> bool:
    """Whether a module is a neuron of a library, or of its form: one that is read by its parameters, or refused."""
    try:
        return any(reader(part, "") is not None for reader in (spikingjelly.read, snntorch.read, norse.read))
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
