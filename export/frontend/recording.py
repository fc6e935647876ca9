"""Recording: every spike of the user's own module, run by its own code, under the names of the graph."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from export.frames import check_frames
from export.frontend.inputs import Inputs
from export.frontend.neurons.equations import Neurons
from export.frontend.neurons.stepping import Stepping
from neuromorphic.cluster.ranges import batches
from neuromorphic.ir.trace import SpikeTrain
from spikeclip.errors import RefusedInput


@dataclass(frozen=True, eq=False)
class Place:
    """The place of the spikes of one of the module's neurons in the graph.

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
    """A run of the module.

    Attributes:
        spikes: of each population, by name.
        result: what the module returned, float64 `[N, ...]`, or `[T, N, ...]` where it has a time axis.
    """

    spikes: dict[str, SpikeTrain]
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
    batch: int,
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

    Raises:
        RefusedInput: no frames, or of another shape than the module reads.
    """
    steps = (time_steps,) if inputs.axes.timed else ()
    check_frames(frames, (*steps, *inputs.frame))
    dtype = next((p.dtype for p in module.parameters()), torch.float64)
    kept: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in shapes}
    results = []
    for images in batches(len(frames), batch):
        part = frames[images]
        rest(module)
        quiet = torch.backends.nnpack.flags(enabled=False)
        with watched(module, places, dtype) as seen, made_in(dtype), quiet:
            result = module(inputs.tensor(part, dtype))
        results.append(tree_leaves(result)[0].double().numpy())
        for name, bits in _assembled(seen, places, shapes, len(part), time_steps).items():
            kept[name].append(bits)
    joined = np.concatenate(results, axis=0 if images_first else 1)
    return ModuleRecording({name: SpikeTrain(np.concatenate(kept[name]), shapes[name]) for name in kept}, joined)


@contextmanager
def made_in(dtype: torch.dtype) -> Iterator[None]:
    """Inside the context, `dtype` is torch's default: that of tensors made without a dtype, as by `torch.zeros`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def rest(module: nn.Module) -> None:
    """Set every neuron of a module to rest."""
    parts: Iterable[Any] = module.modules()
    for part in parts:
        if part is module:
            continue
        if hasattr(part, "reset_mem"):
            part.reset_mem()
        elif hasattr(part, "_memories") or isinstance(part, Stepping):
            part.reset()


@contextmanager
def watched(
    module: nn.Module, places: Mapping[str, tuple[Place, ...]], dtype: torch.dtype
) -> Iterator[dict[str, list[Tensor]]]:
    """Inside the context, what the modules at `places` return is kept, call by call; spikes get the dtype."""
    seen: dict[str, list[Tensor]] = {key: [] for key in places}
    with ExitStack() as hooks:
        for key, calls in seen.items():
            hooks.enter_context(module.get_submodule(key).register_forward_hook(partial(_keep, key, calls, dtype)))
        yield seen


def _keep(key: str, calls: list[Tensor], dtype: torch.dtype, part: nn.Module, args: Any, result: Any) -> Any:
    """A forward hook: what a neuron returns beside its spikes stays as it is."""
    spikes, *others = result if isinstance(result, tuple) else (result,)
    neurons = getattr(part, "neurons", None)  # of those that stand for the user's, whose time may be any axis
    calls.append(fired(spikes, key).movedim(neurons.time_axis if isinstance(neurons, Neurons) else 0, 0))
    return (spikes.to(dtype), *others) if isinstance(result, tuple) else spikes.to(dtype)


def fired(spikes: Tensor, path: str) -> Tensor:
    """`spikes != 0`, bool of the same shape.

    Raises:
        RefusedInput: the module at `path` sent other values than 0 and 1.
    """
    found = spikes != 0
    if not torch.equal(found.to(spikes.dtype), spikes):
        raise RefusedInput(f"module {path!r} returns values other than 0 and 1; expected spikes")
    return found


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
