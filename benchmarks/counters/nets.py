"""Small spiking nets with exact arithmetic, their NIR graphs, and the operations that `energy` counts in a run of them.

Weights are multiples of 2^-3 and frames of 2^-2, so that float32 and float64 give the same spikes; no weight is zero,
since some counters take a zero weight for a missing synapse.
"""

import json
from itertools import pairwise
from math import prod

import nir
import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

import energy
from energy.counts import OperationCounts
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.ops.convolution import block_diagonal
from neuromorphic.ops.extensions import SpikingSelfAttention as AttentionNode
from neuromorphic.reading.build import from_nir
from spikeclip.neurons import SpikingSelfAttention

DT = 1e-4
STEPS = 4


class Net(nn.Module):
    """A chain of multi-step layers, from rest, that is shown every frame `STEPS` times.

    Shapes: frames `[B, C, H, W]` to `[T, B, ...]`.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        functional.reset_net(self)
        return self.layers(frames.unsqueeze(0).expand(STEPS, *frames.shape))


def steps(*modules: nn.Module) -> nn.Module:
    """Layers of torch, applied to every time step: counters that go by exact type know them as what they are."""
    return layer.SeqToANNContainer(*modules)


def lif() -> neuron.LIFNode:
    """A population that fires at 1/16, hence often."""
    return neuron.LIFNode(v_threshold=0.0625, step_mode="m")


@torch.no_grad()
def exact(net: nn.Module, rng: np.random.Generator) -> nn.Module:
    """`net` with random weights other than zero on multiples of 2^-3, more of them positive than not."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = rng.choice([-0.5, -0.125, 0.125, 0.25, 0.5], size=tuple(module.weight.shape))
            module.weight.copy_(torch.from_numpy(weight))
            if module.bias is not None:
                module.bias.copy_(torch.from_numpy(rng.choice([0.125, 0.25], size=tuple(module.bias.shape))))
    return net.eval().requires_grad_(False)


def frames(rng: np.random.Generator, *shape: int) -> Tensor:
    """Random frames on multiples of 2^-2 in [-1, 2]: float32 of that shape."""
    return torch.from_numpy(rng.integers(-4, 9, shape) / 4).float()


def net_a(bias: bool = False, norm: bool = False) -> tuple[Net, Tensor]:
    """A 3×3 convolution with padding, a population and a linear layer; frames of two images."""
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(2, 4, 3, padding=1, bias=bias)
    first = steps(conv, nn.BatchNorm2d(4)) if norm else steps(conv)
    net = Net(first, lif(), nn.Flatten(2), steps(nn.Linear(100, 10, bias=bias)))
    return exact(net, rng), frames(rng, 2, 2, 5, 5)


def random_net(rng: np.random.Generator) -> tuple[Net, tuple[int, ...]]:
    """A net of convolutions of every kind, populations and linear layers, and the shape of its frames."""
    shape: tuple[int, ...] = (int(rng.integers(1, 4)), *(int(n) for n in rng.integers(5, 10, 2)))
    first, layers = shape, []
    for _ in range(rng.integers(1, 4)):
        conv, shape = _random_convolution(rng, shape)
        layers += [steps(conv), lif()]
        if rng.random() < 0.3:  # two convolutions without a population between them: the second reads real values
            layers.append(steps(nn.Conv2d(shape[0], shape[0], 1, groups=shape[0])))
            conv, shape = _random_convolution(rng, shape)
            layers += [steps(conv), lif()]
    layers += [nn.Flatten(2), steps(nn.Linear(prod(shape), 6, bias=bool(rng.random() < 0.5)))]
    return exact(Net(*layers), rng), first


def _random_convolution(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[nn.Conv2d, tuple[int, ...]]:
    """One that fits a map of `shape`, and the shape of its output."""
    channels, *size = shape
    groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    out = groups * int(rng.integers(1, 4))
    while True:
        kernel, stride, padding, dilation = (tuple(int(n) for n in rng.integers(1, top, 2)) for top in (4, 4, 4, 3))
        padding = tuple(n - 1 for n in padding)
        conv = nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias=bool(rng.random() < 0.5))
        if all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)):
            return conv, tuple(conv(torch.zeros(1, *shape)).shape[1:])


def count(net: Net, x: Tensor) -> OperationCounts:
    """The counts by `energy` of a run of `net` on frames `[B, C, H, W]`; nodes have the names of its layers."""
    functional.reset_net(net)
    values = x.unsqueeze(0).expand(STEPS, *x.shape)
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array(x.shape[1:]))}
    spikes = {}
    with torch.no_grad():
        for name, module in net.layers.named_children():
            shape = tuple(values.shape[2:])
            values = module(values)
            nodes[name] = _node(module, shape)
            if isinstance(module, neuron.BaseNode):
                spikes[name] = SpikeTrain.pack(values.transpose(0, 1).bool().numpy())
    nodes["output"] = nir.Output(np.array(values.shape[2:]))
    metadata = {"spikeclip": json.dumps({"format_version": 1, "dt": DT, "time_steps": STEPS})}
    graph = from_nir(nir.NIRGraph(nodes, list(pairwise(nodes)), metadata=metadata, type_check=False))
    return energy.count(graph, Trace("torch", "float", spikes, values.transpose(0, 1).numpy()))


def _node(module: nn.Module, shape: tuple[int, ...]) -> nir.NIRNode:
    """The node of a layer that reads `shape`; BatchNorm behind a convolution is folded into its bias."""
    match module:
        case layer.SeqToANNContainer():
            weights, *norm = module
            has_bias = weights.bias is not None or norm
            bias = np.full(len(weights.weight), bool(has_bias), np.float32)  # that there is one is all that is counted
            if isinstance(weights, nn.Linear):
                return nir.Affine(weights.weight.numpy(), bias)
            kernel = block_diagonal(weights.weight.numpy(), weights.groups)
            return nir.Conv2d(shape[1:], kernel, weights.stride, weights.padding, weights.dilation, 1, bias)
        case neuron.LIFNode():
            ones = np.ones(shape, np.float32)
            return nir.LIF(tau=ones * np.float32(2 * DT), r=ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones)
        case nn.Flatten():
            return nir.Flatten({"input": np.array(shape)}, 0, -1)
        case SpikingSelfAttention():
            return AttentionNode(np.array(shape), module.heads, module.scale)
        case _:
            raise TypeError(f"{type(module).__name__} has no node")
