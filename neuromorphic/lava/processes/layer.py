"""A layer of a graph as one process, for a batch of images, as if on as many chips in lockstep."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neuromorphic.lava.layers import Layer, Member
from neuromorphic.lava.membranes import MembraneFile
from neuromorphic.lava.ports import in_port
from neuromorphic.ops import Delay, DelayLine, Kernel, NeuronKernel, Neurons, Stateless


class LayerProcess(AbstractProcess):
    """Computes the head's answer at step t to the outputs of its sources at the steps `t - delay`.

    Args:
        layer: to compute.
        time_steps: T; neurons and delay lines are reset every T steps, each in the step after an image.
        lead: `(batch,)`, or `()` for messages without a batch axis.
        dtype: the type to compute in: float32 or float64; int32 for Lava's own processes in integers.
        membranes: keeps the head's membranes at the end of every image; None where nobody asks for them.
        compiled: whether compiled kernels compute what they can.
    """

    def __init__(
        self,
        *,
        layer: Layer,
        time_steps: int,
        lead: tuple[int, ...],
        dtype: type,
        membranes: MembraneFile | None,
        compiled: bool = False,
    ) -> None:
        super().__init__(
            layer=layer, time_steps=time_steps, lead=lead, dtype=dtype, membranes=membranes, compiled=compiled
        )
        for index, source in enumerate(layer.sources):
            setattr(self, in_port(source.spiking, index), InPort(shape=(*lead, *source.shape)))
        self.out = OutPort(shape=(*lead, *layer.head.shape))


@implements(proc=LayerProcess, protocol=LoihiProtocol)
@requires(CPU)
class FusedModel(PyLoihiProcessModel):
    """The whole layer in one process: first the delays, then the stateless nodes, then the neurons or the `Delay`."""

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
        head, operation = layer.head, layer.head.operation
        held = head.neurons or isinstance(operation, Delay)
        stateless = layer.members[:-1] if held else layer.members
        compiled = params["compiled"]
        fused = compiled_layer(layer, batch, self.dtype) if compiled else None
        stateless, last = ((), layer.members[0]) if fused else (stateless, layer.members[-1])
        self.last_inputs, self.last_shape = last.inputs, last.node.input_shape if fused else head.shape
        self.stateless = tuple(
            (m, (compiled and compiled_kernel(layer, m, self.dtype)) or _kernel(m, batch, self.dtype))
            for m in stateless
        )
        self.neurons = fused or (compiled_neurons(layer, batch, self.dtype) if compiled else None)
        self.biases = [] if self.neurons else [layer.members[-1].bias.astype(self.dtype)]
        if self.neurons is None and isinstance(operation, Neurons):
            self.neurons = operation.neuron_kernel(batch, head.shape, self.dtype)
        self.line = DelayLine(operation, (batch, *head.shape)) if isinstance(operation, Delay) else None
        self.membranes = params["membranes"]

    def run_spk(self) -> None:
        # Inputs that are not needed in this step are received last, so that no reader of this layer has to wait for
        # them; not even this layer itself, where it reads its own output.
        arrived = [line[0] if line.maxlen else getattr(self, name).recv() for name, line in self._ports()]
        self.out.send(
            self._answer([self._of_this_image(x, lag) for x, lag in zip(arrived, self.layer.lags, strict=True)])
        )
        for name, line in self._ports():
            if line.maxlen:
                line.append(getattr(self, name).recv())

    def _ports(self) -> Iterator[tuple[str, deque[Any]]]:
        return zip(self.ports, self.lines, strict=True)

    def _of_this_image(self, x: Any, lag: int) -> Any:
        """`x`; zeros if it was sent in the image before."""
        return np.zeros_like(x) if lag > self._step() else x

    def _step(self) -> int:
        """The step of an image that the head answers now."""
        return int((self.time_step - 1 - self.layer.latency) % self.time_steps)

    def _answer(self, arrived: list[Any]) -> Any:
        values = {source.name: x for source, x in zip(self.layer.sources, arrived, strict=True)}
        for member, kernel in self.stateless:
            parts = [values[name].reshape(-1, *member.node.input_shape) for name in member.inputs]
            values[member.node.name] = kernel(self._sum(parts))
        if self.neurons is not None:
            return self._fire(self.neurons, self._arriving(values))
        if self.line is not None:
            return self._wait(self.line, self._arriving(values))
        return values[self.layer.head.name]

    def _arriving(self, values: dict[str, Any]) -> Any:
        """The input of the last kernel, with the head's bias unless its kernel adds that."""
        return self._sum([values[name].reshape(-1, *self.last_shape) for name in self.last_inputs] + self.biases)

    def _sum(self, parts: list[Any]) -> Any:
        """The sum of several arrays, in a new array of the model's type; a single one as it is."""
        if len(parts) == 1:
            return parts[0]
        x = np.add(parts[0], parts[1], dtype=self.dtype)
        for part in parts[2:]:
            x += part
        return x

    def _fire(self, head: NeuronKernel, x: Any) -> Any:
        """One step of the neurons, as in `Neurons.advance`; overwrites `x`."""
        if self._step() == 0:
            head.forget()
        sent = head(x)
        if self.membranes is not None:
            self.membranes.keep(self.time_step, head.v)
        return sent

    def _wait(self, head: DelayLine, x: Any) -> Any:
        """One step of the `Delay`; neither inputs nor biases of the image before leave it."""
        step = self._step()
        return head(np.zeros_like(x) if step < head.lag else x, step)


def compiled_layer(layer: Layer, batch: int, dtype: type) -> NeuronKernel | None:
    """The compiled kernel of a whole layer: synapses that read one population's spikes, and leaky neurons behind."""
    if len(layer.members) != 2 or not _reads_spikes(layer, layer.members[0], dtype):
        return None
    from neuromorphic.execution.fronts import COUNTS, is_plain, synapses
    from neuromorphic.execution.steps import LeakyLayer

    first, head = layer.members
    alone = head.inputs == (first.node.name,) and head.node.shape == first.node.shape
    if not alone or not is_plain(head.node.operation):
        return None
    front = synapses(first.node, COUNTS, np.dtype(dtype))
    return None if front is None else LeakyLayer(front, first.node.input_shape, head.node, head.bias, batch, dtype)


def compiled_kernel(layer: Layer, member: Member, dtype: type) -> Kernel | None:
    """The compiled kernel of a node that reads the spikes of one population, in float32; None for other nodes."""
    if not _reads_spikes(layer, member, dtype):
        return None
    from neuromorphic.execution import steps

    return steps.layer(member.node, dtype)


def _reads_spikes(layer: Layer, member: Member, dtype: type) -> bool:
    """Whether a node reads the spikes of one population, and float32 holds its sums."""
    spiking = {source.name for source in layer.sources if source.spiking}
    return dtype is np.float32 and len(member.inputs) == 1 and spiking.issuperset(member.inputs)


def compiled_neurons(layer: Layer, batch: int, dtype: type) -> NeuronKernel | None:
    """The compiled kernel of a layer's neurons, which adds their bias; None for neurons that it doesn't know."""
    from neuromorphic.execution.fronts import is_plain
    from neuromorphic.execution.steps import Leaky

    head = layer.members[-1]
    return Leaky(head.node, head.bias, batch, dtype) if is_plain(head.node.operation) else None


def _kernel(member: Member, batch: int, dtype: type) -> Kernel:
    node = member.node
    if not isinstance(node.operation, Stateless):
        raise TypeError(f"node {node.name!r}: {type(node.operation).__name__} inside of a layer")
    return node.operation.kernel(node.shapes, batch, dtype, member.bias)
