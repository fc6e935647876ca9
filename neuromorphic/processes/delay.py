"""A delay line, which the chip has in its synapses and axons; for the layers that stock processes are wired into."""

from collections import deque
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class DelayProcess(AbstractProcess):
    """`a_out[t] = s_in[t - steps]`, zeros before the first; at least one step."""

    def __init__(self, *, shape: tuple[int, ...], steps: int) -> None:
        super().__init__(shape=shape, steps=steps)
        self.s_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)


@implements(proc=DelayProcess, protocol=LoihiProtocol)
@requires(CPU)
class DelayModel(PyLoihiProcessModel):
    """Sends before it receives: whatever reads it need not wait for whatever it reads."""

    dtype: type

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.line = deque([np.zeros(params["shape"], self.dtype)] * params["steps"], maxlen=params["steps"])

    def run_spk(self) -> None:
        self.a_out.send(self.line[0])
        self.line.append(self.s_in.recv())
