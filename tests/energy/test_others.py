"""Bar of the project: dense MACs equal PyTorch's counter, SOPs those of SpikingJelly and NeuroBench, as integers.

On 50 random nets, layer by layer, and on the shipped checkpoints.  Where another counter says something else, the test
says what: docs/counters.md has the list, for more counters, from `python -m benchmarks.counters`.
"""

from copy import deepcopy

import numpy as np
import pytest
import torch
from neurobench.metrics.utils.layers import single_layer_MACs
from spikingjelly.activation_based import layer, neuron
from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter
from torch import nn
from torch.nn import functional as F

import energy
import export
import neuromorphic
import spikeclip
from benchmarks.counters.nets import count, frames, net_a, random_net
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.build import from_nir
from spikeclip.checkpoint import Checkpoint, shipped
from spikeclip.encoder import SpikeClip
from spikeclip.preprocess import Preprocessing
from tests.energy.test_spikingjelly import pytorch_macs, spikingjelly_sops


@torch.no_grad()
def neurobench(model, x):
    """Per module path: operations that NeuroBench finds effective, and all of them; in float64, as its sums need."""
    inputs = {}
    weights = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    handles = [
        module.register_forward_pre_hook(lambda module, args, name=name: inputs.update({name: args[0]}))
        for name, module in weights.items()
    ]
    model(x)
    for handle in handles:
        handle.remove()
    layers = {name: deepcopy(module).double() for name, module in weights.items()}
    for module in layers.values():
        module.weight[module.weight == 0] = 1  # it takes a zero weight for a missing synapse
    found = {name: (inputs[name].double(), module) for name, module in layers.items() if name in inputs}
    return {
        name: (single_layer_MACs(values, module)[0], single_layer_MACs(values, module, total=True)[0])
        for name, (values, module) in found.items()
    }


@pytest.mark.parametrize("seed", range(50))
def test_random_nets(seed):
    rng = np.random.default_rng(seed)
    net, shape = random_net(rng)
    x = frames(rng, 3, *shape)
    counts = count(net, x)
    macs, sops, others = pytorch_macs(net, x), spikingjelly_sops(net, x), neurobench(net, x)
    assert len(counts.layers) == len(others) >= 2
    for name, found in counts.layers.items():
        path = f"layers.{name}.0"
        assert found.macs + found.dense_padded == macs[path], name
        if found.spiking_sources:
            assert found.sops == sops[path] == others[path][0], name
            assert found.dense == others[path][1], name
    assert counts.sops > 0


def check_encoder(checkpoint, images):
    """Every convolution that reads a population, in NeuroBench's effective and dense operations."""
    prepared = export.prepare(checkpoint)
    graph = from_nir(prepared.graph)
    x = neuromorphic.encode(graph, images)
    recorded = export.record(prepared, x)
    spikes = {node.name: recorded.spikes[node.name] for node in graph.populations}
    counts = energy.count(graph, Trace("torch", "float", spikes, recorded.outputs))
    others = neurobench(prepared.model, torch.from_numpy(x))
    driven = [n for n, m in prepared.model.encoder.named_modules() if isinstance(m, layer.Conv2d)][1:]
    for name in driven:
        found = counts.layers[name]
        assert (found.sops, found.dense) == others[f"encoder.{name}"], name
    assert sum(counts.layers[name].sops > 0 for name in driven) > len(driven) // 2, "a silent layer proves nothing"


@pytest.mark.parametrize("sizes", [{}, {"architecture": "paper", "heads": 2}])
def test_random_encoders(make_encoder, sizes):
    encoder = make_encoder(3, **sizes)
    torch.manual_seed(3)
    model = SpikeClip(encoder, nn.Linear(16, 5), tuple("abcde")).eval()
    images = np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    check_encoder(Checkpoint(model, Preprocessing(image_size=16)), images)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_shipped_encoders(name, photographs):
    checkpoint = spikeclip.load(name)
    check_encoder(checkpoint, photographs(checkpoint.config.image_size, 2).images)


def test_padding_is_left_out_by_neurobench():
    net, x = net_a()
    counts, others = count(net, x), neurobench(net, x)
    assert counts.layers["0"].macs == 14_400
    assert others["layers.0.0"][1] == 10_816 == 8 * 2 * 4 * (3 * 5 - 2) ** 2
    assert counts.layers["3"].sops == others["layers.3.0"][0] > 0


def test_batch_norm_counts_as_macs_in_spikingjelly():
    def macs(net, x):
        counter = MACCounter()
        with torch.no_grad(), torch.backends.nnpack.flags(enabled=False), DispatchCounterMode([counter]):
            net(x)
        return counter.get_total()

    (plain, x), (normed, _) = net_a(), net_a(norm=True)
    assert macs(plain, x) == count(plain, x).macs == 14_400
    assert macs(normed, x) > count(normed, x).macs == 14_400


def test_values_that_look_like_spikes_are_spikes_to_others():
    # Real frames that happen to be all ones: by the graph's word 14,400 MACs, to the others that many SOPs or fewer.
    net, x = net_a()
    ones = torch.ones_like(x)
    counts = count(net, ones)
    assert (counts.layers["0"].macs, counts.layers["0"].sops) == (14_400, 0)
    assert spikingjelly_sops(net, ones)["layers.0.0"] == neurobench(net, ones)["layers.0.0"][0] == 10_816


class Fused(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


class Explicit(nn.Module):
    def forward(self, x):
        return torch.softmax(x @ x.transpose(-1, -2), -1) @ x


def test_fused_attention_is_nothing_to_pytorchs_counter():
    x = torch.randn(1, 2, 9, 4)
    assert pytorch_macs(nn.Sequential(Explicit()), x)["0"] == 2 * 2 * 9 * 9 * 4
    assert pytorch_macs(nn.Sequential(Fused()), x).get("0", 0) == 0


def test_the_random_nets_have_what_counters_get_wrong():
    convolutions, linear, populations = [], 0, 0
    for seed in range(50):
        net, _ = random_net(np.random.default_rng(seed))
        convolutions += [m for m in net.modules() if isinstance(m, nn.Conv2d)]
        linear += sum(isinstance(m, nn.Linear) for m in net.modules())
        populations += sum(isinstance(m, neuron.BaseNode) for m in net.modules())
    for field, usual in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
        assert sum(getattr(m, field) != usual for m in convolutions) > 20, field
    assert linear == 50 < populations
