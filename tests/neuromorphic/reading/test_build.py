"""The validated view: what it understands, and what it refuses by name."""

import nir
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import Affine, Conv2d, Lif, MaxPool2d, SelfAttention, Sink, Source, SumPool2d
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.grouping import block_diagonal_groups
from tests.neuromorphic.graphs import attention, chain, conv, lif, max_pool, metadata, one_neuron, small_net


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
        Source, Conv2d, Lif, SumPool2d, Lif, Affine, Sink,
    ]  # fmt: skip
    assert [n.shape for n in graph.nodes.values()] == [
        (2, 6, 6), (4, 6, 6), (4, 6, 6), (4, 3, 3), (4, 3, 3), (5,), (5,),
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


@pytest.mark.parametrize("batch", [(1,), (1, 1)])
@pytest.mark.parametrize("kind", ["matrix", "along", "map"])
def test_axes_of_sample_data_before_what_a_node_takes_are_dropped(kind, batch):
    """As Rockpool declares its input and output; a map of one channel keeps it."""
    node, shape, out_shape = {
        "matrix": (nir.Linear(np.ones((2, 3), np.float32)), (3,), (2,)),
        "along": (nir.Conv1d(None, np.ones((2, 1, 3), np.float32), 1, 1, 1, 1, np.zeros(2)), (1, 4), (2, 4)),
        "map": (conv(np.ones((2, 1, 3, 3)), padding=1, hw=(4, 4)), (1, 4, 4), (2, 4, 4)),
    }[kind]
    graph = from_nir(chain({"node": node}, (*batch, *shape), (*batch, *out_shape)))
    assert graph.nodes["input"].shape == shape
    assert graph.nodes["output"].shape == out_shape


def test_axes_that_hold_more_than_one_are_none_of_sample_data():
    matrix = nir.Linear(np.ones((2, 3), np.float32))
    refused(chain({"m": matrix}, (2, 3), (2, 2)), "node 'm'", "its input has [2, 3]")
    refused(chain({"m": matrix}, (3,), (4, 2)), "node 'output'", "[4, 2]")
    refused(chain({"lif": lif((3,))}, (2, 3), (3,)), "node 'lif'")


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
    class Odd(nir.Linear):
        pass

    refused(chain({"odd": Odd(np.ones((1, 1), np.float32))}, (1,), (1,)), "'odd'", "type Odd", "CubaLIF")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("v_threshold", np.nan), ("tau", np.inf), ("tau", -1.0), ("r", np.nan), ("v_leak", np.inf)],
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


@pytest.mark.parametrize("stride", [2**31, 2**63])
def test_a_stride_that_no_int64_multiplies_is_refused(stride):
    nodes = {"conv": conv(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))}
    nodes["conv"].stride = np.uint64(stride)
    refused(chain(nodes, (1, 1, 4), (1, 1, 1)), "node 'conv': stride is", "from 1 to 2147483647")


def test_a_kernel_larger_than_its_input_is_refused():
    refused(chain({"c": conv(np.ones((1, 1, 5, 5)), hw=(4, 4))}, (1, 4, 4), (1, 1, 1)), "'c'", "does not fit")


@pytest.mark.parametrize(("start", "end"), [(2, 1), (0, 3), (-4, -1)])
def test_flattening_of_other_dimensions_is_refused(start, end):
    flat = nir.Flatten({"input": np.array([2, 3, 4])}, 0, -1)
    flat.start_dim, flat.end_dim = start, end
    refused(chain({"flat": flat}, (2, 3, 4), (2, 12)), "'flat'")


def test_doubled_edges_are_refused():
    graph = one_neuron()
    graph.edges.append(("input", "lif"))
    refused(graph, "'input' -> 'lif'", "twice")


def test_a_node_without_sources_is_refused():
    graph = one_neuron()
    graph.nodes["stray"] = lif((1,))
    refused(graph, "'stray'", "no sources")


def test_no_output_is_refused():
    nodes = {"input": nir.Input(np.array([1])), "a": lif((1,)), "b": lif((1,))}
    edges = [("input", "a"), ("a", "b"), ("b", "a")]
    # Each of the two is read by the other: neither is an end.
    refused(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False), "0 output nodes")


def test_fan_in_of_different_shapes_is_refused():
    graph = chain(
        {"a": lif((1, 4, 4)), "c": conv(np.ones((1, 1, 2, 2)), hw=(4, 4)), "b": lif((1, 3, 3))}, (1, 4, 4), (1, 3, 3)
    )
    graph.edges.append(("a", "b"))
    refused(graph, "'b'", "different shapes", "[1, 4, 4]", "[1, 3, 3]")


def test_extension_nodes_have_shapes():
    nodes = {"max": max_pool((6, 5, 4)), "lif": lif((6, 3, 2)), "attention": attention((6, 3, 2), heads=2, scale=0.125)}
    found = from_nir(chain(nodes, (6, 5, 4), (2, 3, 2))).nodes
    assert found["max"].operation == MaxPool2d((3, 3), (2, 2), (1, 1))
    assert found["max"].shape == (6, 3, 2)
    assert found["attention"].operation == SelfAttention(2, 0.125)
    assert found["attention"].shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"padding": np.array([2, 1])}, ("padding", "[2, 1]", "half of the kernel [3, 3]")),
        ({"padding": np.array([-1, 0])}, ("padding", "from 0")),
        ({"stride": np.array([0, 1])}, ("stride", "from 1")),
        ({"kernel_size": np.array([2.5, 3.0])}, ("kernel_size", "integers")),
        ({"kernel_size": np.array([8, 3])}, ("does not fit", "[1, 5, 5]")),
        ({"input_shape": np.array([1, 5, 6])}, ("declares", "[1, 5, 6]", "[1, 5, 5]")),
    ],
)
def test_maxima_that_do_not_fit_are_refused(changes, words):
    graph = chain({"max": max_pool((1, 5, 5))}, (1, 5, 5), (1, 3, 3))
    vars(graph.nodes["max"]).update(changes)
    refused(graph, "'max'", *words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": 4}, ("18 channels", "4 heads")),
        ({"heads": 0}, ("heads", "at least 1")),
        ({"heads": 1.5}, ("heads", "1.5")),
        ({"scale": 0.0}, ("scale", "above 0")),
        ({"scale": -0.5}, ("scale", "above 0")),
        ({"scale": np.nan}, ("scale", "nan")),
        ({"scale": np.inf}, ("scale", "inf")),
        ({"scale": np.array([0.5, 0.5])}, ("scale", "a finite number")),
        ({"input_shape": np.array([9, 2, 2])}, ("declares", "[9, 2, 2]", "[18, 2, 2]")),
    ],
)
def test_attention_that_does_not_fit_is_refused(changes, words):
    graph = chain({"lif": lif((18, 2, 2)), "attention": attention((18, 2, 2))}, (18, 2, 2), (6, 2, 2))
    vars(graph.nodes["attention"]).update(changes)
    refused(graph, "'attention'", *words)


def test_attention_to_channels_that_are_no_thirds_is_refused():
    nodes = {"lif": lif((4, 2, 2)), "attention": attention((4, 2, 2))}
    refused(chain(nodes, (4, 2, 2), (1, 2, 2)), "'attention'", "4 channels")


def test_attention_to_anything_but_one_population_is_refused():
    shape = (3, 2, 2)
    refused(chain({"attention": attention(shape)}, shape, (1, 2, 2)), "'attention'", "reads input", "one population")
    currents = {"lif": lif(shape), "c": conv(np.ones((3, 3, 1, 1)), hw=(2, 2)), "attention": attention(shape)}
    refused(chain(currents, shape, (1, 2, 2)), "'attention'", "reads c", "one population")
    two = chain({"a": lif(shape), "b": lif(shape), "attention": attention(shape)}, shape, (1, 2, 2))
    two.edges.append(("a", "attention"))
    refused(two, "'attention'", "reads a + b", "one population")


@pytest.mark.parametrize(
    ("readout", "words"),
    [
        ({"time_weights": [1.0, 2.0, 3.0]}, ("3 time weights", "4 steps")),
        ({"time_weights": [1.0, 2.0, 3.0, "x"]}, ("time_weights", "numbers")),
        ({"time_weights": [[1.0], [2.0], [3.0], [4.0]]}, ("time_weights", "finite numbers")),
        ({"time_weights": [1.0, 2.0, 3.0, float("inf")]}, ("time_weights", "finite numbers")),
        ({"time_weights": [1.0] * 4, "bias": [1.0, 2.0]}, ("bias of 2 numbers", "has 5")),
    ],
)
def test_readouts_that_do_not_fit_are_refused(readout, words):
    graph = small_net()
    graph.metadata = metadata(readout=readout)
    refused(graph, "readout", *words)


def test_a_readout_without_time_weights_is_the_mean():
    graph = small_net()
    graph.metadata = metadata(readout={"node": "readout", "scores": "mean over time steps"})
    assert from_nir(graph).metadata.readout is None


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


def heads(**sources):
    """Two populations behind one input, `a` through a flattening, and outputs of what is named."""
    nodes = {"input": nir.Input(np.array([3])), "a": lif((3,)), "b": lif((3,)), "m": nir.Linear(np.ones((2, 3)))}
    nodes["flat"] = nir.Flatten({"input": np.array([3])}, 0, -1)
    edges = [("input", "a"), ("input", "b"), ("a", "flat"), ("a", "m")]
    for name, source in sources.items():
        nodes[name] = nir.Output(np.array([2 if source == "m" else 3]))
        edges.append((source, name))
    return nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False)


@pytest.mark.parametrize(
    ("sources", "kept", "probes"),
    [
        ({"one": "a", "two": "b"}, "one", {"two": "b"}),
        ({"one": "flat", "two": "m", "three": "b"}, "two", {"one": "a", "three": "b"}),
        ({"z": "b", "y": "flat"}, "y", {"z": "b"}),
    ],
)
def test_outputs_that_show_spikes_give_way_to_one_and_are_named(sources, kept, probes):
    graph = from_nir(heads(**sources))
    assert graph.output == kept
    assert [node.name for node in graph.populations] == ["a", "b"]
    for name, population in probes.items():
        assert any(repr(name) in line and repr(population) in line for line in graph.metadata.assumed)
    assert len(graph.metadata.assumed) == len(probes)


def test_two_outputs_of_currents_stay_and_the_first_is_scored():
    graph = from_nir(heads(one="m", two="m", three="a"))
    assert graph.outputs == ("one", "three", "two")
    assert any("one, three, two" in line and "those of one" in line for line in graph.metadata.assumed)


@pytest.mark.parametrize(
    ("start", "end", "shape"),
    [(0, -1, (24,)), (0, 0, (2, 3, 4)), (2, 2, (2, 3, 4)), (1, 2, (2, 12)), (-2, -1, (2, 12)), (0, 1, (6, 4))],
)
def test_a_flatten_joins_the_axes_that_it_names(start, end, shape):
    flat = nir.Flatten({"input": np.array([2, 3, 4])}, start, end)
    assert from_nir(chain({"f": flat, "n": lif(shape)}, (2, 3, 4), shape)).nodes["n"].input_shape == shape


@pytest.mark.parametrize(("start", "end"), [(1, 0), (0, 3), (3, 3), (-4, 1)])
def test_a_flatten_of_axes_that_are_not_there_is_refused(start, end):
    flat = nir.Flatten({"input": np.array([2, 3, 4])}, start, end)
    with pytest.raises(RefusedInput, match="'f'"):
        from_nir(chain({"f": flat, "n": lif((24,))}, (2, 3, 4), (24,)))


@pytest.mark.parametrize(
    ("kernel", "dilation", "padding"), [((3, 5), (1, 1), (1, 2)), ((3, 5), (2, 1), (2, 2)), ((1, 3), (1, 2), (0, 2))]
)
def test_the_padding_that_keeps_a_maps_size_follows_from_kernel_and_dilation(kernel, dilation, padding):
    node = nir.Conv2d((7, 8), np.ones((2, 1, *kernel), np.float32), 1, "same", dilation, 1, np.zeros(2, np.float32))
    made = from_nir(chain({"c": node, "n": lif((2, 7, 8))}, (1, 7, 8), (2, 7, 8))).nodes["c"]
    assert (made.shape, made.operation.padding, made.operation.beyond) == ((2, 7, 8), padding, (0, 0))
