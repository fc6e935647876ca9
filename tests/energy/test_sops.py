"""Synaptic operations: worked by hand on small maps, and against spikes carried along their synapses one by one."""

from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import energy
from energy.counting import fan_out, taps
from neuromorphic.execution.reference import run
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.ops import Lif
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.reading.build import from_nir
from tests.drawn import drawn
from tests.energy.scatter import arrivals, attention_terms
from tests.neuromorphic.graphs import chain, lif
from tests.properties.random_graphs import examples, integer_examples


def convolution(weight, hw, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    weight = np.asarray(weight, np.float32)
    return nir.Conv2d(hw, weight, stride, padding, dilation, 1, np.zeros(len(weight), np.float32))


def pooling(kernel, stride, padding):
    return nir.SumPool2d(np.array(kernel), np.array(stride), np.array(padding))


def after_neurons(node, shape, out_shape):
    """input -> LIF -> node -> output."""
    return from_nir(chain({"lif": lif(shape), "node": node}, shape, out_shape))


def trace_of(graph, **spikes):
    """A trace with these spikes, bool `[images, T, *shape]`."""
    images, steps = next(iter(spikes.values())).shape[:2]
    outputs = np.zeros((images, steps, *graph.nodes[graph.output].shape), np.float32)
    return Trace("reference", "float", {n: SpikeTrain.pack(s) for n, s in spikes.items()}, outputs)


def output_shape(node, shape, channels, kernel):
    sizes = zip(shape[1:], kernel, node.stride, node.padding, getattr(node, "dilation", (1, 1)), strict=True)
    return (channels, *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes))


def test_borders_by_hand():
    # A 3×3 kernel with padding 1 sees a corner from 4 places, an edge from 6, the middle from 9; twice for 2 outputs.
    graph = after_neurons(convolution(np.ones((2, 1, 3, 3)), (3, 3), padding=(1, 1)), (1, 3, 3), (2, 3, 3))
    assert fan_out(graph.nodes["node"]).tolist() == [[[8, 12, 8], [12, 18, 12], [8, 12, 8]]]


def test_strides_by_hand():
    # Stride 2 on width 5, kernel 2, no padding: windows at 0-1 and 2-3; the last column has no synapse at all.
    graph = after_neurons(convolution(np.ones((3, 1, 1, 2)), (1, 5), stride=(1, 2)), (1, 1, 5), (3, 1, 2))
    assert fan_out(graph.nodes["node"]).tolist() == [[[3, 3, 3, 3, 0]]]


def test_dilation_by_hand():
    # Kernel 2 with dilation 2 on width 4: the pairs 0, 2 and 1, 3.
    graph = after_neurons(convolution(np.ones((1, 1, 1, 2)), (1, 4), dilation=(1, 2)), (1, 1, 4), (1, 1, 2))
    assert fan_out(graph.nodes["node"]).tolist() == [[[1, 1, 1, 1]]]


def test_overlapping_pools_by_hand():
    # 3×3 windows of stride 2 and padding 1 on 4×4 cover rows 0-1 and 1-3: row 1 lies in both.
    graph = after_neurons(pooling((3, 3), (2, 2), (1, 1)), (1, 4, 4), (1, 2, 2))
    assert fan_out(graph.nodes["node"])[0].tolist() == [[1, 2, 1, 1], [2, 4, 2, 2], [1, 2, 1, 1], [1, 2, 1, 1]]


def test_zero_weights_are_synapses_inside_a_block_and_none_outside():
    weight = np.zeros((4, 4, 1, 1), np.float32)
    weight[:2, :2, 0, 0] = [[1, 0], [1, 1]]
    weight[2:, 2:, 0, 0] = [[1, 1], [1, 1]]
    graph = after_neurons(convolution(weight, (1, 1)), (4, 1, 1), (4, 1, 1))
    assert graph.nodes["node"].operation.groups == 2
    assert fan_out(graph.nodes["node"]).ravel().tolist() == [2, 2, 2, 2]


def test_silent_neurons_cost_nothing_and_all_spikes_cost_the_dense_count():
    graph = after_neurons(convolution(np.ones((2, 3, 3, 3)), (5, 4), padding=(1, 1)), (3, 5, 4), (2, 5, 4))
    silent = energy.count(graph, trace_of(graph, lif=np.zeros((2, 4, 3, 5, 4), np.bool_))).layers["node"]
    assert (silent.sops, silent.rate) == (0, 0.0)
    every = energy.count(graph, trace_of(graph, lif=np.ones((2, 4, 3, 5, 4), np.bool_))).layers["node"]
    # (3·5 - 2) taps down, (3·4 - 2) across, 3 · 2 channels, 2 images of 4 steps
    assert every.sops == every.dense == silent.dense == 13 * 10 * 6 * 8
    assert every.dense_padded == 5 * 4 * 9 * 6 * 8
    assert every.rate == 1.0


def test_steps_and_images_by_hand():
    # The corner of a 3×3 map has 4 synapses in one channel, its middle 9: spikes in steps 0 and 2, and in 3.
    graph = after_neurons(convolution(np.ones((1, 1, 3, 3)), (3, 3), padding=(1, 1)), (1, 3, 3), (1, 3, 3))
    spikes = np.zeros((2, 4, 1, 3, 3), np.bool_)
    spikes[0, 0, 0, 0, 0] = spikes[0, 2, 0, 1, 1] = spikes[0, 2, 0, 2, 2] = spikes[1, 3, 0, 1, 1] = True
    (source,) = energy.count(graph, trace_of(graph, lif=spikes)).layers["node"].spiking_sources
    assert source.per_step.tolist() == [[4, 0, 13, 0], [0, 0, 0, 9]]
    assert (source.per_step.sum(1).tolist(), source.sops) == ([17, 9], 26)


def test_groups_and_strides_by_hand():
    # Two groups of one channel in and two out, 2×2 kernels of stride 2 on 4×4: every neuron lies in one window.
    weight = np.zeros((4, 2, 2, 2), np.float32)
    weight[:2, 0] = weight[2:, 1] = 1.0
    graph = after_neurons(convolution(weight, (4, 4), stride=(2, 2)), (2, 4, 4), (4, 2, 2))
    spikes = np.zeros((1, 1, 2, 4, 4), np.bool_)
    spikes[0, 0, 0, 0, 0] = spikes[0, 0, 1, 3, 2] = True
    layer = energy.count(graph, trace_of(graph, lif=spikes)).layers["node"]
    assert (layer.sops, layer.dense, layer.dense_padded) == (2 + 2, 2 * 32, 2 * 32)


def test_pooling_of_spikes_by_hand():
    # 2×2 windows of stride 1 on 2×3: the columns lie in 1, 2 and 1 windows.
    graph = after_neurons(pooling((2, 2), (1, 1), (0, 0)), (1, 2, 3), (1, 1, 2))
    spikes = np.array([[[[[1, 1, 0], [0, 1, 1]]]]], np.bool_)
    layer = energy.count(graph, trace_of(graph, lif=spikes)).layers["node"]
    assert (layer.kind, layer.sops, layer.dense, layer.macs) == ("pooling", 1 + 2 + 2 + 1, 8, 0)


@settings(max_examples=10, deadline=None)
@given(integer_examples(max_populations=3))
def test_graphs_in_the_integers_of_the_chip_count_as_their_floats(example):
    trace = run(example.graph, example.frames)
    found = energy.count(example.graph, trace)
    floats = {
        name: replace(node, operation=Lif(*np.full((3, *node.shape), 0.5, np.float32))) if node.spiking else node
        for name, node in example.graph.nodes.items()
    }
    expected = energy.count(replace(example.graph, nodes=floats), replace(trace, graphs=()))
    assert list(found.layers) == list(expected.layers)
    assert found.per_image.tolist() == expected.per_image.tolist()
    assert (found.macs, found.macs_once, found.macs_summed) == (expected.macs, expected.macs_once, expected.macs_summed)
    # The chip's neurons have biases of their own, which arrive at them in every step.
    assert expected.neuron_updates_needed <= found.neuron_updates_needed <= found.neuron_updates
    assert found.additions.bias >= expected.additions.bias


@drawn(40)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.integers(1, 3),
    per_group=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolutions_equal_spikes_carried_one_by_one(size, kernel, stride, padding, dilation, groups, per_group, seed):
    if any(n + 2 * p < d * (k - 1) + 1 for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)):
        return  # the kernel doesn't fit the map; the graph refuses it
    rng = np.random.default_rng(seed)
    out_channels, in_channels = per_group
    weight = np.zeros((groups * out_channels, groups * in_channels, *kernel), np.float32)
    for g in range(groups):
        block = np.s_[g * out_channels : (g + 1) * out_channels, g * in_channels : (g + 1) * in_channels]
        weight[block] = rng.integers(1, 9, (out_channels, in_channels, *kernel))
    node = convolution(weight, size, stride, padding, dilation)
    shape = (groups * in_channels, *size)
    graph = after_neurons(node, shape, output_shape(node, shape, len(weight), kernel))
    spikes = rng.random((2, 3, *shape)) < rng.random()
    counts = energy.count(graph, trace_of(graph, lif=spikes))
    expected = [sum(arrivals(node, step) for step in image) for image in spikes]
    assert counts.per_image.tolist() == expected
    assert counts.layers["node"].dense == 6 * arrivals(node, np.ones(shape, np.bool_))


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    seed=st.integers(0, 2**32 - 1),
)
def test_pools_equal_spikes_carried_one_by_one(size, kernel, stride, padding, seed):
    if any(n + 2 * p < k for n, p, k in zip(size, padding, kernel, strict=True)):
        return
    rng = np.random.default_rng(seed)
    node, shape = pooling(kernel, stride, padding), (2, *size)
    graph = after_neurons(node, shape, output_shape(node, shape, 2, kernel))
    spikes = rng.random((2, 3, *shape)) < rng.random()
    layer = energy.count(graph, trace_of(graph, lif=spikes)).layers["node"]
    assert (layer.kind, layer.macs) == ("pooling", 0)
    assert layer.sops == sum(arrivals(node, step) for image in spikes for step in image)


def flattened_sources(graph, name):
    """Names of what `name` reads, flattening looked through, from NIR's own edges."""
    for before, after in graph.edges:
        if after == name:
            flat = isinstance(graph.nodes[before], nir.Flatten)
            yield from flattened_sources(graph, before) if flat else [before]


@drawn(12)
@given(examples())
def test_whole_graphs_equal_spikes_carried_one_by_one(example):
    graph = from_nir(example.graph)
    trace = run(graph, example.frames)
    counts = energy.count(graph, trace)
    spikes = {name: train.unpack() for name, train in trace.spikes.items()}
    for name, node in example.graph.nodes.items():
        read = list(flattened_sources(example.graph, name))
        if any(isinstance(example.graph.nodes[s], MaxPool2d) for s in read):
            continue  # maxima of spikes are spikes: `carried` counts them one by one
        sources = [s for s in read if s in spikes]
        if isinstance(node, SpikingSelfAttention):
            expected = sum(attention_terms(step, node.heads) for image in spikes[sources[0]] for step in image)
            found = counts.layers[name].attention
            assert (found.coincidences, found.one_sided) == (expected[[0, 2]].sum(), expected[[1, 3]].sum())
        if not sources or isinstance(node, nir.Output | nir.Flatten | MaxPool2d | SpikingSelfAttention):
            assert name not in counts.layers or counts.layers[name].sops == 0
            continue
        expected = {
            source: sum(
                arrivals(node, step.reshape(-1) if isinstance(node, nir.Affine) else step)
                for image in spikes[source]
                for step in image
            )
            for source in sources
        }
        assert {s.source: s.sops for s in counts.layers[name].spiking_sources} == expected
    assert counts.sops == int(counts.per_image.sum()) == sum(layer.sops for layer in counts.layers.values())


def test_chunks_change_nothing(monkeypatch):
    import energy.synaptic_operations as module

    rng = np.random.default_rng(3)
    train = SpikeTrain.pack(rng.random((7, 3, 5)) < 0.5)
    fan_outs = rng.integers(0, 9, 5)
    whole = module.synaptic_operations(train, fan_outs)
    assert whole.tolist() == (train.unpack().astype(int) @ fan_outs).tolist()
    for chunk in (1, 3, 7, 12):
        monkeypatch.setattr(module, "CHUNK", chunk)
        np.testing.assert_array_equal(module.synaptic_operations(train, fan_outs), whole)


def test_counts_beyond_32_bits_stay_exact():
    train = SpikeTrain.pack(np.ones((1, 3, 2), np.bool_))
    from energy.synaptic_operations import synaptic_operations

    assert synaptic_operations(train, np.array([2**53, 1])).tolist() == [3 * [2**53 + 1]]


@pytest.mark.parametrize("kind", ["input", "output", "late", "attention"])
def test_nodes_without_synapses_have_no_fan_out(kind):
    late = nir.Delay(np.full((3, 1, 1), 1e-4))
    nodes = {"late": late, "lif": lif((3, 1, 1)), "attention": SpikingSelfAttention(np.array([3, 1, 1]), 1, 1.0)}
    graph = from_nir(chain(nodes, (3, 1, 1), (1, 1, 1)))
    for count in (fan_out, taps):
        with pytest.raises(TypeError, match="no synapses"):
            count(graph.nodes[kind])
