"""Graphs of several outputs: a trace holds all of them, whatever runs the graph."""

import nir
import numpy as np
import pytest

import energy
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import fast, reference
from neuromorphic.ir.parity import compare
from neuromorphic.ir.trace import Trace
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, with_scheme
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from neuromorphic.runs.summary import output_units, unit_sentences
from neuromorphic.targets.target import TARGETS
from tests.neuromorphic.graphs import lif, metadata


def affine(rng, rows, columns):
    weight = np.round(rng.normal(size=(rows, columns)) * 64) / 64
    return nir.Affine(weight.astype(np.float32), (np.arange(rows) / 8).astype(np.float32))


def two_heads(time_steps=5):
    """input -> fc -> a; two heads of currents, of 2 and of 3 classes; one more output sums currents and spikes."""
    rng = np.random.default_rng(0)
    nodes = {
        "input": nir.Input(np.array([4])),
        "fc": affine(rng, 3, 4),
        "a": lif((3,)),
        "left": affine(rng, 2, 3),
        "right": affine(rng, 3, 3),
        "which": nir.Output(np.array([2])),
        "where": nir.Output(np.array([3])),
        "both": nir.Output(np.array([3])),
    }
    edges = [
        ("input", "fc"), ("fc", "a"), ("a", "left"), ("a", "right"),
        ("left", "which"), ("right", "where"), ("right", "both"), ("a", "both"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, metadata=metadata(time_steps), type_check=False)


FRAMES = np.round(np.random.default_rng(1).normal(size=(7, 5, 4)) * 32).astype(np.float32) / 16


def by_hand(weights):
    """The three outputs and the spikes of `two_heads`, each neuron and step written out: float64 `[N, T, ...]`."""
    spikes = np.zeros((len(FRAMES), 5, 3))
    for image, frames in enumerate(FRAMES.astype(np.float64)):
        v = np.zeros(3)
        for t, x in enumerate(frames):
            v = v + (weights["fc"].weight @ x + weights["fc"].bias - v) / 2
            spikes[image, t] = v > 1
            v[v > 1] = 0
    which = spikes @ weights["left"].weight.T + weights["left"].bias
    where = spikes @ weights["right"].weight.T + weights["right"].bias
    return spikes, {"both": where + spikes, "where": where, "which": which}


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_shows_all_outputs(target):
    file = two_heads()
    spikes, expected = by_hand(file.nodes)
    graph = from_nir(file)
    assert graph.outputs == ("both", "where", "which")
    trace = TARGETS[target]().run(graph, FRAMES)
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(trace.spikes["a"].unpack(), spikes != 0)
    np.testing.assert_array_equal(trace.outputs, expected.pop("both"))
    assert set(trace.further) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(trace.further[name], values, err_msg=name)


def test_which_output_the_scores_are_of_is_said():
    graph = from_nir(two_heads())
    assert any(
        "both, where, which, scores and predictions are those of both" in note for note in graph.metadata.assumed
    )


def test_a_trace_keeps_all_outputs_in_its_file_and_in_parts(tmp_path):
    graph = from_nir(two_heads())
    whole = reference.run(graph, FRAMES)
    whole.write(tmp_path / "run.h5")
    back = Trace.read(tmp_path / "run.h5", slice(2, 6))
    for name, values in whole.further.items():
        np.testing.assert_array_equal(back.further[name], values[2:6])
    parts = Trace.joined([reference.run(graph, FRAMES[:3]), reference.run(graph, FRAMES[3:])])
    assert compare(parts, Trace.read(tmp_path / "run.h5")).exact


def test_a_difference_in_a_further_output_is_found():
    graph = from_nir(two_heads())
    first, second = reference.run(graph, FRAMES), fast.run_in_batches(graph, FRAMES)
    assert compare(first, second).exact
    second.further["which"][3, 1, 0] += 0.5
    report = compare(first, second)
    assert (report.exact, report.outputs.differ, report.outputs.difference) == (False, 1, 0.5)
    del second.further["which"]
    with pytest.raises(RefusedInput, match="traces of different outputs"):
        compare(first, second)


def test_operations_are_counted_with_all_outputs():
    """SOPs of a spike of a: 2 synapses to the left and 3 to the right head."""
    graph = from_nir(two_heads())
    trace = reference.run(graph, FRAMES)
    counts = energy.count(graph, trace)
    assert counts.sops == 5 * trace.spikes["a"].count()
    assert place(graph, trace=trace).cores


def test_an_output_of_sums_in_two_units_has_no_integers():
    """Spikes count 1, and the currents of a head a unit of its weights."""
    with pytest.raises(RefusedInput, match=r"both: sums a \+ right, which count in different units"):
        calibrate(from_nir(two_heads()), FRAMES)


def test_integers_of_several_outputs_are_the_floats_in_a_unit_of_each():
    file = two_heads()
    file.edges.remove(("right", "both"))
    graph = from_nir(file)
    floats, scheme = calibrate(graph, FRAMES)
    whole = integers(with_scheme(floats, scheme), scheme)
    units = output_units(whole)
    assert units["both"] == 1
    assert len({*units.values()}) == 3
    assert [said.split()[2] for said in unit_sentences(whole)] == ["where", "which"]
    runs = {name: kind().run(whole, graded(whole, FRAMES)) for name, kind in TARGETS.items()}
    assert all(compare(trace, runs["reference"]).exact for trace in runs.values())
    expected = reference.run(floats, FRAMES)
    np.testing.assert_array_equal(runs["reference"].outputs, expected.outputs)
    for name, values in expected.further.items():
        found = runs["reference"].further[name]
        np.testing.assert_array_equal(found, np.rint(found))
        np.testing.assert_allclose(found * units[name], values, atol=units[name] / 2, err_msg=name)


def test_an_output_that_is_read_is_refused_whichever_it_is():
    file = two_heads()
    odd = nir.NIRGraph(file.nodes, [*file.edges, ("which", "both")], metadata=file.metadata, type_check=False)
    with pytest.raises(RefusedInput, match="node 'both'"):
        from_nir(odd)
