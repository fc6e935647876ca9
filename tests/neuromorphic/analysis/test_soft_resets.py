"""Soft resets of four nodes become one population, which spikes at the same steps; other loops stay."""

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic.analysis.fingerprint import check_trace
from neuromorphic.analysis.rounding import certify
from neuromorphic.analysis.soft_resets import in_one, with_soft_resets
from neuromorphic.execution import fast
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from neuromorphic.lava.stock_limits import refusals
from neuromorphic.ops import Interval, SoftIf, SoftLif, Sums
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import DT, metadata

SIZE = 5


def full(value):
    return np.full(SIZE, value, np.float32)


def looped(*args, **settings):
    return from_nir(stored(*args, **settings))


def stored(
    seed=0, decay=0.5, leak=0.0, back=1.0, threshold=1.0, delay_first=False, recurrent=False, steps=1, further=()
):
    """Two layers of neurons with soft resets, `decay` 0 of integrators; weights on multiples of 1/16."""
    rng = np.random.default_rng(seed)
    nodes = {"input": nir.Input(np.array([SIZE]))}
    edges, before = [], "input"
    for layer in ("a", "b"):
        weight, bias = (np.round(rng.normal(size=n) * 16).astype(np.float32) / 16 for n in ((SIZE, SIZE), SIZE))
        tau = full(DT / decay) if decay else None
        nodes |= {
            f"{layer}.in": nir.Affine(weight, bias),
            f"{layer}.v": nir.I(full(1 / DT)) if tau is None else nir.LI(tau, full(2.0), full(leak)),
            layer: nir.Threshold(full(threshold)),
            f"{layer}.back": nir.Scale(full(-back)),
            f"{layer}.later": nir.Delay(full(steps * DT)),
        }
        way = [f"{layer}.later", f"{layer}.back"] if delay_first else [f"{layer}.back", f"{layer}.later"]
        edges += [(before, f"{layer}.in"), (f"{layer}.in", f"{layer}.v"), (f"{layer}.v", layer)]
        edges += [(layer, way[0]), (way[0], way[1]), (way[1], f"{layer}.v")]
        if recurrent:
            nodes[f"{layer}.before"] = nir.Delay(full(DT))
            nodes[f"{layer}.own"] = nir.Linear(np.round(rng.normal(size=(SIZE, SIZE)) * 4).astype(np.float32) / 4)
            edges += [(layer, f"{layer}.before"), (f"{layer}.before", f"{layer}.own"), (f"{layer}.own", f"{layer}.v")]
        before = layer
    nodes |= {"readout": nir.Affine(np.eye(SIZE, dtype=np.float32), full(0.25)), "output": nir.Output(np.array([SIZE]))}
    edges += [("b", "readout"), ("readout", "output"), *further]
    return nir.NIRGraph(nodes, edges, metadata=metadata(8), type_check=False)


def frames(seed=0, images=3, steps=8):
    return np.random.default_rng(seed).integers(-8, 17, (images, steps, SIZE)).astype(np.float32) / 8


def assert_same(trace, expected):
    report = compare(trace, expected)
    assert report.exact, report.first_mismatch
    assert report.output_difference == 0
    assert 0 < sum(train.count() for train in trace.spikes.values()) < 3 * 8 * 2 * SIZE


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    decay=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    leak=st.sampled_from([0.0, -0.5, 0.5]),
    back=st.sampled_from([0.5, 1.0, -0.25, 3.0]),
    delay_first=st.booleans(),
    recurrent=st.booleans(),
)
def test_one_population_spikes_as_its_four_nodes_in_the_reference_and_fast(
    seed, decay, leak, back, delay_first, recurrent
):
    graph = looped(seed, decay, leak, back, delay_first=delay_first, recurrent=recurrent)
    one = with_soft_resets(graph)
    kind = SoftLif if decay else SoftIf
    assert [type(node.operation) for node in one.populations] == [kind, kind]
    assert len(one.nodes) == len(graph.nodes) - 6
    shown = frames(seed)
    expected = run(graph, shown)
    for trace in (run(one, shown), fast.run_in_batches(one, shown)):
        report = compare(trace, expected)
        assert report.exact, report.first_mismatch
        assert report.output_difference == 0


@pytest.mark.parametrize("settings_", [{"decay": 0.0}, {"recurrent": True, "delay_first": True, "leak": 0.5}])
def test_lava_runs_soft_resets_spike_for_spike(settings_):
    graph = looped(**settings_)
    trace = simulate(graph, frames(), batch=2)
    assert_same(trace, run(graph, frames()))
    assert check_trace(graph, trace) == ()


def test_lavas_own_processes_refuse_them_by_name():
    assert any("node 'a' subtracts with its spikes" in reason for reason in refusals(looped(), stock=True))


@pytest.mark.parametrize(
    "settings_",
    [
        {"steps": 2},
        {"threshold": 0.25, "leak": 0.5},
        {"further": [("a.v", "readout")]},
        {"further": [("a.back", "b.v")]},
        {"further": [("a.later", "b.v")]},
    ],
    ids=["of two steps", "that fires at rest", "membranes read", "what goes back read", "what waited read"],
)
def test_a_loop_that_is_more_than_one_neurons_stays(settings_):
    graph = looped(**settings_)
    assert not isinstance(with_soft_resets(graph).nodes["a"].operation, SoftLif | SoftIf)
    assert "a.v" in with_soft_resets(graph).nodes


def test_a_graph_without_loops_is_itself():
    graph = looped(steps=2)
    assert with_soft_resets(graph) is graph


def test_what_needs_float64_of_a_loop_needs_it_as_one():
    graph = looped()
    assert in_one(graph, frozenset({"a.back", "b.in", "readout"})) == {"a", "b.in", "readout"}


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_proof_of_one_population_takes_no_fewer_bits_than_its_membranes_did(decay):
    graph = looped(decay=decay)
    low, high = np.full(SIZE, -1.0), np.full(SIZE, 2.0)
    loop, one = (certify(g, Sums(Interval(low, high), 3), 8, 53) for g in (graph, with_soft_resets(graph)))
    assert one.exact
    assert one.nodes["a"].bits_needed >= loop.nodes["a.v"].bits_needed
    assert one.nodes["a"].bits_needed <= loop.nodes["a.v"].bits_needed + 1
