"""Bar of the project: SOPs equal, as integers, what SpikingJelly's counter finds in the encoder's forward pass.

Its counter tells spikes from real values by looking at them, so it is run where that can't go wrong: on convolutions
and linear layers that read a population.
"""

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch.utils.flop_counter import FlopCounterMode

import energy
import export
import neuromorphic
import spikeclip
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.build import from_nir
from spikeclip.checkpoint import Checkpoint, shipped
from spikeclip.encoder import SpikeClip
from spikeclip.neurons import SpikingSelfAttention
from spikeclip.preprocess import Preprocessing
from spikeclip.twin import twin_table
from tests.energy.test_attention import count_attention
from tests.energy.test_sops import after_neurons, convolution, trace_of
from tests.neuromorphic.graphs import chain, lif


def spikingjelly_sops(model, *inputs):
    """SOPs per module path in one forward pass."""
    counter = SynOpCounter()
    with torch.no_grad(), torch.backends.nnpack.flags(enabled=False), DispatchCounterMode([counter]):
        model(*inputs)
    return {scope.partition(".")[2]: sum(ops.values()) for scope, ops in counter.get_counts().items()}


def pytorch_macs(model, *inputs):
    """MACs per module path in one forward pass, from shapes: dense, as if no value were a spike."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(*inputs)
    return {scope.partition(".")[2]: sum(ops.values()) // 2 for scope, ops in counter.get_flop_counts().items()}


def check_encoder(checkpoint, images):
    """Every convolution and attention of the checkpoint's snapped model, in SOPs and in dense MACs."""
    prepared = export.prepare(checkpoint)
    graph = from_nir(prepared.graph)
    frames = neuromorphic.encode(graph, images)
    recorded = export.record(prepared, frames)
    spikes = {node.name: recorded.spikes[node.name] for node in graph.populations}
    counts = energy.count(graph, Trace("torch", "float", spikes, recorded.outputs))
    sops = spikingjelly_sops(prepared.model, torch.from_numpy(frames))
    macs = pytorch_macs(prepared.model, torch.from_numpy(frames))
    modules = dict(prepared.model.encoder.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, layer.Conv2d)]
    published = checkpoint.config.architecture == "paper"
    assert len(convolutions) == 5 + (4 if published else 6) * checkpoint.config.depth
    for name in convolutions:
        found = counts.layers[name]
        assert found.sops == sops[f"encoder.{name}"], name
        assert found.macs_dense + found.dense_padded == macs[f"encoder.{name}"], name
        assert (found.macs > 0) is (name == convolutions[0])
    active = sum(counts.layers[name].sops > 0 for name in convolutions)
    assert active > len(convolutions) // 2, "a silent layer proves nothing"
    attentions = [name for name, module in modules.items() if isinstance(module, SpikingSelfAttention)]
    assert (
        len(attentions)
        == sum(layer.attention is not None for layer in counts.layers.values())
        == (checkpoint.config.depth if published else 0)
    )
    for name in attentions:
        additions = counts.layers[name].attention
        assert 0 < expected_of_spikingjelly(additions) == sops[f"encoder.{name}"], name
        assert additions.dense == macs[f"encoder.{name}"], name
    assert counts.attention.coincidences == round(counts.attention_per_image.mean * counts.images)
    readout = counts.layers["readout"]  # reads sums of spikes, or of currents with biases
    assert readout.macs + readout.dense_padded == macs["readout"]
    table = twin_table(checkpoint.config, len(checkpoint.label_names))
    assert counts.ann.parameters == table["parameters"]
    assert counts.ann.macs == len(images) * sum(entry["macs"] for entry in table["layers"])


def expected_of_spikingjelly(additions):
    """It takes the first product, of spikes by spikes, by coincidences; the second, of spikes by sums, one-sidedly."""
    return additions.products["KV"].coincidences + additions.products["Q(KV)"].one_sided


@pytest.mark.parametrize(
    ("seed", "sizes"),
    [
        (0, {}),
        (1, {"depth": 2, "time_steps": 5, "image_size": 12}),
        (4, {"stem_pools": (2, 3), "stem_channels": (3, 6, 10, 9)}),
        (2, {"architecture": "paper", "heads": 2}),
        (3, {"architecture": "paper", "heads": 4, "depth": 2, "time_steps": 3, "image_size": 24}),
    ],
)
def test_random_encoders(make_encoder, seed, sizes):
    encoder = make_encoder(seed, **sizes)
    torch.manual_seed(seed)
    model = SpikeClip(encoder, torch.nn.Linear(16, 5), tuple("abcde")).eval()
    size = encoder.config.image_size
    images = np.random.default_rng(seed).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    check_encoder(Checkpoint(model, Preprocessing(image_size=size)), images)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_shipped_encoders(name, photographs):
    checkpoint = spikeclip.load(name)
    check_encoder(checkpoint, photographs(checkpoint.config.image_size, 8).images)


@pytest.mark.parametrize(
    ("groups", "stride", "padding", "dilation"),
    [(1, (1, 1), (1, 1), (1, 1)), (2, (2, 1), (0, 2), (1, 1)), (4, (3, 2), (2, 1), (2, 1))],
)
def test_one_convolution(groups, stride, padding, dilation):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 8, 3, stride, padding, dilation, groups)
    weight = np.zeros((8, 4, 3, 3), np.float32)
    out_channels, in_channels = 8 // groups, 4 // groups
    for g in range(groups):
        rows, columns = g * out_channels, g * in_channels
        block = conv.weight[rows : rows + out_channels].detach().numpy()
        weight[rows : rows + out_channels, columns : columns + in_channels] = block
    spikes = np.random.default_rng(groups).random((2, 3, 4, 7, 9)) < 0.3
    x = torch.from_numpy(spikes.reshape(6, 4, 7, 9).astype(np.float32))
    shape = tuple(conv(x).shape[1:])
    graph = after_neurons(convolution(weight, (7, 9), stride, padding, dilation), (4, 7, 9), shape)
    counted = energy.count(graph, trace_of(graph, lif=spikes)).layers["node"]
    assert counted.sops == spikingjelly_sops(torch.nn.Sequential(conv), x)["0"]
    assert counted.dense_padded == pytorch_macs(torch.nn.Sequential(conv), x)["0"]


def test_a_linear_layer():
    torch.manual_seed(0)
    net = torch.nn.Sequential(neuron.LIFNode(), torch.nn.Flatten(), torch.nn.Linear(12, 5))
    nodes = {
        "lif": lif((3, 2, 2)),
        "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
        "linear": nir.Affine(net[2].weight.detach().numpy(), net[2].bias.detach().numpy()),
    }
    graph = from_nir(chain(nodes, (3, 2, 2), (5,), time_steps=1))
    x = 3 * torch.rand(6, 3, 2, 2)
    spikes = (x / 2 >= 1).numpy()[:, None]
    assert energy.count(graph, trace_of(graph, lif=spikes)).sops == spikingjelly_sops(net, x)["2"] > 0


@pytest.mark.parametrize(("rate", "size"), [(0.3, (5, 3)), (0.5, (4, 4)), (0.7, (1, 9))])
def test_self_attention(rate, size):
    spikes = np.random.default_rng(0).random((3, 2, 24, *size)) < rate
    x = torch.from_numpy(spikes.astype(np.float32)).transpose(0, 1)
    attention = torch.nn.Sequential(SpikingSelfAttention(heads=2, scale=0.125))
    counts = count_attention(spikes, heads=2).layers["product"].attention
    assert spikingjelly_sops(attention, x)["0"] == expected_of_spikingjelly(counts) > 0
    assert pytorch_macs(attention, x)["0"] == counts.dense
