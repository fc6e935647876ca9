"""Cuts small enough to work out by hand; on random graphs, every synapse, axon and message counted one by one."""

import json
from collections import Counter
from dataclasses import fields, replace
from math import prod

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject
from hypothesis import strategies as st

from neuromorphic.analysis.schedule import schedule
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.ops import Affine, Scale
from neuromorphic.placement import Limits, place
from neuromorphic.placement.populations import as_map
from neuromorphic.reading.build import from_nir
from tests.drawn import drawn
from tests.neuromorphic.graphs import attention, chain, conv, lif, max_pool, metadata, small_net
from tests.neuromorphic.synapses import synapses
from tests.properties.random_graphs import examples

RESIDUALS = ("duplicate", "relay")
CHIP = Limits.of("chip")


def cores_of(placement, population):
    return [core for core in placement.cores if core.population == population]


def in_block(core, shape):
    """Flat indices of a core's neurons."""
    indices = np.arange(prod(shape)).reshape(shape)
    return set(indices[slice(*core.channels), slice(*core.rows), slice(*core.columns)].reshape(-1).tolist())


def residual():
    """input -> a -> x, whose current b and c read; c also reads y of b's spikes; every map is [1, 2, 2]."""
    shape = (1, 2, 2)
    nodes = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(shape))}
    nodes |= {name: conv([[[[0.5]]]], hw=(2, 2)) for name in "ixy"} | {name: lif(shape) for name in "abc"}
    edges = [("input", "i"), ("i", "a"), ("a", "x"), ("x", "b"), ("b", "y"), ("x", "c"), ("y", "c"), ("c", "output")]
    return from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False))


def test_a_small_net_by_hand():
    placement = place(from_nir(small_net()), CHIP)
    lif1, lif2, output = placement.cores
    assert [core.population for core in placement.cores] == ["lif", "lif2", "output"]
    assert [core.kind for core in placement.cores] == ["population", "population", "accumulator"]
    # 3×3 taps with padding 1 on 6×6: 16 per axis of 18 meet the map; 2 channels in, 4 out.
    assert (lif1.neurons, lif1.synapses, lif1.weights) == (4 * 36, 16 * 16 * 2 * 4, 4 * 2 * 9)
    assert (lif1.axons_in, lif1.axons_out) == (36, 36)  # a position each, whatever the channel
    assert lif1.state == 144 * (3 + 3 + 2)  # v, the sum, the bias
    assert lif1.memory == lif1.weights + lif1.state + 4 * (36 + 36)  # axons
    assert (lif2.neurons, lif2.synapses, lif2.weights, lif2.axons_in, lif2.axons_out) == (36, 144, 4, 36, 9)
    # The readout's currents are summed where the host reads them: nothing is shared, so every input is an axon.
    assert (output.neurons, output.synapses, output.weights, output.axons_in, output.axons_out) == (5, 180, 180, 36, 0)
    assert placement.chips == 1
    assert placement.utilisation()["neurons"] == (144 + 36 + 5) / (3 * 8192)


def test_lists_of_synapses_as_the_compiler_stores_them():
    lif1, lif2, output = place(from_nir(small_net())).cores
    # A list per channel in and tap: 4 weights of 8 bits and 12 bits are a word; 1 weight and 12 bits are another.
    assert (lif1.weights, lif2.weights) == (2 * 9 * 8, 4 * 8)
    # A list per input: 5 weights of 8 bits, each with the 12 bits of its neuron, and 12 bits: 112, two words.
    assert output.weights == 36 * 16
    assert output.memory == output.weights + 5 * 8 + 36 * 8


def test_a_map_is_cut_into_powers_of_two_of_columns_and_halves():
    # 4 channels of 6 rows and 6 columns on cores of 72.  All columns count as 8: 96 neurons with 2 rows or channels
    # less would still be too many for three blocks, and 2 columns of all rows and channels are 48, 4 would be 96.
    placement = place(from_nir(small_net()), Limits(neurons=72))
    first, second, third = cores_of(placement, "lif")
    assert [core.columns for core in (first, second, third)] == [(0, 2), (2, 4), (4, 6)]
    assert {(core.channels, core.rows, core.neurons) for core in (first, second, third)} == {((0, 4), (0, 6), 48)}
    # Columns -1 to 2, which is 3 of the map, and 1 to 4: a position each.
    assert [core.axons_in for core in (first, second, third)] == [18, 24, 18]
    # Without room for all weights on one core it has to be by channels: 18 lists of 2 weights are 36 bytes.
    left, right = cores_of(place(from_nir(small_net()), Limits.of("chip", synaptic_memory=71)), "lif")
    assert (left.channels, right.channels, left.rows, left.columns) == ((0, 2), (2, 4), (0, 6), (0, 6))
    assert (left.weights, left.axons_in, left.axons_out) == (36, 36, 36)


def test_equally_many_blocks_take_the_least_memory():
    # Two channels of 4×4 and cores of 16: halves of channels store half of the weights and hear all 16 positions;
    # halves of rows or columns hear 12 of them, and store all weights.
    def half(channels_in, taps):
        kernel = conv(np.ones((2, channels_in, taps, taps)), padding=taps // 2, hw=(4, 4))
        nodes = {"a": lif((channels_in, 4, 4)), "conv": kernel, "b": lif((2, 4, 4))}
        graph = from_nir(chain(nodes, (channels_in, 4, 4), (2, 4, 4)))
        return cores_of(place(graph, Limits.of("chip", neurons=16)), "b")[0]

    assert half(1, 3).channels == (0, 2)
    assert half(9, 3).channels == (0, 1)


def test_a_row_of_neurons_is_divided_as_the_compiler_divides_it():
    # 784 lists of 128 synapses are 41 words each, 2.3 times 14,000: 4095 neurons become 1365, 455, 151 and 50.
    graph = from_nir(chain({"w": nir.Linear(np.ones((128, 784), np.float32)), "a": lif((128,))}, (784,), (128,)))
    assert [core.neurons for core in place(graph).cores] == [50, 50, 28]


def test_taps_that_no_position_of_a_block_uses_are_not_stored():
    # A value spread over 4 rows by a 4×4 kernel with padding 3: each position uses one of its taps.
    spread = conv(np.ones((1, 1, 4, 4)), padding=3, hw=(1, 1))
    graph = from_nir(chain({"one": lif((1, 1, 1)), "spread": spread, "lif": lif((1, 4, 4))}, (1, 1, 1), (1, 4, 4)))
    assert [core.weights for core in cores_of(place(graph, Limits.of("chip", neurons=4)), "lif")] == [4, 4, 4, 4]
    assert [core.weights for core in cores_of(place(graph, Limits.of("chip", neurons=1)), "lif")] == [1] * 16
    assert [core.weights for core in cores_of(place(graph, CHIP), "lif")] == [16]


def test_a_spike_is_a_message_per_core_that_hears_it():
    graph = from_nir(small_net())
    trace = run(graph, np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype(np.float32))
    placement = place(graph, Limits(neurons=72), trace)
    spikes = trace.spikes["lif"].unpack().sum((0, 1))
    # The thirds of lif send their spikes to the one core of lif2, that one to the output, and nobody hears the output.
    assert placement.measured.sent.tolist()[:3] == [spikes[:, :, i : i + 2].sum() for i in (0, 2, 4)]
    assert placement.measured.messages.tolist() == [*placement.measured.sent.tolist()[:4], 0]
    assert placement.measured.operations[3] == spikes.sum()
    # Columns of the input are heard by 1, 2, 2, 2, 2 and 1 of them: 10 times 6 positions of 2 channels, 12 steps.
    assert placement.measured.from_host == 12 * 10 * 6 * 2
    assert placement.measured.steps == 12


def test_currents_are_stored_once_per_reader_or_relayed():
    duplicate, relay = (place(residual(), CHIP, residual=kind) for kind in RESIDUALS)
    assert [core.population for core in duplicate.cores] == ["a", "b", "c"]
    assert [core.weights for core in duplicate.cores] == [1, 1, 2]  # x on b's core and on c's
    assert [core.population for core in relay.cores] == ["a", "b.relay", "b", "c"]
    assert [core.kind for core in relay.cores] == ["population", "relay", "population", "population"]
    assert [core.weights for core in relay.cores] == [1, 1, 1, 2]  # x once; b and c read it by a weight of one
    # What waits does so in the accumulators: x for y, one step; through the relay it leaves one step later, as b does.
    assert [entry.population.delay for entry in duplicate.placed] == [0, 0, 1]
    assert [core.state for core in duplicate.cores] == [4 * 8, 4 * 8, 4 * 11]
    assert [entry.population.latency for entry in relay.placed] == [1, 2, 3, 4]


def test_relays_build_on_each_other():
    shape = (1, 2, 2)
    nodes = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(shape))}
    nodes |= {name: conv([[[[0.5]]]], hw=(2, 2)) for name in "xyz"} | {name: lif(shape) for name in "abcd"}
    edges = [("input", "x"), ("x", "a"), ("a", "y"), ("x", "b"), ("y", "b"), ("b", "z"), ("x", "c"), ("y", "c")]
    edges += [("z", "c"), ("x", "d"), ("y", "d"), ("z", "d"), ("d", "output")]
    graph = from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False))
    placement = place(graph, residual="relay")
    senders = {e.population.name: [p.senders for p in e.population.projections] for e in placement.placed}
    assert senders["a.relay"] == [("input",)]
    assert senders["b.relay"] == [("a.relay",), ("a",)]
    assert senders["c.relay"] == [("b.relay",), ("b",)]
    assert senders["c"] == senders["d"] == [("c.relay",)]


def test_a_maximum_reads_sums_that_accumulators_send():
    graph = from_nir(
        chain(
            {"conv": conv(np.ones((2, 1, 1, 1)), hw=(4, 4)), "pool": max_pool((2, 4, 4)), "lif": lif((2, 2, 2))},
            (1, 4, 4),
            (2, 2, 2),
        )
    )
    sums, neurons = place(graph, CHIP).cores
    assert (sums.population, sums.kind, sums.neurons, sums.synapses, sums.weights) == ("pool", "accumulator", 32, 32, 2)
    # 3×3 windows, stride 2, padding 1 on 4×4: 5 taps per axis meet the map.  Nine numbers to compare, per neuron.
    assert (neurons.neurons, neurons.synapses, neurons.axons_in) == (8, 2 * 25, 16)
    assert neurons.state == 8 * (3 + 2 + 3 * (1 + 9))


def test_self_attention_by_hand():
    # D = 4 channels in 2 heads of d = 2, N = 4 tokens.
    nodes = {"conv": conv(np.ones((12, 1, 1, 1)), hw=(2, 2)), "qkv": lif((12, 2, 2))}
    nodes |= {"product": attention((12, 2, 2), heads=2), "out": lif((4, 2, 2))}
    qkv, sums, out = place(from_nir(chain(nodes, (1, 2, 2), (4, 2, 2)))).cores
    assert (qkv.neurons, qkv.axons_out) == (48, 2 * 4)  # to the sums and to out
    # D d sums, each of N products of a spike of K with one of V; a bit for each of them.
    assert (sums.population, sums.neurons, sums.synapses, sums.weights) == ("product", 4 * 2, 4 * 2 * 2 * 4, 0)
    assert sums.state == 8 * (3 + 3 + 2 + 2 * 4 // 8)
    # Per output d sums and d spikes of Q, which wait one step for the sums.
    assert (out.neurons, out.synapses) == (16, 16 * 2 + 16 * 2)
    assert out.state == 16 * (3 + 2 + 3 * (1 + 1 + 2) + 1)


def test_latencies_are_those_of_the_schedule():
    for graph in (from_nir(small_net()), residual()):
        latency = schedule(graph).latency
        for entry in place(graph).placed:
            assert entry.population.latency == latency[entry.population.name]


SLOW_DATA = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@drawn(50, suppress_health_check=SLOW_DATA)
@given(examples(), st.sampled_from(RESIDUALS), st.integers(7, 80), st.integers(200, 1000), st.integers(40, 200))
def test_random_graphs_one_by_one(example, residual, neurons, memory, axons):
    graph = from_nir(example.graph)
    trace = run(graph, example.frames)
    profile = ("compiler", "chip")[neurons % 2]
    memory *= (8, 1)[neurons % 2]
    sizes = {"neurons": neurons, "synaptic_memory": memory, "memory": 4 * memory}
    limits = Limits.of(profile, **sizes, axons_in=2 * axons, axons_out=axons)
    try:
        placement = place(graph, limits, trace, residual)
    except RefusedInput as error:
        if "one neuron takes" not in str(error):
            raise
        reject()
    cores = [(core, in_block(core, shape)) for core, shape in zip(placement.cores, _shapes(placement), strict=True)]
    _on_exactly_one_core(placement, cores)
    for core in placement.cores:
        assert core.neurons <= limits.neurons
        assert core.weights <= limits.synaptic_memory
        assert core.memory <= limits.memory
        assert core.axons_in <= limits.axons_in
        assert core.axons_out <= limits.axons_out
    _synapses_one_by_one(placement, cores, graph, trace)


def _shapes(placement):
    shapes = {entry.population.name: entry.population.shape for entry in placement.placed}
    return [shapes[core.population] for core in placement.cores]


def _on_exactly_one_core(placement, cores):
    for entry in placement.placed:
        held = Counter()
        for core, block in cores:
            if core.population == entry.population.name:
                held.update(block)
                assert len(block) == core.neurons
        assert held == Counter(range(entry.population.neurons))


def _synapses_one_by_one(placement, cores, graph, trace):
    """Synapses, axons, operations and messages of every core, from lists of synapses."""
    steps = trace.images * trace.time_steps
    shapes = {entry.population.name: entry.population.shape for entry in placement.placed}
    shapes["input"] = as_map(graph.nodes["input"].shape)
    events = {name: [steps] * prod(shape) for name, shape in shapes.items()}
    for name, train in trace.spikes.items():
        events[name] = train.unpack().sum((0, 1)).reshape(-1).tolist()
    projections = {entry.population.name: entry.population for entry in placement.placed}
    heard = []  # per core, (sender, index) that it hears
    wired = {name: [[*synapses(each, it)] for each in it.projections] for name, it in projections.items()}
    for core, block in cores:
        population = projections[core.population]
        found, operations, axons, ends = 0, 0, 0, set()
        for projection, every in zip(population.projections, wired[core.population], strict=True):
            pairs = [(before, after) for before, after in every if after in block]
            for sender in projection.senders:
                found += len(pairs)
                operations += sum(events[sender][before] for before, _ in pairs)
                ends |= {(sender, before) for before, _ in pairs}
                axons += len({_position(before, projection, population, shapes[sender]) for before, _ in pairs})
        assert core.synapses == found
        assert core.axons_in == axons
        assert placement.measured.operations[core.index] == operations
        heard.append(ends)
    for core, block in cores:
        messages, axons = 0, 0
        width = shapes[core.population][2]
        plane = width * shapes[core.population][1]
        for ends in heard:
            reached = {before for sender, before in ends if sender == core.population and before in block}
            messages += sum(events[core.population][before] for before in reached)
            axons += len({before % plane for before in reached})
        assert placement.measured.messages[core.index] == messages
        assert core.axons_out == axons
    assert placement.measured.from_host == steps * sum(sum(s == "input" for s, _ in ends) for ends in heard)


def _position(before, projection, population, sender):
    """What a core tells spikes by: the position on the map that the synapses read; all of it where there is none."""
    if projection.kind == "identity":
        return before % prod(population.shape[1:])
    if projection.kind == "weights":
        shape = projection.node.input_shape
        own = isinstance(projection.node.operation, Affine | Scale)
        return before if own else before % prod(shape[1:])
    return before % prod(sender[1:])


def test_the_bound_of_a_step():
    graph = from_nir(small_net())
    placement = place(graph, Limits(neuron_ns=4.0, synapse_ns=2.0, step_ns=100.0))
    time = placement.full_rate.step_time(placement.neurons, placement.limits)
    assert (time.barrier, time.neurons, time.synapses, time.busiest) == (100.0, 144 * 4.0, 2048 * 2.0, 0)
    assert time.steps_per_second == pytest.approx(1e9 / 4096)
    silent = np.zeros((1, 2, 6, 6), np.float32)
    quiet = place(graph, Limits(neuron_ns=0.1, synapse_ns=0.001, step_ns=100.0), run(graph, silent))
    assert quiet.measured.step_time(quiet.neurons, quiet.limits).bound == 100.0


def test_json_tells_everything():
    graph = from_nir(small_net())
    trace = run(graph, np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32))
    found = json.loads(json.dumps(place(graph, Limits(axons_in=5000), trace).to_dict()))
    assert (found["cores"], found["chips"], found["neurons"], found["residual"]) == (3, 1, 185, "duplicate")
    assert found["placement"][0]["population"] == "lif"
    assert found["limits"]["axons_in"] == {"value": 5000, "unit": "axons per core", "grade": "set", "source": "given"}
    assert found["limits"]["neurons"]["grade"] == "logged"
    assert found["profile"] == "compiler"
    assert found["measured"]["messages_per_image"] == 4 * found["measured"]["messages_per_step"]
    assert place(graph).to_dict()["measured"] is None


@pytest.mark.parametrize("profile", ["compiler", "chip"])
def test_every_limit_of_a_profile_names_its_source(profile):
    rows = Limits.of(profile).rows()
    assert set(rows) == {field.name for field in fields(Limits)} - {"profile"}
    for name, row in rows.items():
        assert row["grade"] in ("published", "logged", "derived", "assumption"), name
        assert row["value"] == getattr(Limits.of(profile), name)
        assert row["unit"]
        assert row["source"]


def test_profiles_differ_and_a_number_of_one_is_set_in_the_other():
    assert (Limits().neurons, CHIP.neurons) == (4095, 8192)
    assert Limits.of("chip", neurons=4095).rows()["neurons"]["grade"] == "set"
    assert Limits(list_bits=0).list_bits == 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"synaptic_memory": 35}, "node 'output': one neuron takes 36 bytes of weights; a core has 35"),
        ({"memory": 40}, "node 'output': one neuron takes 188 bytes of memory; a core has 40"),
        ({"axons_in": 3}, "node 'output': one neuron takes 36 axons in; a core has 3"),
    ],
)
def test_what_cannot_be_cut_finely_enough_is_refused(limits, message):
    with pytest.raises(RefusedInput, match=message):
        place(from_nir(small_net()), Limits.of("chip", **limits))


def test_what_waits_too_long_is_refused():
    shape = (1, 2, 2)
    nodes = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(shape))}
    nodes |= {name: conv([[[[0.5]]]], hw=(2, 2)) for name in "wxyz"} | {name: lif(shape) for name in "abc"}
    edges = [("input", "w"), ("w", "a"), ("a", "x"), ("x", "b"), ("b", "y"), ("y", "c"), ("input", "z"), ("z", "c")]
    edges.append(("c", "output"))
    graph = from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False))
    with pytest.raises(RefusedInput, match="node 'c' sums what has waited 2 steps; a synapse waits 1 at most"):
        place(graph, Limits(delay=1))


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "8192", float("nan")])
def test_limits_that_are_none_are_refused(value):
    with pytest.raises(RefusedInput, match="limit neurons is"):
        Limits(neurons=value)


def test_a_graph_without_neurons_is_refused():
    with pytest.raises(RefusedInput, match="nothing to place"):
        place(from_nir(chain({}, (2,), (2,))))


def test_a_population_behind_a_flattening_keeps_its_map():
    flat = nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1)
    nodes = {"conv": conv(np.ones((2, 1, 3, 3)), padding=1, hw=(4, 4)), "flat": flat, "lif": lif((32,))}
    graph = from_nir(chain(nodes | {"next": lif((32,))}, (1, 4, 4), (32,)))
    trace = run(graph, np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32))
    placement = place(graph, Limits(neurons=16), trace)
    assert [entry.population.shape for entry in placement.placed] == [(2, 4, 4), (1, 32, 1)]
    cores = [(core, in_block(core, shape)) for core, shape in zip(placement.cores, _shapes(placement), strict=True)]
    _on_exactly_one_core(placement, cores)
    spikes = trace.spikes["lif"].unpack().sum((0, 1))
    # Every spike of lif is heard by one core of next, whichever way lif was cut.
    assert placement.measured.messages[:2].sum() == spikes.sum() > 0
    assert placement.measured.operations[2:].tolist() == [spikes[:16].sum(), spikes[16:].sum()]


def test_a_trace_of_another_graph_is_refused():
    graph = from_nir(small_net())
    trace = replace(run(residual(), np.zeros((1, 1, 2, 2), np.float32)), graphs=())  # as an older file holds it
    with pytest.raises(RefusedInput, match="trace: no such population for node 'lif'; expected 144 neurons"):
        place(graph, trace=trace)
