"""The validated view: what it understands, and what it refuses by name."""

import nir
import numpy as np
import pytest

from neuromorphic.conversion import block_diagonal_groups
from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Affine, Conv2d, Flatten, Lif, Sink, Source, SumPool2d, from_nir
from tests.neuromorphic.graphs import chain, conv, lif, metadata, one_neuron, small_net


def refused(graph, *words):
    with pytest.raises(RefusedInput) as caught:
        from_nir(graph, "file.nir")
    message = str(caught.value)
    assert message.startswith("file.nir")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_nodes_come_in_topological_order_with_shapes():
    graph = from_nir(small_net())
    assert [type(n.operation) for n in graph.nodes.values()] == [
        Source, Conv2d, Lif, SumPool2d, Lif, Flatten, Affine, Sink,
    ]  # fmt: skip
    assert [n.shape for n in graph.nodes.values()] == [
        (2, 6, 6), (4, 6, 6), (4, 6, 6), (4, 3, 3), (4, 3, 3), (36,), (5,), (5,),
    ]  # fmt: skip
    assert [n.name for n in graph.populations] == ["lif", "lif2"]
    assert [n.name for n in graph.readers("lif")] == ["pool"]
    assert graph.metadata.time_steps == 4


def test_decay_is_exact_for_tau_of_two_steps():
    (population,) = from_nir(one_neuron()).populations
    assert population.operation.decay.tolist() == [0.5]


def test_strides_and_padding_give_pytorchs_shapes():
    graph = from_nir(chain({"c": conv(np.ones((2, 1, 3, 3)), stride=2, padding=1, hw=(7, 7))}, (1, 7, 7), (2, 4, 4)))
    assert graph.nodes["c"].shape == (2, 4, 4)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_block_diagonal_kernels_are_found(groups):
    weight = np.zeros((6, 6, 1, 1), np.float32)
    size = 6 // groups
    for g in range(groups):
        weight[g * size : (g + 1) * size, g * size : (g + 1) * size] = 1 + g
    assert block_diagonal_groups(weight) == groups
    graph = from_nir(chain({"c": conv(weight, hw=(2, 2))}, (6, 2, 2), (6, 2, 2)))
    assert graph.nodes["c"].operation.weight.shape == (6, size, 1, 1)


def test_zeros_alone_are_no_structure():
    assert block_diagonal_groups(np.zeros((4, 4, 3, 3), np.float32)) == 1
    half = np.zeros((4, 4, 1, 1), np.float32)
    half[:2, :2] = 1
    assert block_diagonal_groups(half) == 1


def test_unknown_nodes_are_refused_by_name():
    refused(chain({"odd": nir.Threshold(np.array([1.0]))}, (1,), (1,)), "'odd'", "Threshold")


def test_soft_and_other_resets_are_refused():
    refused(one_neuron(v_reset=0.25), "'lif'", "v_reset", "0.25")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("v_threshold", np.nan), ("tau", np.inf), ("tau", -1.0), ("r", np.nan), ("v_leak", 1.0), ("v_threshold", -1.0)],
)
def test_impossible_neurons_are_refused(parameter, value):
    graph = one_neuron()
    setattr(graph.nodes["lif"], parameter, np.array([value], np.float32))
    refused(graph, "'lif'", parameter)


def test_nan_weights_are_refused():
    graph = small_net()
    graph.nodes["conv"].weight[1, 0, 2, 2] = np.nan
    refused(graph, "'conv'", "weight", "finite")


def test_wrong_bias_shape_is_refused():
    graph = small_net()
    graph.nodes["readout"].bias = np.zeros(4, np.float32)
    refused(graph, "'readout'", "bias", "[4]", "[5]")


def test_channels_that_do_not_fit_are_refused():
    refused(chain({"c": conv(np.ones((2, 3, 1, 1)), hw=(4, 4))}, (2, 4, 4), (2, 4, 4)), "'c'", "3 channels", "has 2")


def test_a_kernel_larger_than_its_input_is_refused():
    refused(chain({"c": conv(np.ones((1, 1, 5, 5)), hw=(4, 4))}, (1, 4, 4), (1, 1, 1)), "'c'", "does not fit")


def test_partial_flatten_is_refused():
    flat = nir.Flatten({"input": np.array([2, 3, 4])}, 1, -1)
    refused(chain({"flat": flat}, (2, 3, 4), (2, 12)), "'flat'", "all of them")


def test_a_cycle_is_refused():
    graph = chain({"a": lif((1,)), "b": lif((1,))}, (1,), (1,))
    graph.edges.append(("b", "a"))
    refused(graph, "cycle", "a, b")


def test_doubled_edges_are_refused():
    graph = one_neuron()
    graph.edges.append(("input", "lif"))
    refused(graph, "'input' -> 'lif'", "twice")


def test_a_node_without_sources_is_refused():
    graph = one_neuron()
    graph.nodes["stray"] = lif((1,))
    refused(graph, "'stray'", "no sources")


def test_no_output_and_two_inputs_are_refused():
    nodes = {"input": nir.Input(np.array([1])), "lif": lif((1,))}
    refused(nir.NIRGraph(nodes, [("input", "lif")], metadata=metadata(), type_check=False), "output nodes")
    graph = one_neuron()
    graph.nodes["second"] = nir.Input(np.array([1]))
    graph.edges.append(("second", "lif"))
    refused(graph, "2 input nodes")


def test_fan_in_of_different_shapes_is_refused():
    graph = chain(
        {"a": lif((1, 4, 4)), "c": conv(np.ones((1, 1, 2, 2)), hw=(4, 4)), "b": lif((1, 3, 3))}, (1, 4, 4), (1, 3, 3)
    )
    graph.edges.append(("a", "b"))
    refused(graph, "'b'", "different shapes", "[1, 4, 4]", "[1, 3, 3]")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ("[]", "format None"),
        ('{"format_version": 99}', "format 99"),
        ('{"format_version": 1, "dt": 0.0, "time_steps": 4}', "dt"),
        ('{"format_version": 1, "dt": 0.0001, "time_steps": 0}', "time_steps"),
        ('{"format_version": 1, "dt": 0.0001, "time_steps": 4, "input_bits": 99}', "input_bits"),
    ],
)
def test_metadata_that_is_not_understood_is_refused(text, word):
    graph = one_neuron()
    graph.metadata = {"spikeclip": text}
    refused(graph, word)


def test_a_graph_from_elsewhere_needs_no_metadata():
    graph = one_neuron()
    graph.metadata = {}
    assert from_nir(graph).metadata.dt == 1e-4
    assert from_nir(graph).metadata.time_steps is None
