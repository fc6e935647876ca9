"""What the encoder is compared with: the graph's own layers once, and an ANN of as many bits as T steps can tell."""

from importlib import resources

import nir
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import energy
from energy.ann import dense_baseline
from energy.assembly import fair
from energy.bit_matching import bit_matched
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import attention, chain, lif

FP32, INT8, LOIHI = energy.read_devices(energy.SHIPPED)


def graph_of_everything():
    weight, bias = np.ones((4, 2, 3, 2), np.float32), np.array([1, 0, 0, 0], np.float32)
    nodes = {
        "conv": nir.Conv2d((5, 6), weight, (2, 1), (1, 0), (1, 1), 1, bias),
        "lif": lif((4, 3, 5)),
        "pool": nir.SumPool2d(np.array([3, 1]), np.array([1, 1]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 1, 5])}, 0, -1),
        "fc": nir.Linear(np.ones((7, 20), np.float32)),
        "scale": nir.Scale(np.full(7, 2, np.float32)),
        "out": lif((7,)),
    }
    return from_nir(chain(nodes, (2, 5, 6), (7,)))


def test_the_dense_baseline_by_hand_and_by_pytorch():
    graph = graph_of_everything()
    found = dense_baseline(graph, 3)
    # 4 × 3 × 5 outputs of 2 × 3 × 2 taps; 7 × 20; 7 factors.  Biases: one per output of `conv`.
    macs = {"conv": 60 * 12, "fc": 140, "scale": 7}
    assert {name: layer.macs for name, layer in found.layers.items()} == {name: 3 * n for name, n in macs.items()}
    assert {name: layer.additions for name, layer in found.layers.items()} == {"conv": 3 * 60, "fc": 0, "scale": 0}
    assert (found.baseline, found.parameters, found.shaped) == ("dense", 48 + 4 + 140 + 7, True)
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.conv2d(torch.ones(1, 2, 5, 6), torch.ones(4, 2, 3, 2), stride=(2, 1), padding=(1, 0))
        torch.ones(1, 20) @ torch.ones(20, 7)
    assert counter.get_total_flops() // 2 == macs["conv"] + macs["fc"]


def test_attention_counts_both_of_its_products():
    # 2 heads of 3 channels, 2 × 5 tokens: 2 · 2 · 3 · 3 · 10.
    graph = from_nir(chain({"qkv": lif((18, 2, 5)), "product": attention((18, 2, 5), 2)}, (18, 2, 5), (6, 2, 5)))
    (layer,) = dense_baseline(graph, 1).layers.values()
    assert (layer.kind, layer.macs) == ("matmul", 2 * 2 * 3 * 3 * 10)


@pytest.mark.parametrize(("steps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (127, 7)])
def test_bits_that_match_the_time_steps(steps, bits):
    found = bit_matched(INT8, steps)
    assert (found.name, found.widths.activation, found.widths.weight) == (f"45nm-int8-{bits}bit", bits, 8)
    assert found.operations["multiply"].value == pytest.approx(0.2 * bits / 8)
    assert found.operations["add"] == INT8.operations["add"]
    assert fair(INT8, found)
    assert fair(FP32, found)
    assert not fair(found, INT8)
    assert type(INT8).model_validate(found.model_dump()) == found  # as a file of prices may hold it


def test_what_has_no_matching_bits():
    assert [bit_matched(device, 4) for device in (FP32, LOIHI)] == [None, None]
    assert [bit_matched(INT8, steps) for steps in (255, 5000)] == [None, None]  # 8 bits, as it has, and 13


def test_a_bit_matched_twin_is_compared_beside_the_others():
    graph = graph_of_everything()
    frames = np.random.default_rng(0).normal(size=(3, 2, 5, 6)).astype(np.float32) * 3
    counts = energy.count(graph, run(graph, frames)).model_copy(update={"ann": dense_baseline(graph, 3)})
    narrow = bit_matched(INT8, 4)
    report = energy.assemble(graph, counts, [INT8], energy.provenance(graph), ann_devices=[narrow])
    accounts = report.devices["45nm-int8"].accounts
    for scheme, account in accounts.items():
        assert [one.ann_device for one in account.comparisons] == ["45nm-int8", "45nm-int8-3bit"], scheme
        same, hard = account.comparisons
        assert hard.ann_energy < same.ann_energy
        assert "in int8 with activations of 3 bits" in hard.sentence
    assert accounts["papers"].comparisons[1].ann_energy == pytest.approx(867 * (0.03 + 0.2 * 3 / 8))
    # Activations lie packed.
    same, hard = accounts["ideal_reuse"].comparisons
    assert same.ann_parts["activations"] / hard.ann_parts["activations"] == pytest.approx(8 / 3)


@pytest.mark.parametrize("bits", [1, 3, 5, 12])
def test_a_device_of_any_number_of_bits(tmp_path, bits):
    text = (resources.files("energy") / "devices" / "45nm-int8.toml").read_text()
    for before, after in (
        ("45nm-int8", "mine"),
        ("weight = 8", f"weight = {bits}"),
        ("activation = 8", f"activation = {bits}"),
    ):
        text = text.replace(before, after)
    (tmp_path / "mine.toml").write_text(text)
    device = energy.read_device(tmp_path / "mine.toml")
    graph = graph_of_everything()
    counts = energy.count(graph, run(graph, np.ones((3, 2, 5, 6), np.float32)))
    report = energy.assemble(graph, counts, [device], energy.provenance(graph))
    # With ideal reuse: 48 + 4 weights of `conv`, 140 of `fc`, 7 factors, in whole bytes over 3 images.
    assert report.devices["mine"].traffic.ideal_reuse.weights == -(-3 * 199 * bits // 8)


def test_a_device_of_no_bits_is_refused(tmp_path):
    text = (resources.files("energy") / "devices" / "45nm-int8.toml").read_text().replace("weight = 8", "weight = 0")
    (tmp_path / "none.toml").write_text(text)
    with pytest.raises(energy.prices.RefusedInput, match=r"widths\.weight is '0'"):
        energy.read_device(tmp_path / "none.toml")


def test_accuracy_stands_beside_every_verdict():
    graph = graph_of_everything()
    counts = energy.count(graph, run(graph, np.ones((3, 2, 5, 6), np.float32)))
    assert counts.predictions.shape == (3,)
    counts = counts.model_copy(update={"ann": dense_baseline(graph, 3)})
    accuracy = energy.document.Accuracy(snn=2 / 3, ann=0.7)
    report = energy.assemble(graph, counts, [FP32, INT8], energy.provenance(graph), accuracy=accuracy)
    sentences = [c.sentence for d in report.devices.values() for a in d.accounts.values() for c in a.comparisons]
    assert sentences
    assert all(
        text.endswith("Accuracy 66.67%, of an ANN of its own layers, evaluated once 70.00%.") for text in sentences
    )
