"""The extension nodes, for which Lava has no processes, with the timing of Lava's Conv."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neuromorphic.ir.graph import Node


class ExtensionProcess(AbstractProcess):
    """`a_out[t] = node(s_in[t - 1] + bias)`.

    Args:
        node: whose operation is an extension, a maximum or attention.
        bias: the sum of the biases that reach its input, float64 of that shape.
    """

    def __init__(self, *, node: Node, bias: Any) -> None:
        super().__init__(node=node, bias=bias)
        self.s_in = InPort(shape=node.input_shape)
        self.a_out = OutPort(shape=node.shape)


@implements(proc=ExtensionProcess, protocol=LoihiProtocol)
@requires(CPU)
class ExtensionModel(PyLoihiProcessModel):
    """Sends its output of the step before, as Lava's synapses do, then receives."""

    dtype: type

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.node, self.bias = params["node"], params["bias"]
        self.answer = np.zeros(self.node.shape, self.dtype)

    def run_spk(self) -> None:
        self.a_out.send(self.answer)
        x = self.s_in.recv() + self.bias
        (answer,) = self.node.operation.apply(x[None], self.node.shapes)
        self.answer = answer.astype(self.dtype)
