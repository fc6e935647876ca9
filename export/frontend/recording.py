"""Recording: every spike of the user's own module, run by its own code, under the names of the graph."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from export.frames import check_frames
from export.frontend.inputs import Inputs
from spikeclip.errors import RefusedInput


@dataclass(frozen=True, eq=False)
class Place:
    """Where the spikes of one of the module's neurons lie in the graph.

    Attributes:
        node: name of the population.
        elements: for each of the module's neurons, which of the population's it is; -1 for one that isn't there.
        multi_step: whether the module is called once, with a time axis.
    """

    node: str
    elements: NDArray[np.int64]
    multi_step: bool


@dataclass(frozen=True)
class ModuleRecording:
    """What the module did.

    Attributes:
        spikes: per population its bits and its shape: uint8 `[N, T, ceil(n / 8)]`, in the order of numpy's packbits.
        result: what the module returned, float64 `[N, ...]`, or `[T, N, ...]` where it has a time axis.
    """

    spikes: dict[str, tuple[NDArray[np.uint8], tuple[int, ...]]]
    result: NDArray[np.float64]


@torch.no_grad()
def record_module(
    module: nn.Module,
    places: Mapping[str, tuple[Place, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    inputs: Inputs,
    time_steps: int,
    frames: NDArray[np.float32],
    images_first: bool,
    batch: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ModuleRecording:
    """Run `module` on `frames` and keep the spikes of all its neurons.

    Args:
        module: the user's own, with the graph's numbers.
        places: per path of a neuron, where its spikes lie in the graph.
        shapes: of the populations that are recorded, by name.
        inputs: what the module reads.
        time_steps: T.
        frames: float32 `[N, *frame]`, of timed inputs `[N, T, *frame]`.
        images_first: whether the result's first axis is images, not time.
        batch: images per forward pass; it changes no result.
        progress: called with (images done, images in all).

    Raises:
        RefusedInput: no frames, or of another shape than the module reads.
    """
    steps = (time_steps,) if inputs.axes.timed else ()
    check_frames(frames, (*steps, *inputs.frame))
    dtype = next((p.dtype for p in module.parameters()), torch.float64)
    kept: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in shapes}
    results = []
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        rest(module)
        with watched(module, places, dtype) as seen, torch.backends.nnpack.flags(enabled=False):
            result = module(inputs.tensor(part, dtype))
        results.append(tree_leaves(result)[0].double().numpy())
        for name, bits in _assembled(seen, places, shapes, len(part), time_steps).items():
            kept[name].append(bits)
        progress(min(start + batch, len(frames)), len(frames))
    joined = np.concatenate(results, axis=0 if images_first else 1)
    return ModuleRecording({name: (np.concatenate(bits), shapes[name]) for name, bits in kept.items()}, joined)


def rest(module: nn.Module) -> None:
    """Set every neuron of a module to rest."""
    parts: Iterable[Any] = module.modules()
    for part in parts:
        if part is module:
            continue
        if hasattr(part, "reset_mem"):
            part.reset_mem()
        elif hasattr(part, "_memories") or type(part).__name__ == "Stepping":
            part.reset()


@contextmanager
def watched(
    module: nn.Module, places: Mapping[str, tuple[Place, ...]], dtype: torch.dtype
) -> Iterator[dict[str, list[Tensor]]]:
    """Inside the context, what the modules at `places` return is kept, call by call; spikes get the dtype."""
    seen: dict[str, list[Tensor]] = {key: [] for key in places}

    def keep(key: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(part: nn.Module, args: Any, result: Any) -> Any:
            spikes, *others = result if isinstance(result, tuple) else (result,)
            seen[key].append(spikes != 0)
            if not torch.equal(seen[key][-1].to(spikes.dtype), spikes):
                raise RefusedInput(f"module {key!r} returns values other than 0 and 1; expected spikes")
            spikes = spikes.to(dtype)
            return (spikes, *others) if isinstance(result, tuple) else spikes

        return hook

    handles = [module.get_submodule(key).register_forward_hook(keep(key)) for key in places]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _assembled(
    seen: Mapping[str, list[Tensor]],
    places: Mapping[str, tuple[Place, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    images: int,
    steps: int,
) -> dict[str, NDArray[np.uint8]]:
    """The populations of the graph, bits `[images, T, ...]`, from what the module's neurons sent."""
    whole = {name: np.zeros((images, steps, prod(shape)), np.bool_) for name, shape in shapes.items()}
    for key, calls in seen.items():
        for place in places[key]:
            found = calls[0] if place.multi_step else torch.stack(calls)
            spikes = found.reshape(steps, images, -1).transpose(0, 1).numpy()
            there = place.elements >= 0
            whole[place.node][:, :, place.elements[there]] = spikes[:, :, there]
    return {name: np.packbits(spikes, axis=-1) for name, spikes in whole.items()}
