"""Writes a chain of populations in the chip's integers as a netx file, as `export_hdf5` of lava-dl 0.6.0 does.

netx has chains only, one threshold per layer, biases in multiples of 64 units of v, and no weight exponents.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import h5py
import numpy as np
from numpy.typing import NDArray

import neuromorphic.ops as ops
from neuromorphic.errors import RefusedInput
from neuromorphic.files import in_memory
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.inputs import several_ends
from neuromorphic.ops.widths import BIAS_MANTISSA_BITS
from neuromorphic.reading.netx.layers import (
    BIAS_EXPONENT,
    LEAST_WEIGHT,
    MOST_DELAY,
    MOST_WEIGHT,
    Conv,
    Dense,
    Flatten,
    Input,
    Layer,
    Neuron,
)


def write_netx(graph: Graph, path: Path) -> None:
    """Write `graph` to `path`, whole or not at all.

    Raises:
        RefusedInput: netx can't hold the graph, with all reasons; or `path` can't be written.
    """
    layers = to_layers(graph)
    with in_memory(path) as buffer, h5py.File(buffer, "w") as file:
        for number, layer in enumerate(layers):
            _write(file.create_group(f"layer/{number}"), layer)


def to_layers(graph: Graph) -> tuple[Layer, ...]:
    """The chain of layers that a graph in integers is.

    Raises:
        RefusedInput: it is no chain, or has numbers that a netx file can't hold; with all reasons, by node.
    """
    if graph.precision != "loihi2":
        raise RefusedInput(f"{graph.source}: holds floats; expected the chip's integers")
    if reasons := several_ends(graph):
        raise RefusedInput("; ".join(reasons))
    writer = _Writer([])
    shape = arriving = graph.nodes[graph.input].shape
    layers: list[Layer] = []
    for link in writer.links(graph):
        layers += writer.layers(link, arriving, first=not layers)
        arriving = () if link.population is None else link.population.shape
    if writer.reasons:
        raise RefusedInput(f"{graph.source}: netx can't hold it: {'; '.join(writer.reasons)}")
    states_its_input = isinstance(layers[0], Input) or (isinstance(layers[0], Dense) and len(shape) == 1)
    return tuple(layers) if states_its_input else (Input(_in_file(shape)), *layers)


@dataclass(frozen=True)
class _Link:
    """A population and the nodes between it and the population before.

    Attributes:
        before: nodes without neurons, in order.
        population: None for the nodes after the last population, on the host.
        recurrent: synapses from the population to itself.
    """

    before: tuple[Node, ...]
    population: Node | None
    recurrent: Node | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return (self.population or self.before[-1]).name


@dataclass(frozen=True)
class _Writer:
    """Makes layers, and collects the reasons why some nodes can't be layers.

    Attributes:
        reasons: why netx can't hold the graph, one sentence each, by node.
    """

    reasons: list[str]

    def links(self, graph: Graph) -> list[_Link]:
        """The links of the graph's chain, as far as it is a chain."""
        found: list[_Link] = []
        before: list[Node] = []
        name = graph.input
        while True:
            back = [node for node in graph.readers(name) if (name, node.name) in graph.recurrent]
            readers = [node for node in graph.readers(name) if node not in back]
            if len(readers) != 1:
                listed = ", ".join(node.name for node in readers[:4]) or "nothing"
                self.reasons.append(f"{name} is read by {listed}; expected a chain")
                return found
            (node,) = readers
            if isinstance(node.operation, ops.Sink):
                return [*found, _Link(tuple(before), None)] if before else found
            own = [graph.nodes[s] for s in node.sources if graph.nodes[s].sources == (node.name,)]
            if sorted([name, *(inner.name for inner in own)]) != sorted(node.sources) or len(own) > 1:
                self.reasons.append(f"{node.name} sums {' + '.join(node.sources[:4])}; expected a chain")
                return found
            name = node.name
            if node.spiking:
                found.append(_Link(tuple(before), node, own[0] if own else None))
                before = []
            else:
                before.append(node)

    def layers(self, link: _Link, arriving: ops.Shape, *, first: bool) -> list[Layer]:
        """The layers of a link: one layer, with a `Flatten` before it where maps arrive at a matrix."""
        waits = [node for node in link.before if isinstance(node.operation, ops.Delay)]
        synapses = [node for node in link.before if node not in waits]
        if first and not link.before and link.population is not None:
            return [self._input(link.population)]
        if len(synapses) != 1 or len(waits) > 1:
            listed = ", ".join(node.name for node in link.before) or "nothing"
            self.reasons.append(f"{link.name} is behind {listed}; expected one node of synapses, and one delay at most")
            return []
        (node,) = synapses
        match node.operation:
            case ops.Affine(weight=weight):
                matrix = self._weights(node, weight)
            case ops.Scale(scale=scale):
                matrix = self._weights(node, np.diag(scale.reshape(-1)))
            case ops.Conv2d() as conv:
                return self._conv(link, node, conv, plain=not waits and link.recurrent is None)
            case ops.Source() | ops.Sink() | ops.Delay() | ops.Fixed() | ops.Nonlinear() | ops.Neurons() as other:
                self.reasons.append(f"{node.name} is a {other.nir_name}; expected a matrix or a convolution")
                return []
            case unknown:
                assert_never(unknown)
        delay = self._delay(waits[0], matrix.shape, behind=waits[0] is link.before[-1]) if waits else None
        dense = Dense(
            matrix, self._bias(link, (len(matrix),)), self._neuron(link.population), delay, self._recurrent(link)
        )
        return [dense] if len(arriving) == 1 else [Flatten(), dense]

    def _input(self, population: Node) -> Input:
        lif = population.operation
        if isinstance(lif, ops.LoihiLif) and (lif.has_bias or lif.filters_current):
            self.reasons.append(f"{population.name} reads frames with biases or a current that lasts; expected neither")
        return Input(_in_file(population.shape), self._neuron(population))

    def _conv(self, link: _Link, node: Node, conv: ops.Conv2d, *, plain: bool) -> list[Layer]:
        neuron, shape = self._neuron(link.population), _in_file(node.shape)
        if neuron is None or not plain or any(conv.beyond):
            self.reasons.append(
                f"{node.name} is a convolution on the host, with delays or loops, or padded unevenly; expected neither"
            )
            return []
        weight, bias = self._weights(node, conv.weight), self._bias(link, shape)
        return [Conv(weight, bias, neuron, shape, conv.stride, conv.padding, conv.dilation, conv.groups)]

    def _recurrent(self, link: _Link) -> ops.Int64 | None:
        if link.recurrent is None:
            return None
        if isinstance(link.recurrent.operation, ops.Affine) and len(link.recurrent.shape) == 1:
            return self._weights(link.recurrent, link.recurrent.operation.weight)
        self.reasons.append(f"{link.recurrent.name} leads back to {link.name}; expected a matrix")
        return None

    def _neuron(self, population: Node | None) -> Neuron | None:
        if population is None or not isinstance(population.operation, ops.LoihiLif):
            return None
        lif = population.operation
        if np.ptp(lif.threshold):
            self.reasons.append(
                f"{population.name} has thresholds {lif.threshold.min()} to {lif.threshold.max()}; expected one"
            )
        if np.any(lif.drive):
            self.reasons.append(f"{population.name} has a drive; expected none")
        if not lif.rests_after_spike:
            self.reasons.append(f"{population.name} subtracts with its spikes; expected a reset to 0, which netx has")
        decays = [np.unique(each) for each in (lif.current_decay, lif.decay)]
        if any(len(each) > 1 for each in decays):
            self.reasons.append(f"{population.name} has several decays; expected one")
        current, decay = (int(each[0]) for each in decays)
        return Neuron(current, decay, int(lif.threshold.flat[0]))

    def _bias(self, link: _Link, shape: ops.Shape) -> ops.Int64:
        """Biases in 64 units of v."""
        lif = None if link.population is None else link.population.operation
        if not isinstance(lif, ops.LoihiLif):
            if any(
                isinstance(node.operation, ops.Weighted) and node.operation.bias_values.any() for node in link.before
            ):
                self.reasons.append(f"{link.name} has biases on the host; expected none")
            return np.zeros(shape, np.int64)
        whole, rest = np.divmod(lif.bias.astype(np.int64), 2**BIAS_EXPONENT)
        limit = 2 ** (BIAS_MANTISSA_BITS - 1)
        if rest.any() or whole.min() < -limit or whole.max() >= limit:
            self.reasons.append(
                f"{link.name} has biases {lif.bias.min()} to {lif.bias.max()}; expected multiples of "
                f"{2**BIAS_EXPONENT} of {BIAS_MANTISSA_BITS} bits"
            )
        return whole.reshape(shape)

    def _weights(self, node: Node, weight: NDArray[np.float32]) -> ops.Int64:
        """The weights as they are: lava-dl finds their exponent."""
        if weight.min() < LEAST_WEIGHT or weight.max() > MOST_WEIGHT:
            self.reasons.append(
                f"{node.name} has weights {weight.min():g} to {weight.max():g}; expected {LEAST_WEIGHT} to "
                f"{MOST_WEIGHT}"
            )
        if not weight.any():
            self.reasons.append(f"{node.name} has weights of zero only, which lava-dl's reader divides by")
        return weight.astype(np.int64)

    def _delay(self, node: Node, shape: tuple[int, ...], *, behind: bool) -> ops.Int64:
        """Delays of every synapse, in steps, from a `Delay` before the synapses or `behind` them."""
        steps = node.of(ops.Delay).steps
        if steps.max() > MOST_DELAY:
            self.reasons.append(f"{node.name} waits {steps.max()} steps; expected at most {MOST_DELAY}")
        flat = steps.reshape(-1, 1) if behind else steps.reshape(1, -1)
        return np.broadcast_to(flat, shape)


def _in_file(shape: ops.Shape) -> ops.Shape:
    """`shape`, but `[C, N, 1]` for `[C, N]`: files have vectors and maps only."""
    return (*shape, 1) if len(shape) == 2 else shape


def _write(group: h5py.Group, layer: Layer) -> None:
    numbers: dict[str, Any] = {}
    neuron: Neuron | None = None
    shape: ops.Shape
    match layer:
        case Input():
            kind, shape, neuron = "input", layer.shape, layer.neuron
        case Flatten():
            kind, shape = "flatten", ()
        case Dense():
            outputs, inputs = layer.weight.shape
            kind, shape, neuron = "dense" if layer.recurrent is None else "dense_rec", (outputs,), layer.neuron
            numbers = {"inFeatures": inputs, "outFeatures": outputs, "weight": layer.weight.astype(np.float32)}
            numbers |= {"bias": layer.bias.astype(np.float32)} if layer.bias.any() else {}
            numbers |= {} if layer.delay is None else {"delay": layer.delay}
            numbers |= {} if layer.recurrent is None else {"weight_rec": layer.recurrent.astype(np.float32)}
        case Conv():
            kind, shape, neuron = "conv", layer.shape, layer.neuron
            numbers = {"inChannels": layer.weight.shape[1] * layer.groups, "outChannels": len(layer.weight)}
            numbers |= {"kernelSize": layer.weight.shape[2:], "stride": layer.stride, "padding": layer.padding}
            numbers |= {"dilation": layer.dilation, "groups": layer.groups}
            numbers |= {"weight": layer.weight.astype(np.float32)}
            numbers |= {"bias": _map_bias(layer.bias).astype(np.float32)} if layer.bias.any() else {}
        case unknown:
            assert_never(unknown)
    group.create_dataset("type", (1,), "S10", [kind.encode()])
    for key, value in {**({"shape": shape} if shape else {}), **numbers}.items():
        group.create_dataset(key, data=np.asarray(value))
    if neuron is not None:
        values = {"iDecay": neuron.current_decay, "vDecay": neuron.decay, "vThMant": neuron.threshold}
        for key, value in {**values, "refDelay": 1, "gradedSpike": False, "type": "CUBA"}.items():
            group[f"neuron/{key}"] = value


def _map_bias(bias: ops.Int64) -> ops.Int64:
    """`[C]` where all neurons of a channel have the same bias, else `[W, H, C]`."""
    shared = bias[:, 0, 0]
    return shared if (bias == shared[:, None, None]).all() else bias.transpose(2, 1, 0)
