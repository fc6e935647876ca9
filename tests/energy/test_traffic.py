"""Bytes by hand, for every rule of `energy/traffic.py`; and what ideal reuse can't exceed."""

import nir
import numpy as np
import pytest

import energy
from energy.prices import Widths
from energy.traffic import ann_accesses, snn_accesses, width
from neuromorphic.reading.build import from_nir
from tests.energy.test_attention import attention_graph
from tests.energy.test_sops import trace_of
from tests.neuromorphic.graphs import chain, conv, lif, max_pool, metadata

WIDTHS = Widths(weight=8, activation=16, state=32, address=24)


def elements(accesses, part):
    """Elements moved by layer, of the first image."""
    found = {}
    for access in accesses:
        if access.part == part:
            found[access.layer] = found.get(access.layer, 0) + int(access.moved[0])
    return found


def perceptron():
    """input (2) -> affine 2 to 3, with biases -> LIF -> linear 3 to 2 -> output; 4 steps, 5 spikes."""
    affine = nir.Affine(np.ones((3, 2), np.float32), np.ones(3, np.float32))
    nodes = {"affine": affine, "lif": lif((3,)), "readout": nir.Linear(np.ones((2, 3), np.float32))}
    graph = from_nir(chain(nodes, (2,), (2,)))
    spikes = np.array([[[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0]]], np.bool_)
    return graph, energy.count(graph, trace_of(graph, lif=spikes))


def test_without_reuse_by_hand():
    accesses = snn_accesses(*perceptron(), "no_reuse")
    # 6 MACs and 3 biases in 4 steps; then a weight for each of 5 · 2 SOPs.
    assert elements(accesses, "weights") == {"affine": 4 * (6 + 3), "readout": 10}
    # Each MAC reads an activation.  Currents that arrive at neurons or leave the graph are written nowhere.
    assert elements(accesses, "activations") == {"affine": 24}
    # Each SOP reads and writes a sum, each update a membrane.
    assert elements(accesses, "states") == {"lif": 2 * 3 * 4, "readout": 2 * 10}
    # Each spike is written and read once.
    assert elements(accesses, "spikes") == {"lif": 5, "readout": 5}


def test_with_ideal_reuse_by_hand():
    accesses = snn_accesses(*perceptron(), "ideal_reuse")
    assert elements(accesses, "weights") == {"affine": 6 + 3, "readout": 6}
    # The frame is the same in every step.
    assert elements(accesses, "activations") == {"affine": 2}
    assert elements(accesses, "states") == {}
    assert elements(accesses, "spikes") == {"lif": 5, "readout": 5}


def test_bytes_follow_the_widths():
    for access in snn_accesses(*perceptron(), "no_reuse"):
        size = {"weights": 1, "activations": 2, "states": 4, "spikes": 3}[access.part]
        assert (width(access.part, WIDTHS), access.bytes_held(WIDTHS)) == (8 * size, access.held * size)
    held = {(access.layer, access.part): access.held for access in snn_accesses(*perceptron(), "no_reuse")}
    assert held == {
        ("affine", "weights"): 9,
        ("affine", "activations"): 2,
        ("lif", "states"): 3,
        ("lif", "spikes"): 3,
        ("readout", "weights"): 6,
        ("readout", "states"): 2,
        ("readout", "spikes"): 3,
    }


def test_real_values_between_nodes_are_written_and_read():
    nodes = {"conv": conv(np.ones((1, 1, 1, 1)), hw=(4, 4)), "max": max_pool((1, 4, 4)), "lif": lif((1, 2, 2))}
    graph = from_nir(chain(nodes, (1, 4, 4), (1, 2, 2)))
    counts = energy.count(graph, trace_of(graph, lif=np.zeros((1, 4, 1, 2, 2), np.bool_)))
    # The convolution reads its frame and writes 16 values a step; the maximum looks at 25 taps, or at each once.
    # What it computes arrives at neurons.  With reuse one step does, since the frame is the same in all of them.
    assert elements(snn_accesses(graph, counts, "no_reuse"), "activations") == {"conv": 4 * (16 + 16), "max": 4 * 25}
    assert elements(snn_accesses(graph, counts, "ideal_reuse"), "activations") == {"conv": 16 + 16, "max": 16}


def test_two_readers_read_a_spike_twice():
    weight = np.ones((2, 3), np.float32)
    nodes = {
        "input": nir.Input(np.array([3])),
        "lif": lif((3,)),
        "one": nir.Linear(weight),
        "two": nir.Linear(weight),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "lif"), ("lif", "one"), ("lif", "two"), ("one", "output"), ("two", "output")]
    graph = from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(4), type_check=False))
    counts = energy.count(graph, trace_of(graph, lif=np.ones((1, 4, 3), np.bool_)))
    assert elements(snn_accesses(graph, counts, "ideal_reuse"), "spikes") == {"lif": 12, "one": 12, "two": 12}


def test_attention_moves_sums_not_weights():
    graph = attention_graph((6, 1, 2), 1)
    q, k, v = [[1, 1], [0, 1]], [[1, 0], [0, 0]], [[1, 1], [0, 1]]  # 1 and 2 coincidences: docs/energy.md
    qkv = np.array([q, k, v], np.bool_).reshape(1, 1, 6, 1, 2)
    counts = energy.count(graph, trace_of(graph, qkv=qkv, out=np.zeros((1, 1, 2, 1, 2), np.bool_)))
    accesses = snn_accesses(graph, counts, "no_reuse")
    assert elements(accesses, "states")["product"] == 2 * (1 + 2)
    assert elements(accesses, "spikes") == {"qkv": 7, "product": 7}
    assert elements(accesses, "weights") == {}
    assert elements(snn_accesses(graph, counts, "ideal_reuse"), "states") == {}


def test_synapses_of_pooling_have_no_weights():
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    graph = from_nir(chain({"a": lif((1, 2, 2)), "pool": pool, "b": lif((1, 1, 1))}, (1, 2, 2), (1, 1, 1)))
    ones = np.ones((1, 4, 1, 2, 2), np.bool_)
    counts = energy.count(graph, trace_of(graph, a=ones, b=np.zeros((1, 4, 1, 1, 1), np.bool_)))
    assert elements(snn_accesses(graph, counts, "no_reuse"), "weights") == {}
    assert elements(snn_accesses(graph, counts, "no_reuse"), "states")["pool"] == 2 * 16


def pooled_spikes():
    """A maximum of spikes that a convolution reads, between populations, behind a convolution of values."""
    one = conv(np.ones((1, 1, 1, 1)), hw=(4, 4))
    nodes = {"values": one, "a": lif((1, 4, 4)), "max": max_pool((1, 4, 4))}
    nodes |= {"conv": conv(np.ones((1, 1, 1, 1)), hw=(2, 2)), "b": lif((1, 2, 2))}
    return from_nir(chain(nodes, (1, 4, 4), (1, 2, 2)))


@pytest.mark.parametrize("graph", [pooled_spikes(), attention_graph((6, 1, 2), 1), perceptron()[0]])
@pytest.mark.parametrize("reuse", ["ideal_reuse", "no_reuse"])
def test_what_spikes_drive_moves_nothing_without_them_and_all_else_moves_as_much(graph, reuse):
    def moved(spike):
        spikes = {node.name: np.full((1, 4, *node.shape), spike) for node in graph.populations}
        accesses = snn_accesses(graph, energy.count(graph, trace_of(graph, **spikes)), reuse)
        return [(a.layer, a.part, int(a.moved[0]), a.held) for a in accesses if spike is False or not a.driven]

    assert moved(True) == moved(False)


TWIN = {
    "parameters": 0,
    "layers": [
        {
            "name": "conv",
            "kind": "conv2d",
            "macs": 72,
            "inputs": [[1, 2, 2]],
            "weight": [2, 1, 3, 3],
            "output": [2, 2, 2],
        },
        {
            "name": "scores",
            "kind": "matmul",
            "macs": 12,
            "inputs": [[1, 2, 3], [1, 3, 2]],
            "weight": None,
            "output": [1, 2, 2],
        },
    ],
}


@pytest.mark.parametrize(
    ("reuse", "weights", "activations"),
    [
        # A weight and an activation per MAC, a bias per output; two activations per MAC of a product; outputs written.
        ("no_reuse", {"conv": 72 + 8}, {"conv": 72 + 8, "scores": 2 * 12 + 4}),
        ("ideal_reuse", {"conv": 18 + 2}, {"conv": 4 + 8, "scores": 12 + 4}),
    ],
)
def test_the_twin_by_hand(reuse, weights, activations):
    nir_graph = chain({"lif": lif((2,))}, (2,), (2,), twin=TWIN)
    graph = from_nir(nir_graph)
    counts = energy.count(graph, trace_of(graph, lif=np.zeros((3, 4, 2), np.bool_)))
    accesses = ann_accesses(counts.ann, reuse)
    assert elements(accesses, "weights") == weights
    assert elements(accesses, "activations") == activations
    assert counts.ann.macs == 3 * 84
