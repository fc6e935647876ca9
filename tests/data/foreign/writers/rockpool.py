"""Rockpool 3.1.0, with nir 1.0.4, which it pins, and nirtorch 2.0.2: 2.6 asks for a newer nir."""

import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules.torch import ExpSynTorch, LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir

from writers import inputs, keep, weights

DT = 1e-3


def linear(seed, shape, has_bias=False):
    bias = {"bias": torch.from_numpy(weights(seed + 1, shape[1]))} if has_bias else {}
    return LinearTorch(shape, weight=torch.from_numpy(weights(seed, *shape)), has_bias=has_bias, **bias)


def write(folder):
    frames = inputs(6)
    net = Sequential(
        linear(0, (6, 5), has_bias=True),
        LIFTorch(5, tau_mem=4 * DT, tau_syn=2 * DT, threshold=0.9, dt=DT),
        linear(2, (5, 4)),
        LIFNeuronTorch(4, tau_mem=4 * DT, threshold=0.5, dt=DT),
        linear(3, (4, 3)),
        ExpSynTorch(3, tau=4 * DT, dt=DT),
    )
    # It writes the time constant of `ExpSynTorch` as the parameter that it is, and HDF5 takes none that has a gradient.
    for parameter in torch.nn.Module.parameters(net):
        parameter.requires_grad_(False)
    graph = to_nir(net)
    net.reset_state()
    with torch.no_grad():
        outputs = net(torch.from_numpy(frames))[0]
    keep(folder, "rockpool_lif", graph, frames, outputs, DT)
