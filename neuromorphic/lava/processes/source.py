"""An input of the graph: one frame per time step, images back to back."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class SourceProcess(AbstractProcess):
    """`out[t] = frame t mod T of the images t // T`, zeros after the last image.

    Args:
        frames: float32 `[N, T, *shape]`, or `[N, 1, *shape]` where an image presents the same frame T times.
        time_steps: T.
        batch: images at a time; image `i` runs in copy `i mod batch`.
        lead: `(batch,)`, or `()` for messages without a batch axis.
    """

    def __init__(self, *, frames: Any, time_steps: int, batch: int, lead: tuple[int, ...]) -> None:
        super().__init__(frames=frames, time_steps=time_steps, batch=batch, lead=lead)
        self.out = OutPort(shape=(*lead, *frames.shape[2:]))


@implements(proc=SourceProcess, protocol=LoihiProtocol)
@requires(CPU)
class SourceModel(PyLoihiProcessModel):
    """Reads frames from memory or from a mapped file."""

    dtype: type

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.frames, self.time_steps, self.batch = params["frames"], params["time_steps"], params["batch"]
        self.lead = params["lead"]

    def run_spk(self) -> None:
        slot, step = divmod(self.time_step - 1, self.time_steps)  # Lava counts time steps from 1
        images = self.frames[slot * self.batch : (slot + 1) * self.batch, step % self.frames.shape[1]]
        data = np.zeros((self.batch, *self.frames.shape[2:]), self.dtype)
        data[: len(images)] = images
        self.out.send(data.reshape(*self.lead, *self.frames.shape[2:]))
