"""Files that say the same in other words, as public ones do: read for what they mean, which stands under "assumed"."""

import nir
import numpy as np
import pytest

import energy
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import fast, reference
from neuromorphic.ir.parity import compare
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from neuromorphic.targets.target import TARGETS
from tests.neuromorphic.graphs import DT, chain, conv, lif, metadata

RNG = np.random.default_rng(3)


def numbers(*shape):
    return (np.round(RNG.normal(size=shape) * 32) / 32).astype(np.float32)


def frames(*shape):
    return (RNG.random((2, 8, *shape)) * 3).round(1).astype(np.float32)


def graph_of(nodes, edges, time_steps=8):
    return nir.NIRGraph(nodes, edges, metadata=metadata(time_steps), type_check=False)


def same(first, second, x):
    """Two files mean the same graph: it sends the same on `x`, and something."""
    runs = [reference.run(from_nir(file), x) for file in (first, second)]
    assert sum(train.count() for train in runs[0].spikes.values())
    for one, other in zip(*(run.spikes.values() for run in runs), strict=True):
        np.testing.assert_array_equal(one.bits, other.bits)
    np.testing.assert_array_equal(runs[0].outputs, runs[1].outputs)


def assumed(file):
    return " ".join(from_nir(file).metadata.assumed)


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 3), (1,), (3,)])
def test_axes_of_length_1_in_front_of_a_bias_go(shape):
    weight, bias = numbers(3, 4), np.resize(np.float32([0.5, -0.25, 1]), 3 if shape[-1] == 3 else 1)
    given = chain({"fc": nir.Affine(weight, bias.reshape(shape)), "lif": lif((3,))}, (4,), (3,), 8)
    spread = chain({"fc": nir.Affine(weight, np.broadcast_to(bias, 3)), "lif": lif((3,))}, (4,), (3,), 8)
    same(given, spread, frames(4))


@pytest.mark.parametrize("shape", [(3, 1), (2, 3), (2,), (1, 2)])
def test_biases_of_another_shape_are_refused(shape):
    file = chain({"fc": nir.Affine(numbers(3, 4), numbers(*shape)), "lif": lif((3,))}, (4,), (3,))
    with pytest.raises(RefusedInput, match="'fc': bias has the shape"):
        from_nir(file)


def test_one_number_for_each_neuron_of_a_single_row():
    """A PyTorch user's sample `[1, 4]`, with an axis for the batch, in front of neurons `[4]`."""
    thresholds = {"threshold": np.float32([0.5, 1, 1.5, 2])}
    same(
        chain({"lif": lif((4,), **thresholds)}, (1, 4), (1, 4), 8),
        chain({"lif": lif((1, 4), **thresholds)}, (1, 4), (1, 4), 8),
        frames(1, 4),
    )
    with pytest.raises(RefusedInput, match=r"tau has the shape \[4\]; expected \[2, 4\]"):
        from_nir(chain({"lif": lif((4,))}, (2, 4), (2, 4)))


def test_maps_of_another_size_than_a_convolution_declares_are_said():
    weight = numbers(3, 2, 2, 2)
    declared, open_ = (
        chain({"c": conv(weight, hw=hw), "lif": lif((3, 4, 6))}, (2, 5, 7), (3, 4, 6), 8) for hw in ((50, 7), None)
    )
    same(declared, open_, frames(2, 5, 7))
    assert assumed(declared) == "c reads maps of [5, 7], not of [50, 7], as it declares"
    assert assumed(chain({"c": conv(weight, hw=(5, 7)), "lif": lif((3, 4, 6))}, (2, 5, 7), (3, 4, 6))) == ""


def neurons(kind, numbers):
    """Neurons of each kind with `numbers` as thresholds, and tau, r and the rest of the same shape."""
    one = np.ones_like(numbers)
    match kind:
        case "LIF":
            return nir.LIF(2 * DT * one, one, 0 * one, numbers, 0 * one)
        case "IF":
            return nir.IF(one / np.float32(DT), numbers, 0 * one)
        case "CubaLIF":
            return nir.CubaLIF(2 * DT * one, 4 * DT * one, one, 0 * one, numbers, 0 * one, one)


@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF"])
@pytest.mark.parametrize(
    ("given", "shape"),
    [((1, 2, 3, 4), (2, 3, 4)), ((1, 5), (5,)), ((1, 1, 5), (5,)), ((2, 1, 1), (2, 3, 4)), ((3, 4), (2, 3, 4))],
)
def test_parameters_with_an_axis_of_the_batch_or_shared_ones_are_spread_as_numpy_does(kind, given, shape):
    thresholds = RNG.uniform(0.5, 2, given).astype(np.float32)
    while thresholds.ndim > len(shape):
        thresholds = thresholds[0]
    full = np.broadcast_to(thresholds, shape)
    written = neurons(kind, thresholds.reshape(given))
    shared = np.prod(given) != np.prod(shape)
    files = [chain({"n": each}, shape, shape, 8) for each in (written, neurons(kind, np.array(full)))]
    same(*files, frames(*shape))
    assert ("is the same for all" in assumed(files[0])) == shared


@pytest.mark.parametrize(("given", "shape"), [((4,), (2, 3, 4)), ((2,), (2, 3, 4)), ((3,), (2, 3)), ((2, 5), (5,))])
def test_parameters_that_could_be_anyones_are_refused(given, shape):
    file = chain({"n": neurons("LIF", np.ones(given, np.float32))}, shape, shape)
    with pytest.raises(RefusedInput, match=r"node 'n': .* has the shape"):
        from_nir(file)


def test_scalars_beside_arrays_of_one_number_are_one_neuron(tmp_path):
    """As an early file of Norse has them."""
    import h5py

    plain = chain({"n": neurons("LIF", np.full(1, 0.75, np.float32))}, (1,), (1,), 8)
    nir.write(tmp_path / "mixed.nir", plain)
    with h5py.File(tmp_path / "mixed.nir", "r+") as file:
        node = file["node/nodes/n"]
        for key in ("r", "v_leak"):
            value = np.float32(node[key][0])
            del node[key]
            node[key] = value
    x = frames(1)
    found = reference.run(read_graph(tmp_path / "mixed.nir"), x)
    assert found.spikes["n"].count()
    np.testing.assert_array_equal(found.spikes["n"].bits, reference.run(from_nir(plain), x).spikes["n"].bits)


@pytest.mark.parametrize("start", [None, 1, 2])
def test_a_matrix_reads_maps_in_a_row(start):
    """`Flatten(1, -1)` counts a batch that no file has; some have no Flatten at all."""
    ends = {"c": conv(numbers(2, 1, 2, 2), hw=(3, 4)), "a": lif((2, 2, 3))}
    fc, b = nir.Linear(numbers(4, 12)), lif((4,))
    own = {} if start is None else {"f": nir.Flatten({"input": np.array([2, 2, 3])}, start, -1)}
    whole = {"f": nir.Flatten({"input": np.array([2, 2, 3])}, 0, -1)}
    files = [chain({**ends, **flatten, "fc": fc, "b": b}, (1, 3, 4), (4,), 8) for flatten in (own, whole)]
    same(*files, frames(1, 3, 4))
    assert "in a row" in assumed(files[0])
    assert "in a row" not in assumed(files[1])


def test_a_matrix_of_another_size_is_refused():
    file = chain({"a": lif((2, 3)), "fc": nir.Linear(numbers(4, 3))}, (2, 3), (4,))
    with pytest.raises(RefusedInput, match=r"weight has the shape \[4, 3\]; its input has \[2, 3\]"):
        from_nir(file)


@pytest.mark.parametrize("declared", [(7, 5), (1, 7, 5), (3, 7, 5)])
def test_an_input_that_declares_time_or_samples_is_that_of_its_readers(declared):
    nodes = {"fc": nir.Linear(numbers(4, 5)), "lif": lif((4,))}
    files = [chain(nodes, shape, (4,), 8) for shape in (declared, (5,))]
    same(*files, frames(5))
    assert f"input declares {list(declared)}, and its readers take [5]" in assumed(files[0])


def recurrent(inner):
    """input -> fc -> g -> out, g a population that hears itself, with `inner` its nodes and edges."""
    nodes = {"input": nir.Input(np.array([3])), "fc": nir.Linear(W), "output": nir.Output(np.array([4]))}
    return nodes, [("input", "fc"), ("fc", "g"), ("g", "output")], inner


W, LOOP = numbers(4, 3), numbers(4, 4)
ENDS = {"input": nir.Input(np.array([4])), "output": nir.Output(np.array([4]))}
INNER = {**ENDS, "lif": lif((4,)), "w": nir.Linear(LOOP)}
WITHIN = [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")]


def nested(inner=None, within=None):
    nodes, edges, _ = recurrent(None)
    return graph_of({**nodes, "g": graph_of(inner or INNER, within or WITHIN)}, edges)


def test_a_subgraph_that_was_made_flat_keeps_its_edges():
    """Its nodes are called `g.lif`, and the edges around it still name `g`, as files of NIR 0.2 have it."""
    nodes, edges, _ = recurrent(None)
    split = {**nodes, **{f"g.{name}": node for name, node in INNER.items()}}
    file = graph_of(split, [*edges, *((f"g.{a}", f"g.{b}") for a, b in WITHIN)])
    same(file, nested(), frames(3))


def test_a_name_that_no_node_has_is_the_only_node_that_no_edge_names():
    wrong = {"other" if name == "lif" else name: node for name, node in INNER.items()}
    file = nested(wrong)
    same(file, nested(), frames(3))
    assert "subgraph 'g': edges name 'lif', and none 'other'; they are taken for one node" in assumed(file)


@pytest.mark.parametrize("unnamed", [0, 2])
def test_a_name_that_could_be_several_nodes_or_none_is_refused(unnamed):
    more = {f"more{i}": lif((4,)) for i in range(unnamed)}
    inner = {name: node for name, node in INNER.items() if name != "lif"} | more
    with pytest.raises(RefusedInput, match=r"subgraph 'g': an edge names node 'lif', which the graph does not have"):
        from_nir(nested(inner))


def cycle_apart():
    """A loop of biases behind no input, which the output reads beside the input."""
    weight = np.full((3, 2), 0.5, np.float32)
    nodes = {
        "input": nir.Input(np.array([3])),
        "lif": lif((2,)),
        "up": nir.Affine(weight, np.zeros(3, np.float32)),
        "down": nir.Affine(weight.T.copy(), np.array([2.5, 0.25], np.float32)),
        "output": nir.Output(np.array([3])),
    }
    return graph_of(nodes, [("down", "lif"), ("lif", "up"), ("up", "down"), ("up", "output"), ("input", "output")])


def test_a_cycle_that_no_input_leads_to_runs_on_its_biases():
    """v += (b + W s' - v) / 2, b = (2.5, 0.25), W s' what both hear of the spikes a step before: 0.75 each."""
    v, before, expected = np.zeros(2), np.zeros(2), []
    for _ in range(8):
        v += (np.array([2.5, 0.25]) + 0.75 * before.sum() - v) / 2
        before = (v > 1).astype(float)
        v[v > 1] = 0
        expected.append(before)
    graph = from_nir(cycle_apart())
    trace = reference.run(graph, np.zeros((1, 8, 3), np.float32))
    np.testing.assert_array_equal(trace.spikes["lif"].unpack()[0], np.array(expected) != 0)
    assert "no input leads to down but around a cycle: it runs on its biases" in graph.metadata.assumed


@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF"])
@pytest.mark.parametrize("target", ["fast", "reference"])
def test_thresholds_below_the_reset_fire_although_nothing_arrives(kind, target):
    """Neuron 0 fires in every step, neuron 1, which rests at its threshold, in none."""
    file = chain({"n": neurons(kind, np.array([-0.5, 0.0], np.float32))}, (2,), (2,), 4)
    graph = from_nir(file)
    trace = TARGETS[target]().run(graph, np.zeros((1, 4, 2), np.float32))
    np.testing.assert_array_equal(trace.spikes["n"].unpack()[0], [[True, False]] * 4)
    assert "n fires although nothing arrives" in assumed(file)
    # Such neurons are never at rest: each takes an update in every step.
    assert energy.count(graph, trace).populations["n"].updates_needed == 8


def test_negative_inputs_hold_back_neurons_with_thresholds_below_the_reset():
    """v += (x - v) / 2 from 0 over the threshold -1: x = -4 leaves v at -2, then -3, ..."""
    file = chain({"n": neurons("LIF", np.array([-1.0], np.float32))}, (1,), (1,), 4)
    x = np.array([[[-4.0], [-4.0], [0.0], [0.0]]], np.float32)
    graph = from_nir(file)
    runs = [reference.run(graph, x), fast.run_in_batches(graph, x)]
    assert compare(*runs).exact
    np.testing.assert_array_equal(runs[0].spikes["n"].unpack()[0, :, 0], [False, False, False, True])


@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF"])
def test_neurons_in_a_map_read_a_row_of_as_many(kind):
    """Their parameters say the map, in the order in which a `Flatten` reads one."""
    weight, threshold = numbers(12, 5), np.linspace(0.2, 1, 12, dtype=np.float32)
    mapped = chain({"fc": nir.Linear(weight), "n": neurons(kind, threshold.reshape(3, 2, 2))}, (5,), (3, 2, 2), 8)
    row = chain({"fc": nir.Linear(weight), "n": neurons(kind, threshold)}, (5,), (12,), 8)
    x = frames(5)
    runs = [reference.run(from_nir(file), x) for file in (mapped, row)]
    assert runs[0].spikes["n"].count()
    np.testing.assert_array_equal(*(run.spikes["n"].unpack().reshape(2, 8, 12) for run in runs))
    assert "n reads [12] as [3, 2, 2], which its parameters say" in assumed(mapped)


@pytest.mark.parametrize("shape", [(3, 2, 1), (3, 5), (2, 7)])
def test_maps_of_another_size_are_no_row(shape):
    file = chain({"fc": nir.Linear(numbers(12, 5)), "n": lif(shape)}, (5,), shape)
    with pytest.raises(RefusedInput, match=r"node 'n'.*expected \[12\]"):
        from_nir(file)


@pytest.mark.parametrize("axes", [1, 2])
def test_axes_of_a_batch_in_front_of_a_matrix_go(axes):
    weight = np.arange(6, dtype=np.float32).reshape(*(1,) * axes, 3, 2)
    nodes = {
        "input": nir.Input(np.array([*(1,) * axes, 2])),
        "fc": nir.Affine(weight, np.ones((*(1,) * axes, 3), np.float32)),
        "output": nir.Output(np.array([*(1,) * axes, 3])),
    }
    edges = [("input", "fc"), ("fc", "output")]
    nir.NIRGraph(nodes, edges)  # nir's own check takes it
    graph = from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=1e-4)
    x = np.float32([[[1, 2]]])
    assert reference.run(graph, x).outputs.tolist() == [[[3, 9, 15]]]
