"""Graphs that the chip has in another form: products of synapses, filters, relays, several decays; and their files."""

from itertools import pairwise

import nir
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.execution import reference
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.filters import unfiltered
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.quantise import calibrate, prepared, quantise
from neuromorphic.ops import Affine, Conv2d, CubaLif, Delay, Li, Scale
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from tests.neuromorphic import chip_oracle
from tests.neuromorphic.graphs import DT, chain, conv, lif, metadata

T = 12


def wired(nodes, edges, shape, out):
    every = {"input": nir.Input(np.array(shape)), **nodes, "output": nir.Output(np.array(out))}
    return nir.NIRGraph(every, edges, metadata=metadata(T), type_check=False)


def pooled(rng):
    """Convolution, neurons, pool, convolution of the pool's sums, neurons, a mean, a matrix, neurons, a readout."""
    two = np.array([2, 2])
    nodes = {
        "c1": conv(rng.normal(size=(4, 1, 3, 3)), hw=(12, 12)),
        "n1": lif((4, 10, 10), 0.4),
        "pool": nir.SumPool2d(two, two, 0 * two),
        "c2": conv(rng.normal(size=(3, 4, 3, 3)) / 3, rng.normal(size=3) / 9, padding=1, hw=(5, 5)),
        "n2": lif((3, 5, 5), 0.4),
        "mean": nir.AvgPool2d(two, two, 0 * two),
        "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
        "w": nir.Affine(rng.normal(size=(6, 12)).astype(np.float32), rng.normal(size=6).astype(np.float32) / 9),
        "n3": lif((6,), 0.3),
        "out": nir.Linear(rng.normal(size=(2, 6)).astype(np.float32)),
    }
    return chain(nodes, (1, 12, 12), (2,), T), (rng.random((4, T, 1, 12, 12)) < 0.3).astype(np.float32)


def nengo(rng, *, feedback=False):
    """Ensembles in Nengo's form: encoders, neurons, decoders, a filter, encoders; all of them biased."""
    size, step = 8, np.float32(DT)

    def affine(out, count, scale=1.0):
        weight = rng.normal(size=(out, count)) * scale
        return nir.Affine(weight.astype(np.float32), rng.uniform(0, 0.5, out).astype(np.float32))

    leak = 0.0 if feedback else 0.2
    filters = [nir.LI(np.full(2, 5 * step), rng.uniform(0.5, 1, 2), rng.uniform(0, leak, 2)) for _ in range(2)]
    nodes = {"in": filters[0], "enc": affine(size, 2, 4), "ens": lif((size,), 0.4, tau=8.0)}
    nodes |= {
        "dec": affine(2, size, 0.5),
        "syn": filters[1],
        "enc2": affine(size, 2, 6),
        "ens2": lif((size,), 0.4, tau=8.0),
    }
    names = ["input", *nodes, "output"]
    edges = list(pairwise(names)) + ([("enc2", "ens")] if feedback else [])
    if feedback:  # what is late has no bias
        nodes["dec"] = nir.Linear(nodes["dec"].weight)
    return wired(nodes, edges, (2,), (size,)), rng.normal(size=(3, T, 2)).astype(np.float32) * 3


def late(rng):
    """Spikes that wait up to 200 steps, elements differently."""
    steps = np.array([0.0, 63, 64, 130, 200])
    nodes = {"w": nir.Linear(rng.normal(size=(5, 3)).astype(np.float32)), "n1": lif((5,), 0.2)}
    nodes |= {"wait": nir.Delay(steps * DT), "w2": nir.Linear(rng.normal(size=(4, 5)).astype(np.float32))}
    return chain({**nodes, "n2": lif((4,), 0.3)}, (3,), (4,), 240), (rng.random((2, 240, 3)) < 0.4).astype(np.float32)


def of_several_decays(rng):
    tau = np.array([2.0, 2.0, 5.0, 10.0]) * DT
    one = np.ones(4)
    nodes = {"w": nir.Affine(rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32) / 9)}
    nodes |= {
        "n1": nir.LIF(tau, 6 * one, 0 * one, one, 0 * one),
        "w2": nir.Linear(rng.normal(size=(4, 4)).astype(np.float32)),
    }
    nodes["n2"] = nir.CubaLIF(tau[::-1].copy(), tau[[1, 3, 0, 2]], 12 * one, 0 * one, one / 2, 0 * one, one)
    return chain(nodes, (3,), (4,), T), (rng.random((3, T, 3)) < 0.5).astype(np.float32)


def first_dimensional(rng):
    """Two convolutions along a line in a row, which file and graph hold in different shapes."""
    nodes = {
        "c1": nir.Conv1d(9, rng.normal(size=(3, 2, 3)).astype(np.float32), 1, 0, 1, 1, np.zeros(3, np.float32)),
        "c2": nir.Conv1d(
            7, rng.normal(size=(4, 3, 2)).astype(np.float32), 2, 0, 1, 1, rng.normal(size=4).astype(np.float32)
        ),
        "n": lif((4, 3), 0.5),
    }
    return chain(nodes, (2, 9), (4, 3), T), (rng.random((3, T, 2, 9)) < 0.4).astype(np.float32)


def padded_pool(rng, *, beside=False):
    """A mean of padded, overlapping windows before a padded convolution: no convolution is both, a matrix is.

    Args:
        rng: of the numbers.
        beside: whether the neurons of the map read another convolution of spikes too.
    """
    three, two, one = (np.array([n, n]) for n in (3, 2, 1))
    nodes = {
        "c1": conv(rng.normal(size=(2, 1, 3, 3)), padding=1, hw=(9, 8)),
        "n1": lif((2, 9, 8), 0.4),
        "mean": nir.AvgPool2d(three, two, one),
        "c2": conv(rng.normal(size=(3, 2, 3, 3)) * 2, padding=1, hw=(5, 4)),
        "n2": lif((3, 5, 4), 0.4),
    }
    names = ["input", *nodes, "output"]
    edges = list(pairwise(names))
    if beside:
        nodes["c3"] = conv(rng.normal(size=(3, 2, 3, 3)), stride=2, padding=1, hw=(9, 8))
        edges += [("n1", "c3"), ("c3", "n2")]
    return wired(nodes, edges, (1, 9, 8), (3, 5, 4)), (rng.random((4, T, 1, 9, 8)) < 0.3).astype(np.float32)


GRAPHS = {
    "pool": pooled,
    "padded pool": padded_pool,
    "padded pool beside": lambda rng: padded_pool(rng, beside=True),
    "nengo": nengo,
    "feedback": lambda rng: nengo(rng, feedback=True),
    "late": late,
    "decays": of_several_decays,
    "line": first_dimensional,
}


@pytest.fixture(params=GRAPHS)
def case(request):
    """The stored graph, and frames for it."""
    return GRAPHS[request.param](np.random.default_rng(11 if request.param == "decays" else 7))


def test_what_the_chip_is_given_sends_the_same_spikes(case):
    stored, frames = case
    graph = from_nir(stored)
    floats, other = reference.run(graph, frames), reference.run(prepared(graph), frames)
    for name, train in floats.spikes.items():
        assert 0 < train.count() < train.neurons * len(frames) * frames.shape[1]
        assert np.mean(train.unpack() != other.spikes[name].unpack()) < 2e-3, name
    np.testing.assert_allclose(other.outputs, floats.outputs, atol=1e-4)


def test_integers_are_near_the_floats_and_what_the_chips_equations_say(case):
    stored, frames = case
    graph, scheme = quantise(from_nir(stored), frames)
    assert max(choice.disagreement for choice in scheme.populations.values()) < 0.1
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)[:1, :T]
    short = reference.run(graph, shown) if shown.shape[1] == graph.metadata.time_steps else None
    if short is None:
        return
    spikes, last, _ = chip_oracle.run(graph, shown)
    for name, train in short.spikes.items():
        assert np.array_equal(train.unpack(), spikes[name]), name
        assert np.array_equal(short.membranes[name], last[name].astype(np.int64)), name


def test_files_bring_back_what_was_folded(case, tmp_path):
    stored, frames = case
    nir.write(tmp_path / "float.nir", stored)
    floats, scheme = calibrate(read_graph(tmp_path / "float.nir"), frames)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    again, expected = integer_graph(read_graph(tmp_path / "quantised.nir")), integers(floats, scheme)
    assert set(again.nodes) == set(expected.nodes)
    for name, node in expected.nodes.items():
        assert again.nodes[name].sources == node.sources
        for key, value in vars(node.operation).items():
            assert np.array_equal(vars(again.nodes[name].operation)[key], value), (name, key)


@pytest.mark.parametrize("name", ["pool", "feedback", "decays"])
def test_lava_runs_them(name):
    stored, frames = GRAPHS[name](np.random.default_rng(7))
    graph, scheme = quantise(from_nir(stored), frames)
    shown = np.clip(np.round(frames[:1] * scheme.input_scale), -128, 127).astype(np.float32)
    report = compare(simulate(graph, shown, precision="loihi2"), reference.run(graph, shown))
    assert report.exact, report.first_mismatch


def test_pools_and_matrices_between_neurons_are_one_node():
    graph = prepared(from_nir(pooled(np.random.default_rng(0))[0]))
    assert "pool" not in graph.nodes
    assert graph.nodes["c2"].sources == ("n1",)
    assert isinstance(graph.nodes["c2"].operation, Conv2d)
    assert graph.nodes["c2"].operation.stride == (2, 2)
    assert isinstance(graph.nodes["w"].operation, Affine)
    assert graph.nodes["w"].sources == ("n2",)
    assert graph.nodes["out"].sources == ("n3",)  # the host's


def test_a_filter_that_is_read_out_too_stays():
    stored, _ = nengo(np.random.default_rng(0))
    stored.nodes["probe"] = nir.Linear(np.ones((8, 2), np.float32))
    stored.edges += [("syn", "probe"), ("probe", "output")]
    stored.edges.remove(("ens2", "output"))
    graph = unfiltered(from_nir(stored))
    assert isinstance(graph.nodes["ens2"].operation, CubaLif)
    assert isinstance(graph.nodes["syn"].operation, Li)
    assert isinstance(graph.nodes["syn.unfiltered"].operation, Scale)
    assert graph.nodes["enc2"].sources == ("syn.unfiltered",)


@pytest.mark.parametrize("change", ["unfiltered besides", "two filters", "another decay", "no leaky neurons"])
def test_filters_that_neurons_have_none_of_are_refused(change):
    stored, frames = nengo(np.random.default_rng(0))
    if change == "unfiltered besides":
        stored.edges = [("input", "enc"), *(edge for edge in stored.edges if "in" not in edge), ("enc", "ens2")]
        del stored.nodes["in"]
    elif change == "two filters":
        stored.nodes["more"] = stored.nodes["syn"]
        stored.edges += [("syn", "more"), ("more", "enc2")]
        stored.edges.remove(("syn", "enc2"))
    elif change == "another decay":
        stored.nodes["syn"].tau = np.array([5, 6]) * np.float32(DT)
    else:
        stored.nodes["ens2"] = nir.IF(np.full(8, 1 / DT), np.ones(8), np.zeros(8))
    with pytest.raises(RefusedInput, match=r"the currents of (syn|more);|sends its membranes to other neurons"):
        quantise(from_nir(stored), frames)


def test_relays_wait_as_long_as_the_delay():
    stored, _ = late(np.random.default_rng(7))
    graph = prepared(from_nir(stored))
    delays = [node.operation.steps for node in graph.nodes.values() if isinstance(node.operation, Delay)]
    assert np.array_equal(sum(delays), [0, 63, 64, 130, 200])
    assert max(steps.max() for steps in delays) == 63
    assert len(graph.populations) == 2 + 3


def test_frames_have_no_relays():
    nodes = {"wait": nir.Delay(np.full(2, 64 * DT)), "w": nir.Linear(np.ones((2, 2), np.float32)), "n": lif((2,))}
    with pytest.raises(RefusedInput, match="waits 64 steps; expected at most 63"):
        quantise(from_nir(chain(nodes, (2,), (2,), 80)), np.ones((1, 80, 2), np.float32) / 3)


def test_a_network_without_input_is_quantised_from_its_weights():
    """A neuron that fires by itself drives another; and neurons whose synapses are all 0."""
    one, step = np.ones(1), DT
    pace = nir.LIF(np.full(1, 20 * step), one, 1.3 * one, one, 0 * one)
    nodes = {"none": nir.Linear(np.zeros((1, 1), np.float32)), "pace": pace}
    nodes |= {"w": nir.Linear(np.full((1, 1), 70.0, np.float32)), "driven": lif((1,), 2.0, tau=20.0)}
    graph = from_nir(chain(nodes, (1,), (1,), 200))
    frames = np.zeros((1, 200, 1), np.float32)
    whole, _ = quantise(graph, frames)
    assert any("all calibration frames are zero" in line for line in whole.metadata.assumed)
    expected, found = reference.run(graph, frames).spikes, reference.run(whole, frames).spikes
    for name in ("pace", "driven"):
        assert abs(int(expected[name].count()) - int(found[name].count())) <= 1
        assert found[name].count() > 2


def test_what_a_file_can_not_say_is_refused_before_it_is_written(tmp_path):
    """A map of sums behind a matrix and a `Delay`: NIR makes no map of a row, and only neurons say theirs."""
    stored, frames = padded_pool(np.random.default_rng(7))
    stored.nodes["wait"] = nir.Delay(np.full((3, 5, 4), DT))
    stored.edges = [edge for edge in stored.edges if edge != ("c2", "n2")] + [("c2", "wait"), ("wait", "n2")]
    nir.write(tmp_path / "float.nir", stored)
    floats, scheme = calibrate(read_graph(tmp_path / "float.nir"), frames)
    with pytest.raises(RefusedInput, match=r"wait reads \[60\] as \[3, 5, 4\]; NIR has no node"):
        write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    assert not (tmp_path / "quantised.nir").exists()


def test_neurons_whose_currents_last_get_no_bias_that_they_had_not():
    """Such a bias is a drive: a neuron that always fires, which Lava's own processes lack; elsewhere it is free."""
    rng = np.random.default_rng(5)
    one, step = np.ones(4, np.float32), np.float32(DT)
    weights = [rng.normal(size=(4, n)).astype(np.float32) for n in (3, 4)]
    frames = (rng.random((3, T, 3)) < 0.5).astype(np.float32)
    for bias in (0, 1):
        nodes = {
            "w": nir.Affine(weights[0], bias * one / 4),
            "n1": nir.CubaLIF(3 * step * one, 4 * step * one, 20 * one, 0 * one, one / 2, 0 * one, one),
            "w2": nir.Linear(weights[1]),
            "n2": nir.CubaLIF(3 * step * one, 4 * step * one, 20 * one, 0 * one, one / 2, 0 * one, one),
        }
        whole, _ = quantise(from_nir(chain(nodes, (3,), (4,), T)), frames)
        drives = [np.any(node.operation.drive) for node in whole.populations]
        assert drives == [bool(bias), False]
