"""Break-even rates layer by layer: against the same layer, evaluated once per image on real values.

    slope · r + fixed = real

slope: the layer's SOPs of T steps at a rate of 1, the reading of the spikes that cause them, and what each SOP moves;
fixed: weights that are read once; real: the layer's MACs, taps on the padding included, with what these move.  Neuron
updates, biases and additions are on neither side.
"""

from math import prod

from energy.counts import LayerCounts, OperationCounts
from energy.document import Scheme
from energy.prices import Device
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Weighted


def break_even_rates(graph: Graph, counts: OperationCounts, device: Device, scheme: Scheme) -> dict[str, float | None]:
    """The break-even rate of every convolution and affine node that only populations drive; empty for a chip.

    A rate is None where no rate is low enough.  A layer at which nothing can arrive in time is left out.
    """
    if device.chip:
        return {}
    rates: dict[str, float | None] = {}
    for name, layer in counts.layers.items():
        if layer.kind in ("conv2d", "linear") and layer.dense and not layer.real_sources:
            rates[name] = _rate(graph.nodes[name], layer, counts, device, scheme)
    return rates


def _rate(node: Node, layer: LayerCounts, counts: OperationCounts, device: Device, scheme: Scheme) -> float | None:
    images = counts.images
    add, multiply = (device.operations[key].value for key in ("add", "multiply"))
    sops = layer.dense / images
    spikes = sum(source.updates for source in layer.spiking_sources) / images
    macs = layer.dense_padded / (images * counts.time_steps * len(layer.spiking_sources))
    slope, fixed, real = sops * add, 0.0, macs * (add + multiply)
    widths = device.widths
    if scheme in ("ideal_reuse", "no_reuse") and widths is not None:
        inputs, outputs, weights = prod(node.input_shape), prod(node.shape), node.of(Weighted).weights.size
        weight = _access(device, weights, widths.weight)
        activation = _access(device, inputs, widths.activation)
        slope += spikes * _access(device, inputs, widths.address)
        real += outputs * _access(device, outputs, widths.activation)
        if scheme == "no_reuse":
            slope += sops * (weight + 2 * _access(device, outputs, widths.state))
            real += macs * (weight + activation)
        else:
            fixed += weights * weight
            real += weights * weight + inputs * activation
    return (real - fixed) / slope if real > fixed else None


def _access(device: Device, elements: int, bits: int) -> float:
    """Picojoules to move one of so many elements in the smallest memory that holds all of them."""
    memory = device.memories[device.memory(-(-elements * bits // 8))]
    return memory.value * bits / memory.bit_width
