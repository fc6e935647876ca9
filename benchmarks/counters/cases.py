"""The cases: small nets that each show one thing, the shipped encoders and their ANN twins."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import layer
from torch import Tensor, nn

import energy
import export
import neuromorphic
import spikeclip
from benchmarks.counters.nets import Net, count, exact, frames, lif, net_a, steps
from energy.counts import OperationCounts
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.build import from_nir
from spikeclip.data import load_images
from spikeclip.neurons import SpikingSelfAttention
from spikeclip.shipped import shipped
from spikeclip.twin import AnnTwin, SoftmaxAttention, twin_table

IMAGES = 2
"""Sample photographs that the encoder sees."""


@dataclass(frozen=True)
class Case:
    """A model, its frames, and the operations of one forward pass, over all frames and steps.

    Attributes:
        name: what it shows.
        model: takes `frames`.
        frames: `[B, C, H, W]`.
        dense: multiply-accumulates as if no value were a spike, taps on the padding included.
        macs: of nodes that read real values.
        sops: synaptic operations, and coincidences in self-attention.
        estimate: firing rate times `dense` of every node that reads a population: the formula of most papers.
    """

    name: str
    model: nn.Module
    frames: Tensor
    dense: int
    macs: int
    sops: int
    estimate: float


def _case(name: str, model: nn.Module, x: Tensor, counts: OperationCounts) -> Case:
    return _of_layers(name, model, x, counts, list(counts.layers))


def _of_layers(name: str, model: nn.Module, x: Tensor, counts: OperationCounts, layers: list[str]) -> Case:
    chosen = [counts.layers[layer] for layer in layers]
    attention = [found.attention for found in chosen if found.attention is not None]
    return Case(
        name=name,
        model=model,
        frames=x,
        dense=sum(found.macs_dense + found.dense_padded for found in chosen) + sum(node.dense for node in attention),
        macs=sum(found.macs for found in chosen),
        sops=sum(found.sops for found in chosen) + sum(node.coincidences for node in attention),
        estimate=sum(source.rate * source.dense_padded for found in chosen for source in found.spiking_sources)
        + sum(node.spikes / node.updates * node.dense for node in attention),
    )


def cases() -> Iterator[Case]:
    """The small nets, then every shipped encoder, then the twins."""
    net, x = net_a()
    yield _case("net A: 3×3 convolution with padding, LIF, linear layer", net, x, count(net, x))
    yield _case("net A of SpikingJelly's own layer classes", _own_layers(net), x, count(net, x))
    net, x = net_a(bias=True, norm=True)
    yield _case("net A with biases and BatchNorm", net, x, count(net, x))
    net, x = net_a()
    ones = torch.ones_like(x)
    yield _case("net A on frames of ones: real values that look like spikes", net, ones, count(net, ones))
    rng = np.random.default_rng(0)
    strided = nn.Conv2d(8, 8, 3, stride=3, groups=4, bias=False)
    net = Net(steps(nn.Conv2d(2, 8, 1, bias=False)), lif(), steps(strided))
    x = frames(rng, 2, 2, 8, 8)
    yield _case("3×3 convolution of stride 3 in 4 groups on spikes", exact(net, rng), x, count(net, x))
    net = Net(steps(nn.Conv2d(2, 24, 1, bias=False)), lif(), SpikingSelfAttention(heads=2, scale=0.125))
    x = frames(rng, 2, 2, 4, 4)
    yield _case("spiking self-attention", exact(net, rng), x, count(net, x))
    yield from map(_encoder, shipped())
    configs = {name: spikeclip.load(name).config for name in shipped()}
    # Encoders of the same sizes have the same twin, whatever their architecture.
    sizes = {tuple(entry["macs"] for entry in twin_table(config)["layers"]): name for name, config in configs.items()}
    for name in sizes.values():
        yield from _twins(name)


def _own_layers(net: Net) -> Net:
    """`net` with multi-step layers of SpikingJelly where it has torch's, applied step by step."""
    own = copy.deepcopy(net)
    conv, linear = own.layers[0][0], own.layers[3][0]
    own.layers[0] = layer.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=False, step_mode="m")
    own.layers[3] = layer.Linear(linear.in_features, linear.out_features, bias=False, step_mode="m")
    own.load_state_dict({name.replace(".0.weight", ".weight"): t for name, t in net.state_dict().items()})
    return own.requires_grad_(False)


def _encoder(name: str) -> Case:
    checkpoint = spikeclip.load(name)
    prepared = export.prepare(checkpoint)
    graph = from_nir(prepared.graph)
    x = neuromorphic.encode(graph, load_images("samples", checkpoint.config.image_size, IMAGES).images)
    recorded = export.record(prepared, x)
    spikes = {node.name: recorded.spikes[node.name] for node in graph.populations}
    counts = energy.count(graph, Trace("torch", "float", spikes, recorded.outputs))
    # The graph computes the ANDs and sums of spike-driven attention with synapses; PyTorch multiplies and adds.
    layers = [n for n, m in prepared.model.encoder.named_modules() if isinstance(m, nn.Conv2d | SpikingSelfAttention)]
    encoder = f"{name}, {IMAGES} photographs: convolutions, self-attention and readout"
    return _of_layers(encoder, _plain(prepared.model), torch.from_numpy(x), counts, [*layers, "readout"])


def _twins(name: str) -> Iterator[Case]:
    checkpoint = spikeclip.load(name)
    photographs = load_images("samples", checkpoint.config.image_size, IMAGES)
    images = torch.from_numpy(checkpoint.preprocessing(photographs.images))
    outputs = len(checkpoint.label_names)
    macs = IMAGES * sum(entry["macs"] for entry in twin_table(checkpoint.config, outputs)["layers"])
    torch.manual_seed(0)
    twin = AnnTwin(checkpoint.config, outputs).eval().requires_grad_(False)
    yield Case(f"ANN twin of {name}, {IMAGES} photographs", twin, images, macs, macs, 0, 0.0)
    for block in twin.block:
        block.attn = _FusedAttention(checkpoint.config.width, block.attn.heads).requires_grad_(False)
    yield Case("the same twin with scaled_dot_product_attention", twin.eval(), images, macs, macs, 0, 0.0)


class _FusedAttention(SoftmaxAttention):
    """`SoftmaxAttention` in PyTorch's fused operator."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            projection(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for projection in (self.q, self.k, self.v)
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _plain(model: nn.Module) -> nn.Module:
    """A copy with torch's layers, applied step by step, for SpikingJelly's, which only some counters know."""
    plain = copy.deepcopy(model)
    for path, module in list(plain.named_modules()):
        parent, _, child = path.rpartition(".")
        if isinstance(module, layer.Conv2d):
            conv = nn.Conv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
                bias=module.bias is not None,
            )
            conv.load_state_dict(module.state_dict())
            setattr(plain.get_submodule(parent), child, steps(conv))
        elif isinstance(module, layer.MaxPool2d):
            pool = nn.MaxPool2d(module.kernel_size, module.stride, module.padding)
            setattr(plain.get_submodule(parent), child, steps(pool))
    return plain.eval().requires_grad_(False)
