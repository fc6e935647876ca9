"""The document: its schema, that its sums agree, that its break-even rates hold, and what it never compares."""

import json
from pathlib import Path

import nir
import numpy as np
import pytest

import energy
from energy.assembly import fair
from energy.document import Data, Document, schema_text
from energy.prices import Device
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.energy.test_sops import trace_of
from tests.neuromorphic.graphs import chain, lif, metadata, small_net

DEVICES = energy.read_devices(energy.SHIPPED)
TWIN = {
    "parameters": 100,
    "layers": [
        {
            "name": "conv",
            "kind": "conv2d",
            "macs": 2592,
            "inputs": [[2, 6, 6]],
            "weight": [4, 2, 3, 3],
            "output": [4, 6, 6],
        },
        {"name": "head", "kind": "linear", "macs": 180, "inputs": [[1, 36]], "weight": [5, 36], "output": [1, 5]},
    ],
}


@pytest.fixture(scope="module")
def small():
    nir_graph = small_net()
    nir_graph.metadata = metadata(4, twin=TWIN, checkpoint={"sha256": "ab", "seed": 3}, versions={"torch": "2"})
    graph = from_nir(nir_graph)
    frames = np.random.default_rng(1).normal(size=(6, 2, 6, 6)).astype(np.float32)
    return graph, energy.count(graph, run(graph, frames))


@pytest.fixture(scope="module")
def report(small):
    graph, counts = small
    return energy.assemble(graph, counts, DEVICES, energy.provenance(graph, Data(spec="here", sha256="cd"), ["x"]))


def test_the_schema_in_docs_is_that_of_the_code():
    path = Path(__file__).parents[2] / "docs" / "energy.schema.json"
    assert path.read_text() == schema_text(), "write schema_text() of energy.document there"


def test_a_document_survives_json(report):
    text = report.model_dump_json()
    assert Document.model_validate_json(text).model_dump_json() == text
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_where_the_figures_come_from(report):
    origin = report.provenance
    assert (origin.checkpoint_sha256, origin.seed, origin.command, origin.data.sha256) == ("ab", 3, ["x"], "cd")
    assert origin.versions["numpy"] == np.__version__
    assert origin.versions["export: torch"] == "2"
    assert origin.model_sha256 is None  # not read from a file


def test_parts_layers_and_images_add_up(report):
    for device in report.devices.values():
        for account in device.accounts.values():
            total = account.energy.mean
            assert total > 0
            assert sum(account.parts.values()) == pytest.approx(total)
            assert sum(sum(parts.values()) for parts in account.layers.values()) == pytest.approx(total)
            for one in account.comparisons:
                assert sum(one.ann_parts.values()) == pytest.approx(one.ann_energy)
                assert sum(sum(parts.values()) for parts in one.ann_layers.values()) == pytest.approx(one.ann_energy)
                assert one.ratio.mean == pytest.approx(total / one.ann_energy)
                assert one.fixed + one.proportional == pytest.approx(total)


def test_the_account_of_papers_by_hand(small, report):
    _, counts = small
    account = report.devices["45nm-fp32"].accounts["papers"]
    assert account.energy.mean == pytest.approx((counts.sops * 0.9 + counts.macs * 4.6) / 6)
    (same, hard) = account.comparisons
    assert same.ann_energy == pytest.approx((2592 + 180) * 4.6)
    assert hard.ann_energy == pytest.approx((2592 + 180) * 0.23)
    assert account.unpriced == {"neuron_updates": counts.neuron_updates, "additions": counts.additions.total}


def test_operations_by_hand(small, report):
    _, counts = small
    papers, every = (report.devices["45nm-int8"].accounts[scheme] for scheme in ("papers", "operations"))
    # An update adds the leak and compares, in 32 bits; tau = 2 shifts.  Biases are additions of 8 bits.
    more = counts.neuron_updates * 2 * 0.1 + counts.additions.total * 0.03
    assert every.energy.mean - papers.energy.mean == pytest.approx(more / 6)
    twin = every.comparisons[0].ann_energy - papers.comparisons[0].ann_energy
    assert twin == pytest.approx((144 + 5) * 0.03)


def test_memory_by_hand(small, report):
    # Every array of the small net fits into 8 KB: 10 pJ for 64 bits.
    per_byte = 10 / 8
    for name in ("45nm-fp32", "45nm-int8"):
        device = report.devices[name]
        for scheme in ("ideal_reuse", "no_reuse"):
            moved = sum(getattr(device.traffic, scheme).model_dump().values())
            account = device.accounts[scheme]
            extra = account.energy.mean - device.accounts["operations"].energy.mean
            assert extra == pytest.approx(moved * per_byte / 6)
            twin = sum(getattr(device.ann_traffic, scheme).model_dump().values()) * per_byte / 6
            cost = account.comparisons[0].ann_energy - device.accounts["operations"].comparisons[0].ann_energy
            assert cost == pytest.approx(twin)


def test_bytes_by_hand(small, report):
    _, counts = small
    spikes = [population.spikes for population in counts.populations.values()]
    traffic = report.devices["45nm-fp32"].traffic
    # Convolution of 4 · 2 · 9 weights and 4 biases, readout of 5 · 36 and 5; the frame of 2 · 36 values, once.
    assert traffic.ideal_reuse.weights == 6 * 4 * (72 + 4 + 180 + 5)
    assert traffic.ideal_reuse.activations == 6 * 4 * 72
    assert (traffic.ideal_reuse.states, traffic.ideal_reuse.spikes) == (0, 3 * 2 * sum(spikes))
    # Every SOP of the readout fetches a weight, every MAC of the convolution too, every bias is fetched in every step.
    biases = 6 * 4 * (144 + 5)
    assert traffic.no_reuse.weights == 4 * (counts.layers["readout"].sops + counts.macs + biases)
    assert traffic.no_reuse.activations == 4 * counts.macs
    assert traffic.no_reuse.states == 4 * 2 * (counts.sops + counts.neuron_updates)
    assert report.devices["45nm-int8"].traffic.no_reuse.weights * 4 == traffic.no_reuse.weights
    twin = report.devices["45nm-fp32"].ann_traffic
    assert twin.ideal_reuse.weights == 6 * 4 * (72 + 4 + 180 + 5)
    assert twin.no_reuse.weights == 6 * 4 * (2592 + 144 + 180 + 5)
    assert (twin.no_reuse.states, twin.no_reuse.spikes) == (0, 0)


def test_a_graph_without_neurons_has_a_report():
    graph = from_nir(chain({"readout": nir.Linear(np.ones((2, 3), np.float32))}, (3,), (2,), twin=TWIN))
    counts = energy.count(graph, run(graph, np.ones((2, 3), np.float32)))
    (same, _) = (
        energy.assemble(graph, counts, DEVICES, energy.provenance(graph))
        .devices["45nm-fp32"]
        .accounts["papers"]
        .comparisons
    )
    assert (same.rate, same.proportional, same.break_even_rate, same.verdict) == (None, 0.0, None, "cheaper")
    assert same.ratio.mean == pytest.approx(24 / (2592 + 180))


def test_a_chip_by_hand_and_never_against_bare_operations(small, report):
    _, counts = small
    account = report.devices["loihi1"].accounts["chip"]
    spikes = sum(population.spikes for population in counts.populations.values())
    active = counts.neuron_updates_needed
    expected = counts.sops * 23.6 + active * 81 + (counts.neuron_updates - active) * 52 + spikes * 1.7
    assert account.energy.mean == pytest.approx(expected / 6)
    assert account.unpriced == {"macs": counts.macs, "additions": counts.additions.total}
    assert account.comparisons == []
    assert list(report.devices["loihi1"].accounts) == ["chip"]


def test_who_is_compared_with_whom(report):
    pairs = {
        (name, one.ann_device, one.same_precision)
        for name, device in report.devices.items()
        for account in device.accounts.values()
        for one in account.comparisons
    }
    assert pairs == {
        ("45nm-fp32", "45nm-fp32", True),
        ("45nm-fp32", "45nm-int8", False),
        ("45nm-int8", "45nm-int8", True),
    }


def test_another_process_node_is_not_compared():
    fp32, int8, _ = DEVICES
    other = Device.model_validate({**int8.model_dump(), "name": "mine", "technology": "7 nm"})
    assert fair(fp32, int8)
    assert not fair(fp32, other)
    assert fair(other, other)


def test_break_even_rates_hold():
    # 8 neurons of equal fan-out, so that k of them are a rate of k / 8: the line of one run gives the cost of another.
    nodes = {"lif": lif((8,)), "readout": nir.Linear(np.ones((4, 8), np.float32))}
    twin = {
        "parameters": 0,
        "layers": [
            {"name": "head", "kind": "linear", "macs": 150, "inputs": [[15]], "weight": [10, 15], "output": [10]}
        ],
    }
    graph = from_nir(chain(nodes, (8,), (4,), twin=twin))

    def priced(firing):
        spikes = np.broadcast_to(np.arange(8) < firing, (2, 4, 8))
        counts = energy.count(graph, trace_of(graph, lif=spikes))
        return energy.assemble(graph, counts, DEVICES, energy.provenance(graph)).devices

    few, many = priced(1), priced(6)
    seen = 0
    for name, device in few.items():
        for scheme, account in device.accounts.items():
            for one, other in zip(account.comparisons, many[name].accounts[scheme].comparisons, strict=True):
                assert (one.rate, other.rate) == (1 / 8, 6 / 8)
                line = (one.fixed + one.proportional * other.rate / one.rate) / one.ann_energy
                assert other.ratio.mean == pytest.approx(line)
                assert one.break_even_rate == pytest.approx(other.break_even_rate)
                if one.break_even_rate is not None and 1 / 8 < one.break_even_rate < 6 / 8:
                    assert one.ratio.mean < 1 < other.ratio.mean
                    seen += 1
    assert seen


def test_break_even_of_a_layer_by_hand(report):
    # Of 36 inputs and 5 outputs in 4 steps: 720 SOPs at a rate of 1 against 180 MACs.
    accounts = report.devices["45nm-fp32"].accounts
    assert accounts["papers"].break_even_rates == {"readout": pytest.approx(180 * 4.6 / (720 * 0.9))}
    # Per element in 8 KB: a weight, an activation or a state 5 pJ, an address 3.75 pJ; 144 spikes at a rate of 1.
    slope = 720 * (0.9 + 5 + 2 * 5) + 144 * 3.75
    real = 180 * (4.6 + 5 + 5) + 5 * 5
    assert accounts["no_reuse"].break_even_rates == {"readout": pytest.approx(real / slope)}
    ideal = (180 * 4.6 + 36 * 5 + 5 * 5) / (720 * 0.9 + 144 * 3.75)
    assert accounts["ideal_reuse"].break_even_rates == {"readout": pytest.approx(ideal)}
    assert report.devices["loihi1"].accounts["chip"].break_even_rates == {}


def test_a_twin_without_shapes_is_compared_where_none_are_needed(small):
    graph, _ = small
    nir_graph = small_net()
    nir_graph.metadata = metadata(4, twin={"parameters": 1, "layers": [{"name": "a", "kind": "linear", "macs": 9}]})
    graph = from_nir(nir_graph)
    counts = energy.count(graph, run(graph, np.ones((2, 2, 6, 6), np.float32)))
    report = energy.assemble(graph, counts, DEVICES, energy.provenance(graph))
    compared = {scheme: bool(a.comparisons) for scheme, a in report.devices["45nm-fp32"].accounts.items()}
    assert compared == {"papers": True, "operations": False, "ideal_reuse": False, "no_reuse": False}
    assert report.devices["45nm-fp32"].ann_traffic is None
    assert any("gives no shapes" in one.why for one in report.not_counted)


def test_without_a_twin_nothing_is_compared():
    graph = from_nir(small_net())
    counts = energy.count(graph, run(graph, np.ones((1, 2, 6, 6), np.float32)))
    report = energy.assemble(graph, counts, DEVICES, energy.provenance(graph))
    assert report.ann is None
    assert not [one for d in report.devices.values() for a in d.accounts.values() for one in a.comparisons]
    assert any("One image" in note for note in report.notes)


def test_what_is_left_out_is_said(report):
    assert any("Loihi 2" in note for note in report.notes)
    assert {one.side for one in report.not_counted} == {"snn", "ann", "both"}


def test_steps_and_images_add_up(report):
    for layer in report.snn.layers.values():
        assert sum(layer.sops_per_step) == layer.sops == round(layer.sops_per_image.mean * report.images)
        assert len(layer.sops_per_step) == report.time_steps
    for population in report.snn.populations.values():
        assert sum(population.spikes_per_step) == population.spikes
