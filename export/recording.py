"""Recording: every spike of every population of the snapped torch model, under the names of the NIR graph."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.convert import Prepared
from export.frames import check_frames
from neuromorphic.cluster.ranges import batches
from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class Recording:
    """A run of the torch model.

    Attributes:
        spikes: per population its bits and its shape: uint8 `[N, T, ceil(n / 8)]`, in the order of numpy's packbits
            over the flattened population, and (C, H, W).
        outputs: float32 `[N, T, classes]`.
    """

    spikes: dict[str, tuple[NDArray[np.uint8], tuple[int, ...]]]
    outputs: NDArray[np.float32]


@contextmanager
def recorder(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, tuple[NDArray[np.uint8], tuple[int, ...]]]]:
    """Inside the context, the packed spikes of the modules in `names` are kept; names of no module are left out."""
    kept: dict[str, tuple[NDArray[np.uint8], tuple[int, ...]]] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, arguments: Any, spikes: Tensor) -> None:
            kept[name] = _pack(spikes, name)

        return hook

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(keep(name)) for name in names if name in modules]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _pack(spikes: Tensor, name: str) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    fired = spikes != 0
    if not torch.equal(fired.to(spikes.dtype), spikes):
        raise RefusedInput(f"module {name!r} returns values other than 0 and 1; expected spikes")
    by_image = fired.transpose(0, 1).flatten(2).numpy()
    return np.packbits(by_image, axis=-1), tuple(spikes.shape[2:])


@torch.no_grad()
def record(prepared: Prepared, frames: NDArray[np.float32], batch: int = 32) -> Recording:
    """Run the snapped model on `frames` and keep all of its spikes.

    Args:
        prepared: as `convert.prepare` returns it.
        frames: float32 `[N, C, H, W]` as `Prepared.encode` returns them.
        batch: images per forward pass; it changes no result.

    Raises:
        RefusedInput: no frames, or of another shape than the encoder reads.
    """
    check_frames(frames, prepared.frame_shape)
    model = prepared.model
    spikes: dict[str, tuple[NDArray[np.uint8], tuple[int, ...]]] = {}
    outputs: list[NDArray[np.float32]] = []
    for images in batches(len(frames), batch):
        part = torch.from_numpy(frames[images])
        # The Winograd convolutions of NNPACK round.
        with recorder(model.encoder, prepared.populations) as kept, torch.backends.nnpack.flags(enabled=False):
            outputs.append(model.outputs(part).transpose(0, 1).numpy())
        for name, (bits, shape) in kept.items():
            # Filled in place: traces of a whole test set are gigabytes, and lists of parts would double them.
            whole, _ = spikes.setdefault(name, (np.empty((len(frames), *bits.shape[1:]), np.uint8), shape))
            whole[images] = bits
    return Recording(spikes, np.concatenate(outputs))
