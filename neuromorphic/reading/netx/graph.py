"""Makes a `Graph` of the chip's integers from the layers of a netx file: nothing is rounded, scaled or left out.

    layer.N.dense, layer.N.conv     the synapses of layer N
    layer.N                         its neurons
    layer.N.recurrent               synapses from the neurons to themselves
    layer.N.delay                   the delays of its synapses

Where each pair of neurons has a delay of its own, there are nodes for every delay D: `layer.N.delay.D`,
`layer.N.dense.D`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import assert_never

import numpy as np

from neuromorphic.analysis.order import arranged
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ops import Affine, AnyOperation, Conv2d, Delay, Int64, LoihiLif, Shape, Shapes, Sink, Source
from neuromorphic.ops.loihi import UNITY
from neuromorphic.reading.limits import Size
from neuromorphic.reading.netx.layers import BIAS_EXPONENT, Conv, Dense, Flatten, Input, Layer, Neuron
from neuromorphic.reading.provenance import Asked

INPUT, OUTPUT = "input", "output"


def from_layers(layers: Sequence[Layer], source: str | Path, asked: Asked | None = None) -> Graph:
    """The graph of a netx file's layers, whose populations are `LoihiLif`; only dt is not in the file.

    Raises:
        RefusedInput: layers don't fit each other, by number; or `asked` says something else than the file.
    """
    given = asked or Asked()
    source = str(source)
    for option, value in (("--integrators", given.integrators), ("--written-by", given.written_by)):
        if value is not None:
            raise RefusedInput(f"{source}: is a netx file, which leaves nothing open that {option} says; expected none")
    if given.reset == "subtract":
        raise RefusedInput(f"{source}: is a netx file: a spike sets v to 0; expected no --reset subtract")
    dt = GraphMetadata.of({}, source, given.dt)
    chain = _Chain(source)
    for number, layer in enumerate(layers):
        chain.append(number, layer, last=number == len(layers) - 1)
    metadata = replace(dt, input_bits=0, assumed=tuple(chain.assumed))
    return chain.graph(metadata)


@dataclass
class _Chain:
    """The graph while layers are appended.

    Attributes:
        source: named in messages.
        nodes: so far.
        end: the name of the last node; empty before the first.
        shape: of its output.
        flat: whether a flatten layer came last.
        assumed: assumptions, in sentences.
        size: of the nodes.
    """

    source: str
    nodes: dict[str, Node] = field(default_factory=dict)
    end: str = ""
    shape: Shape = ()
    flat: bool = False
    assumed: list[str] = field(default_factory=list)
    size: Size = field(default_factory=Size)

    def append(self, number: int, layer: Layer, *, last: bool) -> None:
        """Append a layer.

        Raises:
            RefusedInput: it doesn't fit the layers before it.
        """
        where = f"{self.source}: layer {number}"
        match layer:
            case Input():
                self._input(number, layer)
            case Flatten():
                self.flat = True
            case Dense():
                self._dense(number, layer, f"{where} (dense)", last)
            case Conv():
                self._conv(number, layer, f"{where} (conv)")
            case unknown:
                assert_never(unknown)

    def graph(self, metadata: GraphMetadata) -> Graph:
        """The graph of all layers, with its output.

        Raises:
            RefusedInput: no neurons.
        """
        if not any(node.spiking for node in self.nodes.values()):
            raise RefusedInput(f"{self.source}: its layers have no neurons; expected some")
        self._add(OUTPUT, Sink(), (self.end,), self.shape, self.shape)
        return arranged(Graph({}, INPUT, OUTPUT, metadata, self.source), self.nodes)

    def _input(self, number: int, layer: Input) -> None:
        self._begin(layer.shape)
        if layer.neuron is not None:
            # Frames act as biases do, behind u, so that no current outlasts its step, whatever iDecay says.
            neuron = replace(layer.neuron, current_decay=UNITY)
            self._neurons(number, neuron, np.zeros(1, np.int64), (self.end,))
            self.assumed.append(
                "frames are the integers that reach the neurons of the file's input layer; what makes them of images "
                f"(its transform has weight {layer.weight:g} and bias {layer.bias:g}) is left to whoever reads the file"
            )

    def _begin(self, shape: Shape) -> None:
        self._add(INPUT, Source(), (), shape, shape)
        self.end, self.shape = INPUT, shape

    def _dense(self, number: int, layer: Dense, where: str, last: bool) -> None:
        outputs, inputs = layer.weight.shape
        if not self.nodes:
            self._begin((inputs,))
        if len(self.shape) > 1 and not self.flat:
            raise RefusedInput(f"{where} reads maps {list(self.shape)}; expected a flatten layer before it")
        if prod(self.shape) != inputs:
            raise RefusedInput(f"{where} reads {inputs} numbers; {prod(self.shape)} arrive")
        self.shape, self.flat = (inputs,), False
        if layer.neuron is None and not last:
            raise RefusedInput(f"{where} has no neuron, so that nothing leaves it; expected it as the last layer only")
        currents = self._matrix(number, layer.weight, layer.delay)
        self.shape = (outputs,)
        if layer.neuron is not None:
            self._neurons(number, layer.neuron, layer.bias, currents, layer.recurrent)
        elif layer.bias.any() or layer.recurrent is not None or len(currents) > 1:
            raise RefusedInput(f"{where} has no neuron, but biases, delays or recurrent weights; expected none")
        else:
            (self.end,) = currents
            self.assumed.append(
                f"layer {number} has no neuron: its currents are the output, which lava-dl adds up in a membrane that "
                "never fires"
            )

    def _matrix(self, number: int, weight: Int64, delay: Int64 | None) -> tuple[str, ...]:
        """Synapses of `weight` with delays of `delay` steps: the names of the nodes whose currents add up."""
        name, before = f"layer.{number}.dense", self.end
        if delay is None:
            return (self._synapses(name, weight, before),)
        if (delay == delay[0]).all():
            return (self._synapses(name, weight, self._waiting(number, delay[0], before)),)
        if (delay == delay[:, :1]).all():
            return (self._waiting(number, delay[:, 0], self._synapses(name, weight, before)),)
        return tuple(
            self._synapses(f"{name}.{d}", np.where(delay == d, weight, 0), self._all_waiting(number, int(d), before))
            for d in np.unique(delay)
        )

    def _synapses(self, name: str, weight: Int64, before: str) -> str:
        outputs, inputs = weight.shape
        affine = Affine(weight.astype(np.float32), np.zeros(outputs, np.float32))
        return self._add(name, affine, (before,), (inputs,), (outputs,))

    def _waiting(self, number: int, steps: Int64, before: str) -> str:
        shape = steps.shape
        return self._add(f"layer.{number}.delay", Delay(steps), (before,), shape, shape)

    def _all_waiting(self, number: int, steps: int, before: str) -> str:
        if not steps:
            return before
        delay = Delay(np.full(self.shape, steps))
        return self._add(f"layer.{number}.delay.{steps}", delay, (before,), self.shape, self.shape)

    def _conv(self, number: int, layer: Conv, where: str) -> None:
        if not self.nodes:
            raise RefusedInput(
                f"{where} is the first layer; expected an input layer before it, with the shape of a frame"
            )
        if len(self.shape) != 3 or self.flat:
            raise RefusedInput(f"{where} reads a vector of {prod(self.shape)}; expected maps [C, H, W]")
        channels = layer.weight.shape[1] * layer.groups
        if channels != self.shape[0]:
            raise RefusedInput(f"{where} reads {channels} channels; {self.shape[0]} arrive")
        weight = layer.weight.astype(np.float32)
        zeros = np.zeros(len(weight), np.float32)
        conv = Conv2d(weight, zeros, layer.stride, layer.padding, layer.dilation, layer.groups)
        out = (len(weight), *conv.windows.size(self.shape, where))
        if out != layer.shape:
            raise RefusedInput(f"{where} declares outputs {list(layer.shape)}; its windows leave {list(out)}")
        currents = self._add(f"layer.{number}.conv", conv, (self.end,), self.shape, out)
        self.shape = out
        bias = layer.bias if layer.bias.ndim == 3 else layer.bias[:, None, None]
        self._neurons(number, layer.neuron, bias, (currents,))

    def _neurons(
        self, number: int, neuron: Neuron, bias: Int64, currents: tuple[str, ...], recurrent: Int64 | None = None
    ) -> None:
        name, shape = f"layer.{number}", self.shape
        lif = LoihiLif(
            decay=neuron.decay,
            threshold=np.full(shape, neuron.threshold, np.int32),
            bias_mantissa=np.broadcast_to(bias, shape).astype(np.int32),
            bias_exponent=BIAS_EXPONENT if bias.any() else 0,
            current_decay=neuron.current_decay,
        )
        if recurrent is not None:
            currents = (*currents, self._synapses(f"{name}.recurrent", recurrent, name))
        self.end = self._add(name, lif, currents, shape, shape)

    def _add(self, name: str, operation: AnyOperation, sources: tuple[str, ...], before: Shape, after: Shape) -> str:
        self.size.add(operation, Shapes(before, after), f"{self.source}: {name}")
        self.nodes[name] = Node(name, operation, tuple(sorted(sources)), before, after)
        return name
