"""Recording: every spike of every population of the snapped torch model, under the names of the NIR graph."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.convert import Prepared
from export.frames import check_frames
from export.frontend.recording import fired
from neuromorphic.cluster.ranges import batches
from neuromorphic.ir.trace import SpikeTrain


@dataclass(frozen=True)
class Recording:
    """A run of the torch model.

    Attributes:
        spikes: of each population, by name.
        outputs: float32 `[N, T, classes]`.
    """

    spikes: dict[str, SpikeTrain]
    outputs: NDArray[np.float32]


@contextmanager
def recorder(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, SpikeTrain]]:
    """Inside the context, the spikes of the modules in `names` are kept; names of no module are left out."""
    kept: dict[str, SpikeTrain] = {}
    modules = dict(model.named_modules())
    with ExitStack() as hooks:
        for name in names:
            if name in modules:
                hooks.enter_context(modules[name].register_forward_hook(partial(_keep, kept, name)))
        yield kept


def _keep(kept: dict[str, SpikeTrain], name: str, module: nn.Module, arguments: Any, spikes: Tensor) -> None:
    """A forward hook on neurons that send `[T, N, ...]`."""
    kept[name] = SpikeTrain.pack(fired(spikes, name).transpose(0, 1).numpy())


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
    spikes: dict[str, SpikeTrain] = {}
    outputs: list[NDArray[np.float32]] = []
    for images in batches(len(frames), batch):
        part = torch.from_numpy(frames[images])
        # The Winograd convolutions of NNPACK round.
        with recorder(model.encoder, prepared.populations) as kept, torch.backends.nnpack.flags(enabled=False):
            outputs.append(model.outputs(part).transpose(0, 1).numpy())
        for name, part_of in kept.items():
            # Filled in place: traces of a whole test set are gigabytes, and lists of parts would double them.
            if name not in spikes:
                spikes[name] = SpikeTrain(np.empty((len(frames), *part_of.bits.shape[1:]), np.uint8), part_of.shape)
            spikes[name].bits[images] = part_of.bits
    return Recording(spikes, np.concatenate(outputs))
