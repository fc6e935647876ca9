"""Cycles, delays and graphs within graphs: what is late, what has a schedule, what is refused."""

import nir
import numpy as np
import pytest

from neuromorphic.analysis.recurrence import components
from neuromorphic.analysis.schedule import schedule
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.loihi2.supported import check_supported
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import DT, chain, lif, metadata
from tests.properties import channels

ONE = np.ones((1, 1), np.float32)


def ring(*names, more=(), **nodes):
    """input -> a, and the cycle through `names`, which a begins; a -> output."""
    made = {name: nodes.get(name, lif((1,), 0.5)) for name in names}
    ends = {"input": nir.Input(np.array([1])), "output": nir.Output(np.array([1]))}
    cycle = list(zip(names, (*names[1:], names[0]), strict=True))
    edges = [("input", names[0]), (names[0], "output"), *cycle, *more]
    return nir.NIRGraph({**ends, **made}, edges, metadata=metadata(4), type_check=False)


def late(steps):
    return nir.Delay(np.full(1, steps * DT))


def test_a_population_that_reads_itself_hears_what_it_sent_a_step_before():
    graph = from_nir(ring("a", "w", w=nir.Linear(np.array([[-4.0]], np.float32))))
    assert graph.recurrent == {("a", "w")}
    spikes = run(graph, np.full((1, 1), 2, np.float32)).spikes["a"].unpack()
    assert spikes.ravel().tolist() == [True, False, False, True]  # v: 1 fires; (2 - 4) / 2; (2 + 1) / 2 - 1; 5 / 4


def test_in_a_ring_every_synapse_takes_a_step():
    graph = from_nir(ring("a", "b", "c", b=lif((1,), 0.25), c=lif((1,), 0.25)))
    assert graph.recurrent == {("a", "b"), ("b", "c"), ("c", "a")}
    timing = schedule(graph)
    assert [timing.latency[name] for name in "abc"] == [1, 1, 1]
    assert not any(timing.delay.values())
    spikes = run(graph, np.array([[[2], [0], [0], [0]]], np.float32)).spikes
    assert [int(spikes[name].unpack().ravel().argmax()) for name in "abc"] == [0, 1, 2]


def test_what_leaves_a_cycle_is_on_time():
    nodes = ring("a", "w", w=nir.Linear(-4 * ONE))
    nodes.nodes["b"] = lif((1,), 0.25)
    nodes.edges += [("a", "b")]
    graph = from_nir(nodes)
    assert graph.lag("a", "b") == 0
    spikes = run(graph, np.full((1, 1), 2, np.float32)).spikes
    np.testing.assert_array_equal(spikes["b"].bits, spikes["a"].bits)


def test_a_delay_says_itself_how_late_its_cycle_is():
    graph = from_nir(ring("a", "w", "d", w=nir.Linear(ONE), d=late(2)))
    assert graph.recurrent == frozenset()
    assert [graph.lag(*edge) for edge in (("a", "w"), ("w", "d"), ("d", "a"))] == [0, 2, 0]
    spikes = run(graph, np.array([[[2], [0], [0], [0]]], np.float32)).spikes["a"].unpack()
    assert spikes.ravel().tolist() == [True, False, False, False]
    spikes = run(graph, np.array([[[2], [0], [0.25], [0]]], np.float32)).spikes["a"].unpack()
    assert spikes.ravel().tolist() == [True, False, True, False]  # 1 / 2 of 1 + 1 / 4, above 1 / 2


@pytest.mark.parametrize(
    ("synapses", "steps", "fits"), [(1, 1, True), (2, 1, False), (2, 2, True), (3, 2, False), (3, 4, True)]
)
def test_a_cycle_fits_where_it_is_as_late_as_its_synapses_are_many(synapses, steps, fits):
    weights = {f"w{i}": nir.Linear(ONE) for i in range(synapses)}
    graph = from_nir(ring("a", *weights, "d", **weights, d=late(steps)))
    frames = np.array([[[2], [0], [0], [1]], [[0], [0], [1], [0]]], np.float32)
    trace = run(graph, frames)
    if fits:
        np.testing.assert_array_equal(channels.run(graph, frames)[0]["a"], trace.spikes["a"].unpack())
        return
    with pytest.raises(
        RefusedInput,
        match=rf"takes {synapses} time steps on the chip.*has {steps} for them.*Delay of {synapses} time steps",
    ):
        schedule(graph)


def test_two_synapses_without_a_neuron_between_them_do_not_fit_a_recurrent_edge():
    graph = from_nir(ring("a", "v", "w", v=nir.Linear(ONE), w=nir.Linear(ONE)))
    with pytest.raises(
        RefusedInput, match=r"graph: the cycle .*a -> v.* takes 2 time steps on the chip.* has 1 for them"
    ):
        schedule(graph)


def test_a_cycle_without_a_neuron_is_refused():
    nodes = ring("a", "b")
    nodes.nodes["a"] = nodes.nodes["b"] = nir.Linear(ONE)
    with pytest.raises(RefusedInput, match=r"a cycle through a, b; expected a neuron or a Delay on it"):
        from_nir(nodes)


def test_flattening_that_reads_itself_is_refused():
    nodes = ring("a", a=nir.Flatten({"input": np.array([1])}, 0, -1))
    with pytest.raises(RefusedInput, match="a cycle through a"):
        from_nir(nodes)


def test_a_cycle_that_no_input_reaches_runs_on_its_biases_and_says_so():
    graph = chain({"lif": lif((1,))}, (1,), (1,))
    graph.nodes |= {"x": lif((1,)), "w": nir.Linear(ONE)}
    graph.edges += [("x", "w"), ("w", "x")]
    (note,) = (each for each in from_nir(graph).metadata.assumed if "no input leads to" in each)
    assert note.endswith("but around a cycle: it runs on its biases")


def test_nothing_under_way_reaches_the_next_image():
    """A spike of the last step would fire the population again, in the first step of the next image."""
    graph = from_nir(ring("a", "w", w=nir.Linear(8 * ONE)))
    frames = np.array([[[0], [0], [0], [2]], [[0], [0], [0], [0]]], np.float32)
    for spikes in (run(graph, frames).spikes["a"].unpack(), channels.run(graph, frames)[0]["a"]):
        assert spikes.reshape(2, 4).tolist() == [[False, False, False, True], [False] * 4]


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        (1.5 * DT, "multiples of dt"),
        (-DT, "0 to 4096 time steps"),
        (5000 * DT, "0 to 4096 time steps"),
        (np.nan, "not finite"),
    ],
)
def test_delays_that_are_no_steps_are_refused(delay, words):
    with pytest.raises(RefusedInput, match=f"node 'd': delay .*{words}"):
        from_nir(chain({"d": nir.Delay(np.array([delay]))}, (1,), (1,)))


def subgraph(**nodes):
    ends = {"in": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}
    inner = {**ends, "lif": lif((1,), 0.5), "w": nir.Linear(ONE), **nodes}
    edges = [("in", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "out")]
    return nir.NIRGraph(inner, edges, type_check=False)


def test_graphs_within_graphs_have_their_names():
    outer = subgraph()
    outer.nodes["w"] = subgraph()
    graph = from_nir(chain({"g": outer}, (1,), (1,)))
    assert {node.name for node in graph.populations} == {"g.lif", "g.w.lif"}
    assert graph.recurrent == {("g.lif", "g.w.lif"), ("g.w.lif", "g.w.w"), ("g.w.lif", "g.lif")}


def test_an_edge_beside_a_subgraph_that_only_passes_on_counts_too():
    passing = nir.NIRGraph(
        {"in": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}, [("in", "out")], type_check=False
    )
    nodes = chain({"g": passing, "lif": lif((1,), 0.5)}, (1,), (1,))
    nodes.edges.append(("input", "lif"))
    spikes = run(from_nir(nodes), np.full((1, 1), 0.75, np.float32)).spikes["lif"].unpack()
    assert spikes.ravel()[0]  # (0.75 + 0.75) / 2 is above 0.5, and 0.75 / 2 is not


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: g.nodes.pop("out"), "subgraph 'g' has 0 output nodes"),
        (lambda g: g.nodes.update(more=nir.Input(np.array([1]))), r"subgraph 'g' has 2 input nodes \(in, more\)"),
        (lambda g: g.edges.append(("lif", "gone")), "subgraph 'g': an edge names node 'gone'"),
        (lambda g: g.edges.append(("in", "lif")), "subgraph 'g': the edge 'in' -> 'lif' stands twice"),
    ],
)
def test_subgraphs_that_do_not_fit_are_refused(change, words):
    inner = subgraph()
    change(inner)
    with pytest.raises(RefusedInput, match=words):
        from_nir(chain({"g": inner}, (1,), (1,)))


def test_an_end_of_a_subgraph_takes_the_shape_that_arrives_and_says_so():
    inner = subgraph()
    inner.nodes["in"] = nir.Input(np.array([2]))
    graph = from_nir(chain({"g": inner}, (1,), (1,)))
    assert graph.metadata.assumed == ("g.in has the shape that arrives at it, [1], not its own",)


def test_components_of_a_graph_worked_out_by_hand():
    fan_in = {"a": ["c"], "b": ["a"], "c": ["b", "d"], "d": [], "e": ["c", "f"], "f": ["e"], "g": ["e"]}
    found = components(fan_in)
    assert {frozenset(n for n in found if found[n] == k) for k in found.values()} == {
        frozenset("abc"), frozenset("d"), frozenset("ef"), frozenset("g"),
    }  # fmt: skip
    assert found["d"] < found["a"] < found["e"] < found["g"]


def of_one(node, out=(1,)):
    return chain({"node": node}, (1,), out)


def delayed_currents():
    nodes = {"w": nir.Affine(np.ones((1, 1)), np.ones(1)), "late": late(1), "lif": lif((1,))}
    return chain(nodes, (1,), (1,))


def echo():
    """A cycle of nothing but delays, and neurons that hear it."""
    stored = ring("late", "again", late=late(1), again=late(1))
    stored.nodes["lif"] = lif((1,))
    stored.edges.append(("late", "lif"))
    return stored


def scaled_currents():
    nodes = {"w": nir.Affine(np.ones((1, 1)), np.ones(1)), "scale": nir.Scale(np.full(1, 2.0)), "lif": lif((1,))}
    return chain(nodes, (1,), (1,))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (chain({"i": nir.I(ONE[0]), "lif": lif((1,))}, (1,), (1,)), "node 'i' sends its membranes to other"),
        (of_one(nir.LI(*[ONE[0]] * 3)), "it has no neurons that spike"),
        (scaled_currents(), "node 'scale' scales currents"),
        (chain({"d": late(64), "lif": lif((1,))}, (1,), (1,)), "node 'd' waits 64 steps; expected at most 63, which"),
        (delayed_currents(), "node 'late': biases reach it with its currents"),
        (echo(), "a cycle through again, late, without neurons that spike; expected some, since currents could grow"),
    ],
)
def test_the_chips_integers_refuse_by_name(graph, words):
    with pytest.raises(RefusedInput, match=f"precision loihi2: {words}"):
        check_supported(from_nir(graph))
