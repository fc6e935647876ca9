"""Graphs in integers to netx files: what was written is read back bit by bit, and what netx can't hold is named."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.netx.chains import chains
from neuromorphic.deploy.netx import to_layers, write_netx
from neuromorphic.errors import RefusedInput
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.netx.graph import from_layers
from neuromorphic.reading.netx.layers import Conv, Dense, Flatten, Input, Neuron
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.graphs import small_net
from tests.neuromorphic.reading.netx.files import dense, write

NEURON = Neuron(4096, 1024, 25)
ZEROS = np.zeros(2, np.int64)


def equal(one, other):
    """Whether two layers hold the same values."""
    return type(one) is type(other) and all(np.array_equal(value, vars(other)[key]) for key, value in vars(one).items())


@pytest.mark.parametrize("seed", range(3))
def test_chains_come_back_bit_by_bit(tmp_path, seed):
    for name, layers, _ in chains(seed):
        path = tmp_path / f"{name}.net"
        write_netx(from_layers(layers, name), path)
        found = to_layers(read_graph(path))
        graph = from_layers(layers, name)
        assert len(found) == len(layers), name
        assert all(equal(one, other) for one, other in zip(found, to_layers(graph), strict=True)), name
        for node, again in zip(graph.nodes.values(), read_graph(path).nodes.values(), strict=True):
            assert equal(node.operation, again.operation), node.name


@settings(max_examples=25, deadline=None)
@given(
    weight=st.lists(st.integers(-256, 255), min_size=6, max_size=6).filter(any),
    bias=st.lists(st.integers(-4096, 4095), min_size=2, max_size=2),
    current=st.integers(1, 4096),
    decay=st.integers(0, 4096),
    threshold=st.integers(0, 2**17 - 1),
    neurons=st.integers(1, 2),
)
def test_no_integer_of_a_layer_changes(weight, bias, current, decay, threshold, neurons):
    layer = Dense(np.reshape(weight, (neurons, -1)), np.array(bias[:neurons]), Neuron(current, decay, threshold))
    assert equal(to_layers(from_layers([layer], "n"))[0], layer)


def test_biases_of_single_neurons_of_a_map_are_kept(tmp_path):
    bias = np.arange(12).reshape(2, 2, 3)
    layer = Conv(np.ones((2, 1, 1, 1), np.int64), bias, NEURON, (2, 2, 3), (1, 1), (0, 0), (1, 1), 1)
    write_netx(from_layers([Input((1, 2, 3)), layer], "n"), tmp_path / "n.net")
    found = read_graph(tmp_path / "n.net").nodes["layer.1"].operation
    assert np.array_equal(found.bias, bias * 64)


def test_a_file_has_the_keys_that_lava_dl_reads(tmp_path):
    layers = [Input((1, 2, 3)), Flatten(), Dense(np.full((2, 6), 4), np.array([1, 2]), NEURON)]
    write_netx(from_layers(layers, "n"), tmp_path / "n.net")
    with h5py.File(tmp_path / "n.net") as file:
        assert [file[f"layer/{n}/type"][0] for n in range(3)] == [b"input", b"flatten", b"dense"]
        assert file["layer/2/weight"][()].tolist() == [[4.0] * 6] * 2
        assert {key: file[f"layer/2/neuron/{key}"][()] for key in ("iDecay", "vDecay", "vThMant", "refDelay")} == {
            "iDecay": 4096,
            "vDecay": 1024,
            "vThMant": 25,
            "refDelay": 1,
        }


def test_what_netx_lacks_is_named_all_at_once():
    frames = np.random.default_rng(0).random((4, *from_nir(small_net()).nodes["input"].shape), np.float32)
    graph, _ = quantise(from_nir(small_net()), frames)
    lif = graph.nodes["lif"].operation
    odd = replace(lif, threshold=lif.threshold + (np.indices(lif.threshold.shape)[0] == 0), bias_mantissa=lif.threshold)
    with pytest.raises(RefusedInput, match="netx can't hold it") as caught:
        to_layers(graph.with_operations({"lif": odd}))
    for words in ("lif has thresholds", "lif has biases"):
        assert words in str(caught.value)


def test_floats_are_refused():
    with pytest.raises(RefusedInput, match="holds floats; expected the chip's integers"):
        to_layers(from_nir(small_net()))


def test_weights_of_zero_only_are_refused():
    with pytest.raises(RefusedInput, match=r"layer\.0\.dense has weights of zero only"):
        to_layers(from_layers([Dense(np.zeros((2, 3), np.int64), ZEROS, NEURON)], "n"))


def test_synapses_that_wait_for_different_pairs_are_refused(tmp_path):
    path = write(tmp_path / "n.net", dense(np.full((2, 2), 4.0), delay=np.array([[0, 1], [2, 0]])))
    with pytest.raises(RefusedInput, match="expected a chain"):
        to_layers(read_graph(path))
