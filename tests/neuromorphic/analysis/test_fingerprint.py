"""A trace is of one graph: fingerprints tell graphs apart by all that computes, and by nothing else."""

from dataclasses import fields, replace

import h5py
import nir
import numpy as np
import pytest

import energy
import spikeclip
from energy.cli_runs import stored
from energy.inputs import with_input_kind
from neuromorphic.analysis.fingerprint import UNTOLD, check_frames, check_trace, fingerprint, lineage
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import fast, reference
from neuromorphic.ir.parity import compare
from neuromorphic.ir.trace import Trace
from neuromorphic.loihi2.file import integer_graph
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, with_scheme
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from neuromorphic.runs.cli_inputs import Selection
from tests.neuromorphic.graphs import chain, conv, lif, metadata, small_net

FRAMES = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype(np.float32)


def ran(graph):
    return reference.run(graph, FRAMES)


def test_the_same_graph_in_another_file_has_the_same_fingerprint(tmp_path):
    first = small_net()
    again = nir.NIRGraph(
        dict(reversed(first.nodes.items())),
        first.edges[::-1],
        metadata=metadata(4, label_names=list("abcde")),
        type_check=False,
    )
    nir.write(tmp_path / "again.nir", again)
    assert fingerprint(read_graph(tmp_path / "again.nir")) == fingerprint(from_nir(small_net()))
    assert fingerprint(from_nir(small_net(seed=1))) != fingerprint(from_nir(small_net()))


def changed(value):
    """Another value of the same type, as near to it as can be."""
    if isinstance(value, np.ndarray):
        nearest = value.copy()
        last = nearest.reshape(-1)[-1:]
        last[...] = np.nextafter(last, np.inf) if value.dtype.kind == "f" else last + 1
        return nearest
    if isinstance(value, tuple):
        return (value[0] + 1, *value[1:])
    return not value if isinstance(value, bool) else value + 1


def test_the_least_change_of_any_parameter_changes_it():
    graph = from_nir(small_net())
    known = {fingerprint(graph)}
    tried = 0
    for node in graph.nodes.values():
        for field in fields(node.operation):
            value = getattr(node.operation, field.name)
            if isinstance(value, np.ndarray) and not value.size:
                continue
            operation = replace(node.operation)  # past what a new one checks of its parameters
            object.__setattr__(operation, field.name, changed(value))
            known.add(fingerprint(graph.with_operations({node.name: operation})))
            tried += 1
    assert tried > 10
    assert len(known) == 1 + tried


@pytest.mark.parametrize("asked", [Asked(reset="subtract"), Asked(dt=2e-4)])
def test_what_a_file_leaves_open_changes_it(asked):
    theirs = small_net()
    graph = nir.NIRGraph(theirs.nodes, theirs.edges, type_check=False)
    assert fingerprint(from_nir(graph, asked=asked)) != fingerprint(from_nir(graph))


def test_edges_and_names_change_it():
    def two(names, edges):
        nodes = {"input": nir.Input(np.array((1, 2, 2))), **{name: lif((1, 2, 2)) for name in names}}
        nodes["output"] = nir.Output(np.array((1, 2, 2)))
        return fingerprint(from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False)))

    plain = [("input", "a"), ("a", "b"), ("b", "output")]
    found = {
        two("ab", plain),
        two("ab", [*plain, ("a", "output")]),
        two("ab", [*plain, ("b", "a")]),
        two("ac", [("input", "a"), ("a", "c"), ("c", "output")]),
    }
    assert len(found) == 4


def test_a_trace_of_other_weights_is_refused_wherever_it_is_used(tmp_path):
    mine, other = from_nir(small_net(), "mine.nir"), from_nir(small_net(seed=1), "other.nir")
    ran(other).write(tmp_path / "run.h5")
    trace = Trace.read(tmp_path / "run.h5")
    assert trace.graphs == (fingerprint(other),)
    sentence = (
        rf"mine\.nir: the trace is of another graph \({fingerprint(other)[:12]}; expected {fingerprint(mine)[:12]}"
    )
    for use in (energy.count, check_trace, lambda graph, run: place(graph, trace=run)):
        with pytest.raises(RefusedInput, match=sentence):
            use(mine, trace)
        use(other, trace)
    with pytest.raises(RefusedInput, match="different graphs: of other parameters"):
        compare(ran(mine), trace)
    assert compare(fast.run_in_batches(other, FRAMES), trace).exact


def test_parts_of_a_run_keep_it():
    graph = from_nir(small_net())
    first, last = (reference.run(graph, part) for part in (FRAMES[:2], FRAMES[2:]))
    assert Trace.joined([first, last]).graphs == lineage(graph)


def test_a_run_in_integers_is_one_of_the_floats_that_they_were_made_of(tmp_path):
    floats = from_nir(small_net(), "mine.nir")
    rounded, scheme = calibrate(floats, FRAMES)
    graph = integers(with_scheme(rounded, scheme), scheme)
    trace = reference.run(graph, graded(graph, FRAMES))
    assert len(trace.graphs) == 3
    for graph in (floats, rounded, integer_graph(with_scheme(rounded, scheme))):
        assert check_trace(graph, trace) == ()
    with pytest.raises(RefusedInput, match="another graph"):
        check_trace(from_nir(small_net(seed=1)), trace)


def test_a_trace_without_a_graph_is_taken_at_its_word(tmp_path):
    graph = from_nir(small_net(), "mine.nir")
    replace(ran(graph), graphs=()).write(tmp_path / "old.h5")
    old = Trace.read(tmp_path / "old.h5")
    assert check_trace(graph, old) == ("the trace doesn't say which graph ran; it is taken for a run of mine.nir",)
    assert compare(old, ran(graph)).exact


EVENTS = (np.random.default_rng(1).random((5, 4, 2, 6, 6)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("precision", ["float", "loihi2"])
@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_a_run_is_counted_with_its_own_frames_only(tmp_path, precision, backend):
    graph = from_nir(small_net(), "mine.nir")
    with_input = with_input_kind(graph, "spikes")
    run = {"precision": precision, "calibrate": EVENTS if precision == "loihi2" else None, "backend": backend}
    spikeclip.run(graph, EVENTS, **run).write(tmp_path / "run.h5")
    trace = Trace.read(tmp_path / "run.h5")
    assert energy.count(with_input, trace, EVENTS).images == 5
    for odd, other in ((3, EVENTS[[0, 1, 2, 4, 3]]), (0, 1 - EVENTS)):
        with pytest.raises(RefusedInput, match=f"^mine.nir: the frames of image {odd} are not those"):
            energy.count(with_input, trace, other)
        with pytest.raises(RefusedInput, match=f"^mine.nir: the frames of image {odd} are not those"):
            energy.count_stored(with_input, tmp_path / "run.h5", 256, frames=other)
    part = Trace.joined([trace.part(slice(3, 5)), trace.part(slice(0, 1))])
    check_frames(graph, part, EVENTS[[3, 4, 0]])


def test_frames_that_stay_are_those_of_every_step():
    graph = from_nir(small_net(), "mine.nir")
    still = np.repeat(EVENTS[:, :1], 4, axis=1)
    trace = spikeclip.run(graph, EVENTS[:, 0], backend="fast")
    check_frames(graph, trace, still)
    check_frames(graph, trace, np.where(still == 0, np.float32(-0.0), still))
    with pytest.raises(RefusedInput, match="frames of image 0 are not those"):
        check_frames(graph, trace, still + 1)


def test_frames_of_an_older_trace_are_assumed(tmp_path):
    nir.write(tmp_path / "mine.nir", small_net())
    np.save(tmp_path / "x.npy", EVENTS)
    graph = read_graph(tmp_path / "mine.nir")
    reference.run(graph, EVENTS).write(tmp_path / "run.h5")
    chosen = Selection(None, {"": tmp_path / "x.npy"})
    run = stored(with_input_kind(graph, "spikes"), tmp_path / "run.h5", chosen, ())
    assert UNTOLD in run.assumed


def test_damaged_hashes_of_frames_are_refused(tmp_path):
    trace = spikeclip.run(from_nir(small_net()), EVENTS, backend="fast")
    replace(trace, frames=trace.frames[:, :5]).write(tmp_path / "run.h5")
    with pytest.raises(RefusedInput, match=r"hashes of frames are uint8 \[5, 5\]; expected uint8 \[5, 32\]"):
        Trace.read(tmp_path / "run.h5")


@pytest.mark.parametrize("graphs", [["no hash"], ["A" * 64], [1, 2], 3.0])
def test_a_trace_whose_graphs_are_no_hashes_is_refused(tmp_path, graphs):
    ran(from_nir(small_net())).write(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5", "a") as file:
        file.attrs["graphs"] = graphs
    with pytest.raises(RefusedInput, match=r"run\.h5: "):
        Trace.read(tmp_path / "run.h5")


def test_grouped_kernels_are_another_graph_than_dense_ones_of_equal_size():
    weight = np.ones((2, 1, 1, 1))

    def of(groups, weight):
        node = conv(weight, hw=(2, 2))
        node.groups = groups
        return fingerprint(from_nir(chain({"conv": node}, (2 if groups > 1 else 1, 2, 2), (2, 2, 2))))

    assert of(2, weight) != of(1, weight)
