"""Integer graphs in the reference and in Lava: blocks of the encoders, traces with membranes, refusals by name."""

from dataclasses import replace

import h5py
import nir
import numpy as np
import pytest

from neuromorphic.analysis.exactness import doubles
from neuromorphic.errors import RefusedInput, SimulationFailed
from neuromorphic.execution import fast
from neuromorphic.execution.reference import run, run_in_batches
from neuromorphic.ir.parity import compare
from neuromorphic.ir.trace import Trace
from neuromorphic.lava.simulation import simulate
from neuromorphic.lava.stock_limits import LARGEST_CURRENT
from neuromorphic.ops import Affine, Conv2d, Lif, LoihiLif, SelfAttention
from neuromorphic.ops.widths import shift
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, conv, lif, small_net
from tests.neuromorphic.lava.test_simulation import published, spike_driven


def integers(graph, seed=0):
    """A validated float graph with 8-bit weights and populations of Loihi 2 in the places of its own."""
    rng = np.random.default_rng(seed)
    nodes = {}
    for node in graph.nodes.values():
        operation = node.operation
        match operation:
            case Conv2d() | Affine():
                weight = rng.integers(-128, 128, operation.weight.shape) * (operation.weight != 0)
                operation = replace(operation, weight=weight.astype(np.float32), bias=0 * operation.bias)
            case Lif():
                bias = rng.integers(-4096, 4096, node.shape, np.int32)
                operation = LoihiLif(2048, rng.integers(0, 300, node.shape, np.int32), bias, 1)
            case SelfAttention():
                operation = replace(operation, scale=16.0)
        nodes[node.name] = replace(node, operation=operation)
    return replace(graph, nodes=nodes)


def frames(graph, images, seed=0):
    shape = (images, *graph.nodes[graph.input].shape)
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.float32)


SLOW = pytest.mark.slow  # the other graphs have all of its nodes


@pytest.mark.parametrize(
    ("build", "models"),
    [
        (small_net, "fused"), (spike_driven, "fused"), (published, "fused"),
        (spike_driven, "stock"), (published, "stock"), (spike_driven, "compiled"),
        pytest.param(small_net, "stock", marks=SLOW), pytest.param(small_net, "compiled", marks=SLOW),
        pytest.param(published, "compiled", marks=SLOW),
    ],
)  # fmt: skip
def test_lava_equals_the_reference(build, models, monkeypatch):
    graph = integers(from_nir(build()))
    if models == "compiled":
        pytest.importorskip("numba", reason="the extra `fast` is not installed")
        monkeypatch.setattr(fast, "WORTHWHILE", 0)
        models = "fused"
    x = frames(graph, 3)
    expected = run(graph, x)
    trace = simulate(graph, x, precision="loihi2", models=models)
    report = compare(trace, expected)
    assert report.exact, report.first_mismatch
    assert report.output_difference == 0
    assert report.membranes_compared == sum(v.size for v in expected.membranes.values()) > 0
    assert (trace.producer, trace.precision) == ("lava", "loihi2")
    assert all(0 < train.count() < train.neurons * 12 for train in trace.spikes.values())


def test_batches_of_the_reference_leave_the_same_membranes():
    graph = integers(from_nir(small_net()))
    x = frames(graph, 5)
    assert compare(run_in_batches(graph, x, batch=2), run(graph, x)).exact


def test_a_float_trace_has_no_membranes():
    graph = from_nir(small_net())
    trace = run(graph, frames(graph, 1))
    assert (trace.precision, trace.membranes) == ("float", None)


@pytest.fixture
def trace():
    graph = integers(from_nir(small_net()))
    return run(graph, frames(graph, 2))


def test_membranes_survive_the_file(trace, tmp_path):
    trace.write(tmp_path / "run.h5")
    back = Trace.read(tmp_path / "run.h5")
    assert list(back.membranes) == list(trace.membranes)
    assert compare(back, trace).exact
    assert compare(back, trace).membranes_compared == 2 * (4 * 36 + 4 * 9)


def test_a_membrane_that_differs_is_no_parity(trace):
    v = trace.membranes["lif2"].copy()
    v[1, 3, 2, 2] += 1
    report = compare(replace(trace, membranes={**trace.membranes, "lif2": v}), trace)
    assert (report.mismatches, report.membrane_mismatches, report.exact) == (0, 1, False)
    assert report.nodes["lif2"].membrane_mismatches == 1
    assert report.to_dict()["membrane_mismatches"] == 1


def test_traces_of_different_precision_are_refused(trace):
    with pytest.raises(RefusedInput, match="different precision"):
        compare(trace, replace(trace, precision="float"))


@pytest.mark.parametrize("bad", ["missing", "type", "shape"])
def test_membranes_that_do_not_fit_are_refused(trace, tmp_path, bad):
    trace.write(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        v = file["membranes/lif2"][...]
        del file["membranes/lif2"]
        if bad != "missing":
            file["membranes/lif2"] = v.astype(np.float32) if bad == "type" else v[:1]
    with pytest.raises(RefusedInput, match="lif2"):
        Trace.read(tmp_path / "run.h5")


@pytest.mark.parametrize("value", [0.5, 128, -129])
def test_frames_that_are_no_graded_spikes_are_refused(value):
    graph = integers(from_nir(small_net()))
    x = frames(graph, 2)
    x[1, 0, 0, 0] = value
    with pytest.raises(RefusedInput, match=rf"frames hold {value}; .* integers from -128 to 127 \(8 bits\)"):
        run(graph, x)


def test_precision_and_graph_must_agree():
    graph = from_nir(small_net())
    with pytest.raises(RefusedInput, match=r"'loihi2' asked of a graph in 'float'; quantise it first"):
        simulate(graph, frames(graph, 1), precision="loihi2")
    with pytest.raises(RefusedInput, match="'float' asked of a graph in 'loihi2'"):
        simulate(integers(graph), frames(graph, 1))


def test_stock_processes_refuse_weights_without_an_exponent():
    graph = integers(from_nir(small_net()))
    readout = graph.nodes["readout"]
    weight = readout.operation.weight.copy()
    weight[0, 0] = 129
    nodes = {**graph.nodes, "readout": replace(readout, operation=replace(readout.operation, weight=weight))}
    with pytest.raises(RefusedInput, match="'readout' has weights that are not 8-bit"):
        simulate(replace(graph, nodes=nodes), frames(graph, 1), precision="loihi2", models="stock")


def test_stock_processes_refuse_a_bias_before_a_population():
    graph = integers(from_nir(small_net()))
    node = graph.nodes["conv"]
    nodes = {**graph.nodes, "conv": replace(node, operation=replace(node.operation, bias=node.operation.bias + 1))}
    with pytest.raises(RefusedInput, match="'lif' reads a bias"):
        simulate(replace(graph, nodes=nodes), frames(graph, 1), precision="loihi2", models="stock")


def one_synapse(weight):
    """A frame of one number, a synapse, a neuron."""
    graph = from_nir(chain({"conv": conv([[[[weight]]]], hw=(1, 1)), "lif": lif((1, 1, 1))}, (1, 1, 1), (1, 1, 1)))
    node = graph.nodes["lif"]
    operation = LoihiLif(2048, np.full((1, 1, 1), 131071, np.int32), np.zeros((1, 1, 1), np.int32), 0)
    return replace(graph, nodes={**graph.nodes, "lif": replace(node, operation=operation)})


def one_weight(weight):
    """The same with a matrix, whose weights have an exponent."""
    matrix = nir.Affine(np.array([[weight]], np.float32), np.zeros(1, np.float32))
    graph = from_nir(chain({"fc": matrix, "lif": lif((1,))}, (1,), (1,)))
    operation = LoihiLif(2048, np.full(1, 131071, np.int32), np.zeros(1, np.int32), 0)
    return replace(graph, nodes={**graph.nodes, "lif": replace(graph.nodes["lif"], operation=operation)})


def test_stock_neurons_refuse_a_current_that_lava_does_not_wrap():
    assert LARGEST_CURRENT + 1 == 96 * 2**7 * 32
    with pytest.raises(SimulationFailed, match=f"node 'lif': a current of {LARGEST_CURRENT + 1}"):
        simulate(one_weight(96 * 2**7), np.full((1, 1), 32, np.float32), precision="loihi2", models="stock")


@pytest.mark.parametrize("models", ["fused", "stock"])
def test_currents_wrap_in_lava(models):
    assert 41 * 2**7 * 25 == 2**17 + 128
    graph, frames = one_weight(41 * 2**7), np.full((1, 1), 25, np.float32)
    trace = simulate(graph, frames, precision="loihi2", models=models)
    assert compare(trace, run(graph, frames)).exact
    assert trace.membranes["lif"].item() < -(2**23) + 10_000


@pytest.mark.parametrize(
    ("weight", "exponent"),
    [
        ([0], 0),
        ([127, -128], 0),
        ([128], 1),
        ([254, -256], 1),
        ([255], None),
        ([258], None),
        ([127 * 128, -128 * 128], 7),
        ([2**14], None),
    ],
)
def test_the_exponent_is_the_least_that_leaves_eight_bits(weight, exponent):
    assert shift(np.array(weight, np.float32)) == exponent


def test_sums_beyond_24_bits_are_computed_in_float64():
    graph = one_synapse(2**17)
    assert doubles(graph) == {"conv", "lif"}
    assert doubles(one_synapse(2**17 - 1)) == set()
