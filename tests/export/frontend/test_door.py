"""Networks of other people through the front door: spike for spike, on a rung that is named; and what is refused."""

import copy
import json

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import ms_resnet, qkformer, spike_driven_transformer, spikformer
from torch import nn

from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, lively, prepare, rates, report, report_on

IMAGE = (3, 16, 16)


SIZES = {"T": 4, "num_classes": 5, "embed_dims": 32}

NETWORKS = {
    "Spikformer": lambda: spikformer.Spikformer(
        img_size_h=16, img_size_w=16, patch_size=4, num_heads=2, depths=1, **SIZES
    ),
    "QKFormer": lambda: qkformer.QKFormer(num_heads=(2, 2, 2), depths=(1, 1, 1), **SIZES),
    "QKFormer of channels": lambda: qkformer.QKFormer(
        num_heads=(2, 2, 2), depths=(1, 1, 1), qka_type="channel", **SIZES
    ),
    "spike-driven transformer": lambda: spike_driven_transformer.SpikeDrivenTransformer(
        num_heads=2, depths=1, pooling_stat="0011", **SIZES
    ),
    "Max-ResNet": lambda: ms_resnet.MaxResNet(
        T=4, num_classes=5, layers=(1, 1, 1), base_channels=8, stem_kernel_size=3, stem_stride=1
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_spikingjellys_models_spike_for_spike(name):
    torch.manual_seed(0)
    prepared = prepare(lively(NETWORKS[name]()), *IMAGE)
    found = assert_same(prepared, images=2)
    assert found.predictions_agree == 2
    assert sum(rate > 0.01 for rate in rates(prepared).values()) >= len(prepared.populations) / 2
    assert all(node.rung != "no proof" for node in prepared.certificate.nodes.values() if node.exact)


class Small(nn.Module):
    """Two convolutions, neurons behind each, a matrix: images that it presents four times itself."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            layer.Conv2d(3, 8, 3, padding=1),
            layer.BatchNorm2d(8),
            neuron.LIFNode(**settings),
            layer.Conv2d(8, 8, 3, padding=1, stride=2),
            layer.BatchNorm2d(8),
            neuron.LIFNode(**settings),
            layer.Flatten(),
            layer.Linear(8 * 16, 5),
        )
        functional.set_step_mode(self.net, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.unsqueeze(0).repeat(4, 1, 1, 1, 1)).mean(0)


@pytest.fixture(scope="module")
def small():
    return prepare(lively(Small()), 3, 8, 8)


def test_frames_to_try_are_within_half_of_the_bounds(small):
    frames = small.inputs.random(16, 4, 0)
    low, high = small.inputs.low / 2, small.inputs.high / 2
    assert low <= frames.min() < 0.9 * low
    assert 0.9 * high < frames.max() <= high


class Summed(nn.Module):
    """Sums of spikes over channels, or over the places of a map read column by column, with as many of the one."""

    def __init__(self, over: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.over = over
        self.conv, self.lif = layer.Conv2d(3, 6, 3, padding=1, step_mode="m"), neuron.LIFNode(step_mode="m")
        self.out, self.fires = layer.Linear(6, 4, step_mode="m"), neuron.LIFNode(step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = self.lif(8 * self.conv(x))
        sums = spikes.sum(2) if self.over == "channels" else spikes.transpose(-1, -2).flatten(3).sum(-1)
        return self.fires(self.out(sums.flatten(2)))


@pytest.mark.parametrize("over", ["channels", "places"])
def test_sums_over_channels_are_none_over_as_many_places(over):
    prepared = prepare(Summed(over), 4, 2, 3, 2, 3, axes="TBCHW", input_kind="spikes", bounds=None)
    assert_same(prepared, images=8)
    pools = [node for node in prepared.graph.nodes.values() if isinstance(node, nir.SumPool2d)]
    assert len(pools) == (over == "places")


def test_the_users_module_stays_as_it_is():
    net = lively(Small())
    before = copy.deepcopy(net.state_dict())
    prepare(net, 3, 8, 8)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_folding_and_snapping_change_what_is_returned_by_little(small):
    frames = small.inputs.random(16, 4, 0)
    with torch.no_grad():
        expected = lively(Small())(torch.from_numpy(frames)).numpy()
    assert np.abs(small.record(frames).result - expected).max() < 1e-3


@torch.no_grad()
def test_one_bias_moved_by_one_step_of_its_grid_is_found(small):
    """The control: a neuron whose membrane stands at its threshold tells a bias from the next one on its grid."""
    bits = small.grids["net.0"].bias_bits
    node, lif = small.graph.nodes["net.0"], small.graph.nodes["net.2"]
    frames = np.zeros((1, 3, 8, 8), np.float32)
    below = float(np.nextafter(np.float32(1), np.float32(0)))
    kept = node.bias.copy(), small.module.net[1].bias.clone()
    try:
        # v_1 = b / 2 is at the threshold 1 where b = 2, and one step of the grid below it where b is.
        node.bias[0], small.module.net[1].bias[0] = 2.0, 2.0
        assert float(lif.v_threshold[0, 0, 0]) == below
        assert report_on(small, frames).mismatches == 0
        node.bias[0] -= np.float32(2.0**-bits)
        found = report_on(small, frames)
        assert found.first_mismatch.node == "net.2"
        assert found.nodes["net.2"].mismatches >= 64
    finally:
        node.bias[:] = kept[0]
        with torch.no_grad():
            small.module.net[1].bias.copy_(kept[1])


def test_the_file_says_its_rungs_and_its_input(small, tmp_path):
    from export.convert import write

    path = tmp_path / "net.nir"
    write(small.graph, path)
    metadata = read_graph(path).metadata
    assert metadata.time_steps == 4
    assert metadata.document["input"] == {"kind": "real", "axes": "BCHW", "low": -2.0, "high": 2.0, "bits": 6}
    assert {node["rung"] for node in metadata.document["certificate"]["nodes"].values()} == {"24 bits"}
    assert json.dumps(metadata.document)


def test_decays_that_are_no_dyadic_number_are_snapped_and_named():
    prepared = prepare(lively(Small(tau=1.7)), 3, 8, 8)
    assert prepared.certificate.exact
    assert prepared.certificate.nodes["net.2"].rung == "53 bits, snapped decay"
    assert prepared.certificate.nodes["net.2"].decay_bits >= 6
    assert_same(prepared)


def test_thresholds_that_are_no_float_stay_on_one_side():
    assert_same(prepare(lively(Small(v_threshold=0.3)), 3, 8, 8), images=20)


class Mixing(nn.Module):
    """Neurons on an axis of times and images together, as in the published QKFormer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif = nn.Conv2d(3, 4, 1), neuron.LIFNode(step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x.unsqueeze(0).repeat(4, 1, 1, 1, 1).flatten(0, 1))
        return self.lif(y).unflatten(0, (4, -1)).mean((0, 3, 4))


def test_membranes_that_flow_from_image_to_image_are_found_and_explained():
    with pytest.raises(RefusedInput, match=r"'lif'.*from image to image"):
        prepare(Mixing(), 3, 8, 8)


def test_the_same_with_one_image_at_a_time_has_a_meaning():
    prepared = prepare(Mixing(), 1, 3, 8, 8, axes="BCHW")
    frames = prepared.inputs.random(3, 4, 0)
    trace = run(from_nir(prepared.graph), frames)
    found = prepared.record(frames, batch=1)
    assert (found.spikes["lif"][0] == trace.spikes["lif"].bits).all()


class Positions(nn.Module):
    """A learned constant at every position, into leaky neurons."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.lif, self.head = nn.Conv2d(3, 4, 3, padding=1), neuron.LIFNode(step_mode="m"), nn.Linear(4, 3)
        self.position = nn.Parameter(torch.randn(1, 1, 4, 8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x).unsqueeze(0).repeat(4, 1, 1, 1, 1) + self.position
        return self.head(self.lif(y).mean((3, 4))).mean(0)


def test_a_positional_embedding_becomes_what_neurons_leak_to():
    prepared = prepare(Positions(), 3, 8, 8)
    assert prepared.graph.nodes["lif"].v_leak.any()
    assert_same(prepared)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Conv2d(3, 4, 1), nn.GELU(), neuron.LIFNode()], [r"'layers.1'", "aten.gelu"]),
        ([nn.Conv2d(3, 4, 1), nn.LayerNorm([4, 8, 8]), neuron.LIFNode()], [r"'layers.1'", "aten.layer_norm"]),
        ([nn.Conv2d(3, 4, 1), neuron.QIFNode()], [r"'layers.1'", "QIFNode"]),
        ([nn.Conv2d(3, 4, 1)], ["no neurons"]),
    ],
)
def test_what_has_no_lowering_is_refused_by_module_and_operator(layers, words):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.layers(x) for _ in range(4)])

    with pytest.raises(RefusedInput) as caught:
        prepare(Net(), 3, 8, 8)
    for word in words:
        assert word in str(caught.value)


def test_a_report_names_the_first_spike_that_differs(small):
    neurons = small.graph.nodes["net.2"]
    kept = neurons.v_threshold
    neurons.v_threshold = np.full_like(kept, 100.0)
    try:
        found = report(small, images=2)
    finally:
        neurons.v_threshold = kept
    assert found.nodes["net.2"].mismatches > 0
    assert (found.first_mismatch.node, found.first_mismatch.found) == ("net.2", False)
