"""Cycles, delays, membranes, `Scale` and `Conv1d` on cores: by hand, and on random compositions one by one."""

from dataclasses import replace

import nir
import numpy as np
import pytest

from neuromorphic.analysis.arrivals import arrivals
from neuromorphic.analysis.schedule import schedule
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.ops import Delay
from neuromorphic.placement import Limits, picture, place
from neuromorphic.placement.populations import sends
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.compositions import Composer
from tests.neuromorphic.graphs import DT, chain, conv, lif, metadata
from tests.neuromorphic.placement.test_placement import (
    CHIP,
    _on_exactly_one_core,
    _shapes,
    _synapses_one_by_one,
    cores_of,
    in_block,
)


def full(size, *values):
    return (np.full(size, value, np.float32) for value in values)


def delay(*steps):
    return nir.Delay(np.array(steps, np.float32) * np.float32(DT))


def graph_of(nodes, edges, shape, out):
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(out))}
    return from_nir(nir.NIRGraph({**ends, **nodes}, edges, metadata=metadata(), type_check=False))


def delays(placement):
    return {entry.population.name: entry.population.delay for entry in placement.placed}


def latency(placement):
    return {entry.population.name: entry.population.latency for entry in placement.placed}


def test_a_scale_is_one_synapse_per_neuron_with_a_weight_of_its_own():
    graph = from_nir(chain({"a": lif((2, 3)), "scale": nir.Scale(np.ones((2, 3))), "b": lif((2, 3))}, (2, 3), (2, 3)))
    a, b = place(graph, CHIP).cores
    # Two channels of three rows.  No position shares a weight, so that each element is an axon.
    assert (b.neurons, b.synapses, b.weights, b.axons_in, b.axons_out) == (6, 6, 6, 6, 0)
    assert a.axons_out == 3
    assert b.memory == 6 + 6 * 8 + 4 * 6
    # Without it there is one weight of one, and an axon per position.
    bare = from_nir(chain({"a": lif((2, 3)), "b": lif((2, 3))}, (2, 3), (2, 3)))
    _, b = place(bare, CHIP).cores
    assert (b.synapses, b.weights, b.axons_in) == (6, 1, 3)
    # Cut by rows or channels, each block stores the weights of its own neurons.
    assert [core.weights for core in cores_of(place(graph, Limits.of("chip", neurons=2)), "b")] == [2, 2, 2]


def test_a_one_dimensional_convolution_shares_its_weights_along_its_positions():
    along = nir.Conv1d(None, np.ones((4, 2, 3), np.float32), 1, 1, 1, 1, np.zeros(4, np.float32))
    graph = from_nir(chain({"a": lif((2, 6)), "conv": along, "b": lif((4, 6))}, (2, 6), (4, 6)))
    _, b = place(graph, CHIP).cores
    # 3 taps with padding 1 on 6: 16 of 18 meet the map; 2 channels in, 4 out.
    assert (b.neurons, b.synapses, b.weights, b.axons_in) == (24, 16 * 8, 4 * 2 * 3, 6)
    assert b.memory == 24 + 24 * 8 + 4 * 6
    upper, lower = cores_of(place(graph, Limits.of("chip", neurons=12, axons_in=5)), "b")
    # By rows, since each half then hears 4 of the 6 positions.
    assert (upper.rows, lower.rows, upper.axons_in, upper.weights) == ((0, 3), (3, 6), 4, 24)


def test_a_loop_through_a_matrix_is_synapses_like_others():
    edges = [("input", "a"), ("a", "w"), ("w", "a"), ("a", "output")]
    graph = graph_of({"a": lif((3,)), "w": nir.Linear(np.ones((3, 3), np.float32))}, edges, (3,), (3,))
    trace = run(graph, np.ones((2, 3), np.float32))
    placement = place(graph, CHIP, trace)
    (a,) = placement.cores
    # One identity from the input, nine synapses from a; three axons of each, and three out, to its own core.
    assert (a.neurons, a.synapses, a.weights, a.axons_in, a.axons_out) == (3, 3 + 9, 1 + 9, 3 + 3, 3)
    # What a recurrent edge delivers a step late is what a synapse takes: nothing waits.
    assert (latency(placement), delays(placement)) == ({"a": 1}, {"a": 0})
    assert a.state == 3 * 8
    # Every spike is a message to its own core and meets three synapses, the last step's too; the input sends always.
    spikes = trace.spikes["a"].count()
    assert placement.measured.messages.tolist() == [spikes]
    assert placement.measured.operations.tolist() == [8 * 3 + 3 * spikes]
    assert "<svg" in picture(placement)
    # Of two images: the trace says how many steps each takes, whatever the file does.
    unsaid = replace(graph, metadata=replace(graph.metadata, time_steps=None))
    assert place(unsaid).time_steps is None
    assert place(unsaid, trace=trace).to_dict()["measured"]["messages_per_image"] == spikes / 2


def test_populations_that_hear_each_other():
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    graph = graph_of({"a": lif((4,)), "b": lif((4,))}, edges, (4,), (4,))
    placement = place(graph, Limits(neurons=2))
    assert (latency(placement), delays(placement)) == ({"a": 1, "b": 1}, {"a": 0, "b": 0})
    # Each half is heard by one half of the other.
    assert [core.axons_out for core in placement.cores] == [2, 2, 2, 2]


def test_what_is_heard_around_a_cycle_is_cut_until_it_fits():
    # Every core of a hears all of its four neurons: each of its halves has two axons out, twice.
    edges = [("input", "a"), ("a", "w"), ("w", "a"), ("a", "output")]
    graph = graph_of({"a": lif((4,)), "w": nir.Linear(np.ones((4, 4), np.float32))}, edges, (4,), (4,))
    two = place(graph, Limits(neurons=2))
    assert [(core.axons_in, core.axons_out) for core in two.cores] == [(2 + 4, 2 * 2)] * 2
    with pytest.raises(RefusedInput, match="node 'a': one neuron takes 4 axons out; a core has 3"):
        place(graph, Limits(neurons=2, axons_out=3))
    # On one core a would have 16 axons out, since a and b hear it; 4095, 2047 ... 7 neurons on a core would be 7 too.
    wide = graph_of({"a": lif((8,)), "b": lif((8,))},
                    [("input", "a"), ("a", "a"), ("a", "b"), ("b", "output")], (8,), (8,))  # fmt: skip
    placement = place(wide, Limits(axons_out=12))
    assert [core.axons_out for core in cores_of(placement, "a")] == [6, 6, 4]


def test_spikes_wait_in_the_accumulators_of_their_reader():
    # Two steps for one neuron, five for the other: five accumulators more, and b answers as early as without a wait.
    nodes = {"a": lif((2,)), "late": delay(2, 5), "w": nir.Linear(np.ones((3, 2), np.float32)), "b": lif((3,))}
    graph = from_nir(chain(nodes, (2,), (3,)))
    placement = place(graph, CHIP)
    assert latency(placement) == {"a": 1, "b": 1} == {n: schedule(graph).latency[n] for n in "ab"}
    # Sent at t + 1, summed at t + 5 + 1 for the slowest: it arrives at t + 2 and waits 4 steps.
    assert delays(placement) == {"a": 0, "b": 4}
    _, b = placement.cores
    assert (b.synapses, b.weights, b.axons_in, b.state) == (6, 6, 2, 3 * (3 + 2 + 3 * (1 + 4)))


def test_delays_add_up_in_a_row():
    graph = from_nir(chain({"a": lif((1,)), "one": delay(40), "two": delay(30), "b": lif((1,))}, (1,), (1,)))
    with pytest.raises(RefusedInput, match="node 'b' sums what has waited 69 steps; a synapse waits 63 at most"):
        place(graph)
    assert delays(place(graph, Limits(delay=69))) == {"a": 0, "b": 69}


def test_the_longest_delay_that_a_synapse_holds():
    def placed(steps):
        nodes = {"a": lif((2,)), "late": delay(1, steps), "b": lif((2,))}
        return place(from_nir(chain(nodes, (2,), (2,))))

    assert delays(placed(63))["b"] == 62
    with pytest.raises(RefusedInput, match="node 'late' is a Delay of 64 steps; a synapse waits 63 at most"):
        placed(64)
    assert Limits().rows()["delay"]["grade"] == "published"


def test_a_delay_that_only_the_host_reads_waits_there():
    placement = place(from_nir(chain({"a": lif((1,)), "late": delay(100)}, (1,), (1,))))
    assert delays(placement) == {"a": 0}


def test_the_input_waits_at_synapses_too():
    graph = from_nir(chain({"late": delay(3), "a": lif((1,))}, (1,), (1,)))
    assert (delays(place(graph)), latency(place(graph))) == ({"a": 3}, {"a": 1})


def test_membranes_are_sent_in_every_step():
    li = nir.LI(*full(2, 2 * DT, 1, 0))
    nodes = {"a": lif((3,)), "w": nir.Linear(np.ones((2, 3), np.float32)), "li": li}
    graph = from_nir(chain(nodes, (3,), (2,)))
    placement = place(graph, trace=run(graph, np.ones((1, 3), np.float32)))
    # The readout needs no accumulators: the host reads what its neurons send.
    assert [(core.population, core.kind, core.neurons, core.synapses) for core in placement.cores] == [
        ("a", "population", 3, 3),
        ("li", "membranes", 2, 6),
    ]
    assert placement.measured.sent.tolist() == [int(placement.measured.sent[0]), 4 * 2]
    assert placement.measured.messages[1] == 0


def test_what_reads_membranes_has_its_own_synapses():
    li = nir.LI(*full(2, 2 * DT, 1, 0))
    nodes = {"li": li, "w": nir.Linear(np.ones((3, 2), np.float32)), "b": lif((3,))}
    placement = place(from_nir(chain(nodes, (2,), (3,))))
    assert [(core.population, core.synapses) for core in placement.cores] == [("li", 2), ("b", 6)]
    assert placement.full_rate.messages.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("node", "numbers"),
    [
        (nir.CubaLIF(*full(2, 2 * DT, 2 * DT, 1, 0, 1)), 2),
        (nir.CubaLI(*full(2, 2 * DT, 2 * DT, 1, 0)), 2),
        (nir.LI(*full(2, 2 * DT, 1, 0)), 1),
    ],
)
def test_a_current_that_lasts_is_a_number_more(node, numbers):
    (core,) = place(from_nir(chain({"node": node}, (2,), (2,)))).cores
    assert core.state == 2 * (3 + 2 + 3 * numbers)


def test_currents_that_wait_are_refused():
    nodes = {"a": lif((2,)), "w": nir.Linear(np.ones((3, 2), np.float32)), "late": delay(1, 1, 1), "b": lif((3,))}
    with pytest.raises(RefusedInput, match="node 'late' is a Delay of the currents of 'w'; expected one of spikes"):
        place(from_nir(chain(nodes, (2,), (3,))))


def test_a_cycle_with_more_synapses_than_it_is_late_is_refused():
    edges = [("input", "a"), ("a", "x"), ("x", "y"), ("y", "a"), ("a", "output")]
    nodes = {"a": lif((1, 2, 2))} | {name: conv([[[[0.5]]]], hw=(2, 2)) for name in "xy"}
    graph = graph_of(nodes, edges, (1, 2, 2), (1, 2, 2))
    with pytest.raises(RefusedInput, match="takes 1 time step more on the chip than it is late; expected a Delay"):
        place(graph)
    # A Delay of two steps is late enough.  What x sends is summed before y's synapses, by neurons of their own.
    edges = [("input", "a"), ("a", "late"), ("late", "x"), ("x", "y"), ("y", "a"), ("a", "output")]
    late = nir.Delay(np.full((1, 2, 2), 2 * DT, np.float32))
    assert latency(place(graph_of(nodes | {"late": late}, edges, (1, 2, 2), (1, 2, 2)))) == {"y": 1, "a": 2}


def test_an_echo_of_spikes_is_refused():
    edges = [("input", "a"), ("a", "one"), ("one", "other"), ("other", "one"), ("one", "b"), ("b", "output")]
    nodes = {"a": lif((1,)), "one": delay(1), "other": delay(0), "b": lif((1,))}
    with pytest.raises(RefusedInput, match="node 'one' is a Delay on a cycle of nothing but Delay nodes"):
        place(graph_of(nodes, edges, (1,), (1,)))


REFUSED = ("is a Delay of the currents of", "more on the chip than it is late", "expected one shape",
           "nothing to place", "one neuron takes")  # fmt: skip


def gathers_spikes(graph, node):
    """Whether accumulators gather currents and spikes: these take a step more than in the schedule."""
    kinds = {sends(arrival.sender) for arrival in arrivals(graph, node, sends)}
    return not node.neurons and len(kinds) > 1


def waited(graph, timing, name, gathered):
    """Steps that what arrives on each way waits by the schedule, element by element; None where accumulators gather."""
    found = []
    for source in graph.nodes[name].sources:
        node = graph.nodes[source]
        wait = np.array(timing.delay[source, name])
        if sends(node):
            found.append(wait)
            continue
        if source in gathered:
            return None
        before = waited(graph, timing, source, gathered)
        if before is None:
            return None
        if isinstance(node.operation, Delay):
            wait = wait + node.operation.steps.reshape(-1) - node.operation.lag
            found += [wait + earlier for earlier in before]
        else:  # whatever waited at its elements meets synapses now
            found += [wait + earlier.max() for earlier in before]
    return [steps.max() for steps in found] if graph.nodes[name].neurons else found


@pytest.mark.parametrize("seeds", [range(100), pytest.param(range(100, 300), marks=pytest.mark.slow)])
def test_random_compositions_one_by_one(seeds):
    placed = timed = cycles = waits = membranes = 0
    for seed in seeds:
        compose = Composer(seed)
        compose.branch("c", 5 + seed % 4)
        graph = from_nir(compose.graph(), dt=DT)
        trace = run(graph, compose.frames(2, 4))
        limits = Limits(neurons=5 + seed % 30, axons_out=60 + seed % 40)
        try:
            placement = place(graph, limits, trace, ("duplicate", "relay")[seed % 2])
        except RefusedInput as error:
            if not any(words in str(error) for words in REFUSED):
                raise
            continue
        shapes = zip(placement.cores, _shapes(placement), strict=True)
        cores = [(core, in_block(core, shape)) for core, shape in shapes]
        _on_exactly_one_core(placement, cores)
        _synapses_one_by_one(placement, cores, graph, trace)
        assert all(core.neurons <= limits.neurons for core in placement.cores)
        assert all(core.axons_out <= limits.axons_out for core in placement.cores)
        if placement.residual == "duplicate" and not any(gathers_spikes(graph, node) for node in graph.nodes.values()):
            timing = schedule(graph).latency
            found = {name: steps for name, steps in latency(placement).items() if graph.nodes[name].neurons}
            assert found == {name: timing[name] for name in found}
            for name in found:
                longest = waited(graph, schedule(graph), name, set(latency(placement)) - set(found))
                assert longest is None or max(longest) == delays(placement)[name]
                timed += longest is not None
        assert min(delays(placement).values()) >= 0
        placed += 1
        cycles += bool(graph.recurrent)
        waits += any(isinstance(node.operation, Delay) for node in graph.nodes.values())
        membranes += any(entry.population.kind == "membranes" for entry in placement.placed)
    assert placed >= len(seeds) // 2
    assert min(cycles, waits, membranes, timed) >= len(seeds) // 20
