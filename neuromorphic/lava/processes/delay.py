"""Delay lines, which the chip has in its synapses and axons, for layers that are wired of Lava's own processes."""

from collections import deque
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neuromorphic.ops import DelayLine


class DelayProcess(AbstractProcess):
    """`a_out[t] = s_in[t - steps]`, zeros before the first; at least one step."""

    def __init__(self, *, shape: tuple[int, ...], steps: int) -> None:
        super().__init__(shape=shape, steps=steps)
        self.s_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)


@implements(proc=DelayProcess, protocol=LoihiProtocol)
@requires(CPU)
class DelayModel(PyLoihiProcessModel):
    """Sends before it receives, so that its readers need not wait for its source."""

    dtype: type

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.line = deque([np.zeros(params["shape"], self.dtype)] * params["steps"], maxlen=params["steps"])

    def run_spk(self) -> None:
        self.a_out.send(self.line[0])
        self.line.append(self.s_in.recv())


class BorderProcess(AbstractProcess):
    """Separates images: `a_out[t] = s_in[t] + bias`, but 0 in the first steps of an image.

    The input was delayed by `delay.lag` steps before, so in the first steps it comes from the image before: it is
    dropped, and so is its bias.  Elements with a longer delay are delayed here.  A chip would instead let as many steps
    pass between two images.

    Args:
        delay: the operation of a `Delay`; or, for a recurrent edge, a delay of one step.
        bias: float64 of its shape.
        time_steps: T.
        entry: latency at which a step of an image arrives here.
    """

    def __init__(self, *, delay: Any, bias: Any, time_steps: int, entry: int) -> None:
        super().__init__(delay=delay, bias=bias, time_steps=time_steps, entry=entry)
        self.s_in = InPort(shape=delay.steps.shape)
        self.a_out = OutPort(shape=delay.steps.shape)


@implements(proc=BorderProcess, protocol=LoihiProtocol)
@requires(CPU)
class BorderModel(PyLoihiProcessModel):
    """Receives before it sends, so that it takes no time step."""

    dtype: type

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.bias, self.time_steps, self.entry = params["bias"], params["time_steps"], params["entry"]
        self.line = DelayLine(params["delay"], params["delay"].steps.shape)

    def run_spk(self) -> None:
        x = self.s_in.recv() + self.bias
        step = (self.time_step - 1 - self.entry) % self.time_steps
        self.a_out.send(self.line(np.zeros_like(x) if step < self.line.lag else x, step).astype(self.dtype))
