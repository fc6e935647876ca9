"""A NIR graph in PyTorch and SpikingJelly, float32: the third opinion in the parity property.

Written without a look at `neuromorphic.reading`: it reads the nodes of the file, and takes thresholds as SpikingJelly
has them.  Attention is computed in the other order, `(Q Kᵀ) V`, quadratic in the tokens.
"""

import nir
import numpy as np
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron

from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention


def run(graph, thresholds, frames, steps, dt=1e-4):
    """Spikes per population, bool `[N, T, *shape]`, and outputs, float32 `[N, T, ...]`."""
    populations = {
        name: neuron.LIFNode(tau=float(round(float(node.tau.flat[0]) / dt)), v_threshold=thresholds[name], v_reset=0.0)
        for name, node in graph.nodes.items()
        if isinstance(node, nir.LIF)
    }
    spikes, outputs = {name: [] for name in populations}, []
    with torch.no_grad():
        for _ in range(steps):
            values = {}
            outputs.append(_value("output", graph, populations, frames, values).numpy())
            for name in populations:
                spikes[name].append(_value(name, graph, populations, frames, values).numpy() > 0)
    return {name: np.stack(s, 1) for name, s in spikes.items()}, np.stack(outputs, 1)


def _value(name, graph, populations, frames, values):
    """What the node returns in this step; `values` keeps what is known of the step."""
    if name not in values:
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            values[name] = torch.from_numpy(frames)
        else:
            x = sum(_value(a, graph, populations, frames, values) for a, b in graph.edges if b == name)
            values[name] = populations[name](float(node.r.flat[0]) * x) if name in populations else _apply(node, x)
    return values[name]


def _apply(node, x):
    if isinstance(node, nir.Conv2d):
        weight, bias = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
        return F.conv2d(x, weight, bias, tuple(node.stride), tuple(node.padding))
    if isinstance(node, nir.SumPool2d):
        k, s, p = (tuple(int(n) for n in v) for v in (node.kernel_size, node.stride, node.padding))
        return F.avg_pool2d(x, k, s, p, divisor_override=1)
    if isinstance(node, MaxPool2d):
        k, s, p = (tuple(int(n) for n in v) for v in (node.kernel_size, node.stride, node.padding))
        return F.max_pool2d(x, k, s, p)
    if isinstance(node, SpikingSelfAttention):
        q, k, v = (part.unflatten(1, (node.heads, -1)).flatten(-2).transpose(-1, -2) for part in x.chunk(3, 1))
        y = (q @ k.transpose(-1, -2)) @ v * node.scale  # [N, heads, tokens, channels of a head]
        return y.transpose(-1, -2).reshape(len(x), -1, *x.shape[2:])
    if isinstance(node, nir.Flatten):
        return x.flatten(1)
    if isinstance(node, nir.Affine):
        return F.linear(x, torch.from_numpy(node.weight), torch.from_numpy(node.bias))
    return x
