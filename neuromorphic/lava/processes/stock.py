"""A layer wired of Lava's own processes, which also run on Loihi: Conv, Dense, Sparse, LIFReset.

Conv holds data as [W, H, C]; its ports are transposed here (`lava.convolution` has its kernels).  Pooling and direct
edges between populations become Sparse connections, since Lava has no process for either.  Nor has it one for the
extension nodes, whose processes are ours.

In the chip's integers Dense, and the Sparse of a `Scale`, take 8-bit weights doubled, with an exponent that halves them
again, since they round mixed-sign weights to even numbers.  Conv has no exponent, and takes weights as they are.
"""

import math
from collections.abc import Callable
from typing import Any, assert_never

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.models import PyConvModelFixed, PyConvModelFloat
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array, identity

from neuromorphic.ir.graph import Node
from neuromorphic.lava.convolution import conv_weight, conv_windows
from neuromorphic.lava.imports import import_convolution
from neuromorphic.lava.layers import Layer, Member
from neuromorphic.lava.ports import in_port
from neuromorphic.lava.processes.delay import BorderProcess, DelayProcess
from neuromorphic.lava.processes.extension import ExtensionProcess
from neuromorphic.lava.processes.layer import LayerProcess
from neuromorphic.lava.stock_limits import largest_current
from neuromorphic.ops import (
    Affine,
    Conv2d,
    CubaLif,
    Delay,
    Fixed,
    If,
    Lif,
    LoihiLif,
    Neurons,
    Nonlinear,
    Scale,
    Sink,
    Source,
    Threshold,
)
from neuromorphic.ops.loihi import UNITY
from neuromorphic.ops.matrices import matrix
from neuromorphic.ops.widths import shift

GRADED = 24
"""Message bits: with any number but 0 Lava passes values on; with 0 it would clip sums of spikes to 0 and 1."""


@implements(proc=Conv, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class ConvModel(PyConvModelFloat):
    """Lava's own model, with the number of groups in 32 bits.

    It computes the number of channels modulo the number of groups; with the 8 bits that Lava declares, numpy 2 refuses
    more than 127 channels.
    """

    groups: np.ndarray = LavaPyType(np.ndarray, np.int32)


@implements(proc=Conv, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class IntegerConvModel(PyConvModelFixed):
    """Lava's own model in integers, likewise."""

    groups: np.ndarray = LavaPyType(np.ndarray, np.int32)


@implements(proc=LIFReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class IntegerNeuronModel(PyLifResetModelBitAcc):
    """Lava's own model, which also keeps its membranes: `Var.get` takes some 20 microseconds per neuron."""

    def subthr_dynamics(self, activation_in: np.ndarray) -> None:
        largest = np.abs(activation_in).max()
        most = largest_current(self.du + 1)
        if largest > most:
            name = self.proc_params["node"]
            raise OverflowError(f"node {name!r}: a current of {largest}; Lava wraps up to {most}")
        super().subthr_dynamics(activation_in)

    def run_spk(self) -> None:
        super().run_spk()
        self.proc_params["membranes"].keep(self.time_step, self.v)


Connect = Callable[[Any], None]
"""Connects an out-port, in the input shape of the graph's node, to a process of Lava."""


@implements(proc=LayerProcess, protocol=LoihiProtocol)
class StockModel(AbstractSubProcessModel):
    """A layer in Lava's processes.

    Populations are `LIFReset`: `u = u (1 - du) + x`, `v = v (1 - dv) + u + bias`, in a unit in which a current of 1
    raises v by 1 in its step.  In the chip's integers, its parameters are those of the population.
    """

    def __init__(self, process: AbstractProcess) -> None:
        layer: Layer = process.proc_params["layer"]
        self.time_steps: int = process.proc_params["time_steps"]
        self.membranes = process.proc_params["membranes"]
        self.dtype: type = np.int32 if process.proc_params["dtype"] is np.int32 else np.float64
        out: dict[str, Any] = {}
        ports = {
            source.name: getattr(process, in_port(source.spiking, index)) for index, source in enumerate(layer.sources)
        }
        for member in layer.members:
            connect, leaving = self._member(layer, member)
            for index, name in enumerate(member.inputs):
                connect(self._arriving(member, index, ports.get(name, out.get(name))))
            out[member.node.name] = leaving
        out[layer.head.name].connect(process.out)

    def _member(self, layer: Layer, member: Member) -> tuple[Connect, Any]:
        if member.node.spiking:
            return self._population(layer)
        if isinstance(member.node.operation, Delay):
            border = self._border(member.node.operation, member.bias, layer.latency)
            return lambda port: port.connect(border.s_in), border.a_out
        return self._synapses(member)

    def _arriving(self, member: Member, index: int, port: Any) -> Any:
        """The port of one input of a member: delayed, without the image before, and behind synapses if it is direct."""
        node = member.node
        port = _shaped(port, node.input_shape)
        if wait := member.waits[index]:
            delay = self._keep(DelayProcess(shape=node.input_shape, steps=wait))
            port.connect(delay.s_in)
            port = delay.a_out
        own = node.operation.lag if isinstance(node.operation, Delay) else 0
        if lag := member.lags[index] - own:
            delay_of_edge = Delay(np.full(node.input_shape, lag))
            border = self._border(delay_of_edge, np.zeros(node.input_shape), member.entries[index])
            port.connect(border.s_in)
            port = border.a_out
        if member.direct[index]:
            through, port_behind = self._sparse(identity(math.prod(node.shape), format="csr"), node.shape)
            through(port)
            return port_behind
        return port

    def _border(self, delay: Delay, bias: NDArray[np.float64], entry: int) -> Any:
        return self._keep(BorderProcess(delay=delay, bias=bias, time_steps=self.time_steps, entry=entry))

    def _keep(self, process: Any) -> Any:
        """Lava finds the processes of a model among its attributes."""
        setattr(self, f"process_{len(vars(self))}", process)
        return process

    def _population(self, layer: Layer) -> tuple[Connect, Any]:
        interval = self.time_steps
        match layer.head.operation:
            case Lif() | If() | CubaLif() | Threshold() as neurons_of_floats:
                parameters = _in_units(neurons_of_floats, layer.members[-1].bias)
            case LoihiLif() as lif:
                decay, current_decay = (int(np.max(each)) for each in (lif.decay, lif.current_decay))
                forgets = decay == UNITY
                interval = 1 if forgets else interval
                parameters = {
                    "du": current_decay - 1,  # Lava adds 1
                    "dv": 0 if forgets else decay,
                    "vth": lif.threshold,
                    "bias_mant": lif.bias_mantissa,
                    "bias_exp": lif.bias_exponent,
                }
            case other:
                raise TypeError(f"node {layer.head.name!r}: {type(other).__name__} is no population of Lava's")
        neurons = LIFReset(
            shape=layer.head.shape, reset_interval=interval, reset_offset=1 + layer.latency, **parameters
        )
        neurons.proc_params["membranes"] = self.membranes
        neurons.proc_params["node"] = layer.head.name
        self._keep(neurons)
        if isinstance(layer.head.operation, LoihiLif) and layer.head.operation.drive.any():
            self._drive(layer.head.operation.drive).connect(neurons.a_in)
        return lambda port: port.connect(neurons.a_in), neurons.s_out

    def _drive(self, drive: NDArray[np.int32]) -> Any:
        """The output of a neuron that fires in every step, through synapses of these weights, one to each neuron."""
        always = self._keep(LIF(shape=(1,), vth=0, bias_mant=1))
        dense = self._keep(Dense(**self._dense(drive.reshape(-1, 1).astype(np.float32))))
        always.s_out.connect(dense.s_in)
        return _shaped(dense.a_out, drive.shape)

    def _synapses(self, member: Member) -> tuple[Connect, Any]:
        node = member.node
        match node.operation:
            case Scale(scale=scale):
                return self._scale(scale)
            case Affine(weight=weight):
                dense = self._keep(Dense(num_message_bits=GRADED, **self._dense(weight)))
                return lambda port: port.connect(dense.s_in), dense.a_out
            case Conv2d() as conv:
                return self._conv(node, conv)
            case Fixed() as fixed:
                return self._sparse(matrix(node.shapes, fixed) / fixed.divisor, node.shape)
            case Nonlinear():
                process = self._keep(ExtensionProcess(node=node, bias=member.bias))
                return lambda port: port.connect(process.s_in), process.a_out
            case Source() | Sink() | Delay() | Neurons():
                raise TypeError(f"node {node.name!r}: {type(node.operation).__name__} has no synapses")
            case unknown:
                assert_never(unknown)

    def _dense(self, weight: NDArray[np.float32]) -> dict[str, Any]:
        if self.dtype is not np.int32:
            return {"weights": weight.astype(self.dtype)}
        exponent = shift(weight)
        if exponent is None:
            raise ValueError("weights without a common exponent")
        doubled = (weight / 2.0 ** (exponent - 1)).astype(self.dtype)
        return {"weights": doubled, "weight_exp": exponent - 1, "sign_mode": SignMode.MIXED}

    def _scale(self, scale: NDArray[np.float32]) -> tuple[Connect, Any]:
        numbers = self._dense(scale.reshape(-1))
        weights = diags_array(numbers.pop("weights"), format="csr")
        return self._sparse(weights, scale.shape, **numbers)

    def _conv(self, node: Node, conv: Conv2d) -> tuple[Connect, Any]:
        import_convolution()
        process = self._keep(
            Conv(
                weight=conv_weight(conv).astype(self.dtype),
                input_shape=node.input_shape[::-1],
                groups=conv.groups,
                num_message_bits=GRADED,
                **conv_windows(conv),
            )
        )
        return lambda port: port.transpose((2, 1, 0)).connect(process.s_in), process.a_out.transpose((2, 1, 0))

    def _sparse(self, weights: csr_matrix, shape: tuple[int, ...], **exponent: Any) -> tuple[Connect, Any]:
        process = self._keep(Sparse(weights=weights.astype(self.dtype), num_message_bits=GRADED, **exponent))
        return lambda port: _shaped(port, process.s_in.shape).connect(process.s_in), _shaped(process.a_out, shape)


def _in_units(neurons: Lif | If | CubaLif | Threshold, bias: NDArray[np.float64]) -> dict[str, Any]:
    """Parameters of Lava's neurons, which rest and reset at 0 and have no gain.

    Their membrane is `(v - reset) / unit`; the unit is by how much a current of 1 raises v in its step.  Leak and reset
    become a constant current.

    Args:
        neurons: of floats.
        bias: the sum of the biases that reach them; 0 for `CubaLif`, since Lava adds biases after the synaptic filter.
    """
    numbers = {key: values.astype(np.float64) for key, values in vars(neurons).items() if key != "subtracts"}
    if isinstance(neurons, Threshold):
        return {"du": 1.0, "dv": 1.0, "vth": numbers["threshold"], "bias_mant": bias}
    above = numbers["threshold"] - numbers["reset"]
    if isinstance(neurons, If):
        return {"du": 1.0, "dv": 0.0, "vth": above / numbers["gain"], "bias_mant": bias}
    unit = numbers["decay"] * numbers["gain"]
    synapse: Any = np.ones(1)
    if isinstance(neurons, CubaLif):
        synapse = numbers["current_decay"]
        unit = unit * synapse * numbers["weight"]
    constant = numbers["decay"] * (numbers["leak"] - numbers["reset"]) / unit
    return {"du": _one(synapse), "dv": _one(numbers["decay"]), "vth": above / unit, "bias_mant": bias + constant}


def _one(values: NDArray[np.float64]) -> Any:
    """A single number where all of `values` are the same, with which Lava is faster."""
    return values if np.ptp(values) else float(values.flat[0])


def _shaped(port: Any, shape: tuple[int, ...]) -> Any:
    return port if port.shape == shape else port.reshape(shape)
