"""A layer of a graph as one process, computed at once for a batch of chips in lockstep."""

from collections import deque
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neuromorphic.graph import MaxPool2d, SelfAttention
from neuromorphic.layers import Layer, Member
from neuromorphic.linear import Linear, linear
from neuromorphic.membranes import MembraneFile
from neuromorphic.neurons import neurons
from neuromorphic.nonlinear import Attention, Maxima
from neuromorphic.ports import in_port


class LayerProcess(AbstractProcess):
    """The head's answer at step t to what its sources sent at the steps `t - delay`.

    Args:
        layer: what to compute.
        time_steps: T; a population forgets every T steps, in its own phase.
        lead: `(batch,)`, or `()` for messages without a batch axis.
        dtype: the type to compute in: float32 or float64; int32 for Lava's own processes in integers.
        membranes: what keeps the head's membranes at the end of every image; None where nobody asks for them.
    """

    def __init__(
        self, *, layer: Layer, time_steps: int, lead: tuple[int, ...], dtype: type, membranes: MembraneFile | None
    ) -> None:
        super().__init__(layer=layer, time_steps=time_steps, lead=lead, dtype=dtype, membranes=membranes)
        for index, source in enumerate(layer.sources):
            setattr(self, in_port(source.spiking, index), InPort(shape=(*lead, *source.shape)))
        self.out = OutPort(shape=(*lead, *layer.head.shape))


@implements(proc=LayerProcess, protocol=LoihiProtocol)
@requires(CPU)
class FusedModel(PyLoihiProcessModel):
    """The whole layer in one process: the delays first, then what has no state, then the neurons."""

    dtype: type

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        layer, (batch,) = params["layer"], params["lead"]
        self.layer, self.time_steps = layer, params["time_steps"]
        self.ports = tuple(in_port(source.spiking, index) for index, source in enumerate(layer.sources))
        self.lines = tuple(
            deque([np.zeros((batch, *source.shape), np.uint8)] * delay, maxlen=delay)
            for source, delay in zip(layer.sources, layer.delays, strict=True)
        )
        stateless = layer.members[:-1] if layer.head.spiking else layer.members
        self.stateless = tuple((member, _operator(member, batch, self.dtype)) for member in stateless)
        if layer.head.spiking:
            self.neurons = neurons(layer.head, batch, self.dtype)
            self.bias = layer.members[-1].bias.astype(self.dtype)
            self.membranes = params["membranes"]

    def run_spk(self) -> None:
        if 0 in self.layer.delays:
            arrived = self._receive()
            self.out.send(self._answer(arrived))
        else:  # nothing that arrives now is needed now: who waits for this layer need not wait for its sources
            self.out.send(self._answer([line[0] for line in self.lines]))
            self._receive()

    def _receive(self) -> list[Any]:
        """Take this step's messages; returns, per source, what its delay line lets out."""
        out = []
        for name, line in zip(self.ports, self.lines, strict=True):
            message = getattr(self, name).recv()
            out.append(line[0] if line.maxlen else message)
            line.append(message)
        return out

    def _answer(self, arrived: list[Any]) -> Any:
        values = {source.name: x for source, x in zip(self.layer.sources, arrived, strict=True)}
        for member, operator in self.stateless:
            parts = [values[name].reshape(-1, *member.node.input_shape) for name in member.inputs]
            x = parts[0] if len(parts) == 1 else self._sum(parts)
            values[member.node.name] = operator(x)
        head = self.layer.members[-1]
        if not head.node.spiking:
            return values[head.node.name]
        shape = self.neurons.v.shape
        return self._fire(self._sum([values[name].reshape(shape) for name in head.inputs] + [self.bias]))

    def _sum(self, parts: list[Any]) -> Any:
        """The sum of several arrays, in a new array of the model's type."""
        x = np.add(parts[0], parts[1], dtype=self.dtype)
        for part in parts[2:]:
            x += part
        return x

    def _fire(self, x: Any) -> Any:
        """One step of the population, as in `reference.step`; uses up `x`."""
        if (self.time_step - 1 - self.layer.latency) % self.time_steps == 0:
            self.neurons.v[...] = 0
        fired = self.neurons(x)
        if self.membranes is not None:
            self.membranes.keep(self.time_step, self.neurons.v)
        return fired


def _operator(member: Member, batch: int, dtype: type) -> Linear | Maxima | Attention:
    match member.node.operation:
        case MaxPool2d() as pool:
            return Maxima(member.node, pool, member.bias, batch, dtype)
        case SelfAttention() as attention:
            return Attention(member.node, attention, dtype)
        case _:
            return linear(member.node, batch, dtype)
