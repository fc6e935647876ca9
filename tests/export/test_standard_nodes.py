"""Attention in standard nodes against its definition, written out as loops over tokens and channels."""

from itertools import product

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.convert import prepare
from export.populations import population, strict
from export.standard_nodes import CHIP_NEURONS, cost, expand
from neuromorphic.analysis.exactness import doubles
from neuromorphic.analysis.frame_sums import bounded
from neuromorphic.execution.reference import run
from neuromorphic.lava.simulation import simulate
from neuromorphic.ops.extensions import SpikingSelfAttention
from neuromorphic.reading.build import from_nir
from spikeclip.config import preset
from spikeclip.errors import RefusedInput
from tests.drawn import drawn
from tests.export.encoders import checkpoint
from tests.export.proofs import certify, snap
from tests.neuromorphic.graphs import conv, metadata

SPIKES = bounded(0, 1, 0, constant=False)


def attention_graph(heads, d, size, *, scale=0.125, tau=2.0, threshold=0.5, gain=1.0, time_steps=4, **more):
    """Spikes enter as frames, a population hands them on as Q, K and V, and `out` reads what attention makes of them.

    Where `inhibition`, `[D, 3 D]`, is given, `out` reads its product with Q, K and V too; `uneven` multiplies the
    thresholds, neuron by neuron.
    """
    inhibition, uneven = more.pop("inhibition", None), more.pop("uneven", 1)
    channels = heads * d
    nodes = {
        "input": nir.Input(np.array([3 * channels, *size])),
        "qkv": population((3 * channels, *size), 1.0, 1.0, np.float32(0.5)),
        "attention": SpikingSelfAttention(np.array([3 * channels, *size]), heads, scale),
        "out": population((channels, *size), tau, gain, strict(threshold)),
        "output": nir.Output(np.array([channels, *size])),
    }
    nodes["out"].v_threshold = nodes["out"].v_threshold * np.float32(uneven)
    edges = [("input", "qkv"), ("qkv", "attention"), ("attention", "out"), ("out", "output")]
    if inhibition is not None:
        nodes["inhibition"] = conv(inhibition[:, :, None, None], hw=size)
        edges += [("qkv", "inhibition"), ("inhibition", "out")]
    return nir.NIRGraph(nodes, edges, metadata=metadata(time_steps, **more))


def attention(x, heads, scale):
    """`[3 D, H, W]` to `[D, H, W]`, by the definition."""
    channels, height, width = len(x) // 3, *x.shape[1:]
    d = channels // heads
    q, k, v = x.reshape(3, heads, d, height * width)
    y = np.zeros((heads, d, height * width))
    for h, i, j, n, m in product(range(heads), range(d), range(d), range(height * width), range(height * width)):
        y[h, j, n] += q[h, i, n] * k[h, i, m] * v[h, j, m]
    return scale * y.reshape(channels, height, width)


def out_spikes(frames, heads, scale, lif, inhibition=None):
    """The spikes of `out`: bool `[N, T, D, H, W]`."""
    spikes = np.zeros((*frames.shape[:2], frames.shape[2] // 3, *frames.shape[3:]), bool)
    for image, answer in zip(frames, spikes, strict=True):
        v = np.zeros(answer.shape[1:])
        for x, fired in zip(image, answer, strict=True):
            current = attention(x, heads, scale)
            if inhibition is not None:
                current += np.einsum("oc,chw->ohw", inhibition.astype(float), x)
            v += lif.decay * (lif.gain * current - v)
            fired[:] = v > lif.threshold
            v[fired] = 0
    return spikes


def random_spikes(seed, shape, density):
    return (np.random.default_rng(seed).random(shape) < density).astype(np.float32)


def counted_synapses(graph):
    """Non-zero weights from neuron to neuron, through the linear nodes between; without those of the graph's input."""

    def weights(name):
        """By population: `[its neurons, *shape of node name]`, what each neuron's spike alone brings to the node."""
        arrived = {}
        for source in graph.nodes[name].sources:
            node = graph.nodes[source]
            if node.spiking:
                arrived[source] = np.eye(np.prod(node.shape)).reshape(-1, *node.shape)
            elif source != graph.input:
                arrived |= {origin: node.operation.apply(w, node.shapes) for origin, w in weights(source).items()}
        return arrived

    return sum(np.count_nonzero(w) for node in graph.populations for w in weights(node.name).values())


@st.composite
def cases(draw):
    settings_ = {
        "scale": 2.0 ** draw(st.integers(-3, 1)),
        "tau": draw(st.sampled_from([1.0, 2.0, 4.0, 3.0])),
        "threshold": draw(st.sampled_from([0.25, 0.5, 1.0, 1.3, 20.0])),
        "gain": draw(st.sampled_from([1.0, 2.0, 0.7])),
        "time_steps": draw(st.integers(1, 4)),
    }
    heads, d = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    density = draw(st.sampled_from([0.5, 0.8, 0.3, 1.0, 0.0]))
    seed = draw(st.integers(0, 2**32 - 1))
    frames = random_spikes(seed, (2, settings_["time_steps"], 3 * heads * d, *size), density)
    # Thresholds of their own for some neurons, and currents from elsewhere that hold membranes below zero.
    settings_["uneven"] = 1 + 3 * random_spikes(seed, (heads * d, *size), draw(st.sampled_from([0.0, 0.5])))
    if draw(st.booleans()):
        settings_["inhibition"] = -0.5 * random_spikes(seed, (heads * d, 3 * heads * d), 0.5)
    return heads, d, size, settings_, frames


@drawn(40)
@given(cases())
def test_spikes_are_those_of_the_definition(case):
    heads, d, size, neurons, frames = case
    before = attention_graph(heads, d, size, **neurons)
    price = cost(before)
    graph = from_nir(expand(before))
    trace = run(graph, frames)
    inhibition = neurons.get("inhibition")
    expected = out_spikes(frames, heads, neurons["scale"], graph.nodes["out"].operation, inhibition)
    assert np.array_equal(trace.spikes["qkv"].unpack(), frames.astype(bool))
    assert np.array_equal(trace.spikes["out"].unpack(), expected)
    assert price.neurons == sum(np.prod(node.shape) for node in graph.populations)


@pytest.mark.parametrize(("size", "neurons"), [((2, 2), {}), ((3, 2), {"threshold": 4.0}), ((1, 1), {})])
def test_cost_is_what_the_graph_takes(size, neurons):
    before = attention_graph(2, 2, size, **neurons)
    after = expand(before)
    graph, (found,) = from_nir(after), cost(before).attention
    added = after.nodes.keys() - before.nodes.keys()
    assert found.neurons == sum(np.prod(graph.nodes[name].shape) for name in added if graph.nodes[name].spiking)
    assert found.nodes == len(added)
    assert found.kernel_bytes == sum(node.weight.nbytes for n, node in after.nodes.items() if hasattr(node, "weight"))
    assert found.synapses == counted_synapses(graph)


def test_every_count_of_every_pair():
    """One channel and N tokens: q = 1 and M = 0, ..., N one after the other, so that every bit pattern stands once."""
    tokens = 9
    frames = np.zeros((tokens + 1, 1, 3, 3, 3), np.float32)
    frames[:, :, 0] = 1
    for m in range(tokens + 1):
        frames[m, 0, 1:].reshape(2, tokens)[:, :m] = 1
    graph = from_nir(expand(attention_graph(1, 1, (3, 3), threshold=20.0, time_steps=1)))
    trace = run(graph, frames)
    bits = sum(2**b * trace.spikes[f"attention.bit{b}"].unpack().astype(int) for b in range(4))
    assert np.array_equal(bits.reshape(-1), np.arange(tokens + 1))


def bits(heads=1, d=2, size=(8, 8), **neurons):
    (found,) = cost(attention_graph(heads, d, size, **neurons)).attention
    return found.bits


def test_as_many_bits_as_the_neurons_behind_can_tell_apart():
    assert bits() == 4, "threshold 1/2, scale 1/8, tau 2: the published attention fires at 8 whatever came before"
    assert bits(threshold=0.4375) == 3, "at 7"
    assert bits(threshold=0.4376) == 4
    assert bits(threshold=100.0) == 7, "64 tokens"
    assert bits(tau=3.0) == 7, "rounds"
    assert bits(inhibition=-np.ones((2, 6), np.float32)) == 7, "a membrane may be below zero"
    assert bits(size=(1, 1)) == 1


@pytest.mark.parametrize(("heads", "size", "threshold"), [(1, (2, 3), 0.25), (2, (4, 4), 0.5)])
def test_in_lava(heads, size, threshold):
    after = expand(attention_graph(heads, 2, size, threshold=threshold))
    assert certify(after, SPIKES, 4).exact
    after.metadata = metadata(4, input={"low": 0, "high": 1, "axes": "TBCHW", "bits": 0})
    frames = random_spikes(heads, (3, 4, 6 * heads, *size), 0.5)
    graph = from_nir(after)
    assert not doubles(graph)
    found = simulate(graph, frames).spikes["out"].unpack()
    assert np.array_equal(found, out_spikes(frames, heads, 0.125, graph.nodes["out"].operation))
    assert 0 < found.mean() < 1


@pytest.mark.parametrize(("sizes", "bits"), [({}, 4), ({"depth": 2, "heads": 2}, 4), ({"attention_scale": 0.5}, 2)])
def test_an_encoder_spikes_as_with_the_extension_node(make_encoder, sizes, bits):
    whole = checkpoint(make_encoder(1, **{"architecture": "paper", "heads": 4, **sizes}), 16)
    extended, standard = prepare(whole), prepare(whole, standard_nodes=True)
    assert standard.certificate.exact
    assert {f"block.0.attn.product.bit{b}" for b in range(bits)} < standard.populations
    assert f"block.0.attn.product.bit{bits}" not in standard.populations
    frames = extended.encode(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8))
    expected, found = (run(from_nir(prepared.graph), frames) for prepared in (extended, standard))
    for name, train in expected.spikes.items():
        assert np.array_equal(found.spikes[name].bits, train.bits), name
    assert 0 < expected.spikes["block.0.attn.out"].unpack().mean() < 1
    assert np.array_equal(found.outputs, expected.outputs)


def test_proven_exact_and_never_snapped():
    graph = expand(attention_graph(2, 4, (8, 8)))
    weights = {name: node.weight.copy() for name, node in graph.nodes.items() if isinstance(node, nir.Conv2d)}
    snap(graph, SPIKES, 4)
    for name, weight in weights.items():
        assert np.array_equal(graph.nodes[name].weight, weight), name
    assert certify(graph, SPIKES, 4).exact


def test_a_file_keeps_it(tmp_path):
    graph = expand(attention_graph(2, 2, (2, 2)))
    nir.write(tmp_path / "graph.nir", graph)
    frames = random_spikes(3, (2, 4, 12, 2, 2), 0.5)
    spikes = [run(from_nir(g), frames).spikes["out"].bits for g in (graph, nir.read(tmp_path / "graph.nir"))]
    assert np.array_equal(*spikes)


def test_the_graph_given_stays_as_it_is():
    before = attention_graph(1, 2, (2, 2))
    names, edges = set(before.nodes), list(before.edges)
    after = expand(before)
    assert (set(before.nodes), before.edges) == (names, edges)
    assert after.nodes["out"] is before.nodes["out"]
    assert after.metadata == before.metadata


def presets_attention(name):
    config = preset(name)
    d = config.width // config.heads
    (found,) = cost(attention_graph(config.heads, d, (config.grid, config.grid))).attention
    return found, config.depth


def test_what_fits_one_chip():
    tiny, depth = presets_attention("paper-tiny")
    assert tiny.neurons == 64 * 16 * (5 * 64 + 4)
    assert depth * tiny.neurons < CHIP_NEURONS
    small, _ = presets_attention("paper-small")
    assert small.neurons > CHIP_NEURONS


def test_more_than_a_limit_is_refused():
    before = attention_graph(1, 2, (2, 2))
    price = cost(before)
    assert expand(before, price.neurons, price.kernel_bytes)
    with pytest.raises(RefusedInput, match=rf"'attention' .* takes {price.neurons} neurons; the limit is 9:"):
        expand(before, neuron_limit=9)
    with pytest.raises(RefusedInput, match=rf"takes {price.kernel_bytes:,} bytes of kernels"):
        expand(before, kernel_limit=price.kernel_bytes - 1)


def with_edges(graph, *, drop=(), add=(), **nodes):
    edges = [edge for edge in graph.edges if edge not in drop] + list(add)
    return nir.NIRGraph(graph.nodes | nodes, edges, metadata=graph.metadata, type_check=False)


def refused():
    good = attention_graph(1, 2, (2, 2))
    size = np.array([6, 2, 2])
    yield with_edges(good, add=[("input", "attention")]), r"'attention' reads qkv \+ input; expected one population"
    yield with_edges(good, drop=[("qkv", "attention")]), "reads nothing"
    yield with_edges(good, add=[("attention", "output")]), "is read by out, output; expected populations"
    yield with_edges(good, drop=[("attention", "out")]), "is read by nothing"
    yield with_edges(good, attention=SpikingSelfAttention(size, 1, 0.3)), "scale 0.3; expected a power of two"
    yield with_edges(good, attention=SpikingSelfAttention(size, 1, -0.5)), "scale -0.5; expected a power of two"
    yield with_edges(good, attention=SpikingSelfAttention(size, 4, 0.5)), r"\[6, 2, 2\] with 4 heads"
    yield with_edges(good, attention=SpikingSelfAttention(2 * size, 1, 0.5)), r"expected \[12, 4, 4\]"
    yield with_edges(good, **{"attention.bit0": good.nodes["out"]}), "'attention.bit0' has the name that a part"


@pytest.mark.parametrize(("graph", "message"), list(refused()))
def test_what_has_no_such_form_is_refused(graph, message):
    with pytest.raises(RefusedInput, match=message):
        expand(graph)
