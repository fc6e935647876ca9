"""Attacks on what is claimed of maxima, attention sums and a readout of currents."""

import itertools
import math
from fractions import Fraction

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.frames import frame_range, input_bits
from export.populations import population, strict
from export.snap import FINEST_BITS
from neuromorphic.analysis import rounding
from neuromorphic.analysis.frame_sums import bounded
from neuromorphic.analysis.rounding import DOUBLE, SINGLE
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from spikeclip.preprocess import Preprocessing
from tests.export.proofs import certify, propagate, snap

PIXELS = Preprocessing(image_size=8, mean=(128.0, 64.0), std=(64.0, 128.0))
RANGE = frame_range(PIXELS, input_bits(PIXELS))
CLASSES = 5


def lif(channels, size):
    return population((channels, size, size), 2.0, 1.0, strict(1.0))


def conv(rng, outputs, inputs, size, scale, kernel=3):
    weight = (rng.normal(size=(outputs, inputs, kernel, kernel)) * scale).astype(np.float32)
    bias = (rng.normal(size=outputs) * scale).astype(np.float32)
    return nir.Conv2d((size, size), weight, 1, kernel // 2, 1, 1, bias)


def net(seed, scale=1.0, attention_scale=0.125, heads=2, readout_scale=0.1):
    """`a = LIF(conv(x))`; `b = LIF(max(conv(a)))`; `o = LIF(attention(b))`; `y = R Σ_tokens(conv(b) + conv(o))`."""
    rng = np.random.default_rng(seed)
    nodes = {
        "input": nir.Input(np.array([2, 8, 8])),
        "first": conv(rng, 3, 2, 8, scale),
        "a": lif(3, 8),
        "second": conv(rng, 12, 3, 8, scale),
        "max": MaxPool2d(*(np.array(n) for n in ((12, 8, 8), (3, 3), (2, 2), (1, 1)))),
        "b": lif(12, 4),
        "attention": SpikingSelfAttention(np.array([12, 4, 4]), heads, attention_scale),
        "o": lif(4, 4),
        "left": conv(rng, 4, 12, 4, scale, 1),
        "right": conv(rng, 4, 4, 4, scale, 1),
        "sum": nir.SumPool2d(np.array([4, 4]), np.array([4, 4]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 1, 1])}, start_dim=0, end_dim=-1),
        "readout": nir.Affine(
            (rng.normal(size=(CLASSES, 4)) * readout_scale).astype(np.float32), np.zeros(CLASSES, np.float32)
        ),
        "output": nir.Output(np.array([CLASSES])),
    }
    chain = ["input", "first", "a", "second", "max", "b", "attention", "o", "right", "sum", "flat", "readout", "output"]
    return nir.NIRGraph(nodes, [*itertools.pairwise(chain), ("b", "left"), ("left", "sum")])


def snapped(seed, time_steps=4, **settings):
    graph = net(seed, **settings)
    return graph, snap(graph, RANGE, time_steps)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    scale=st.sampled_from([0.05, 1.0, 20.0]),
    readout_scale=st.sampled_from([1e-5, 0.1, 100.0]),
    time_steps=st.integers(1, 6),
)
def test_snapped_graphs_are_proven(seed, scale, readout_scale, time_steps):
    graph, grids = snapped(seed, time_steps, scale=scale, readout_scale=readout_scale)
    certificate = certify(graph, RANGE, time_steps)
    assert certificate.exact, certificate.unproven
    assert {name for name, node in certificate.nodes.items() if node.limit == DOUBLE} == {"sum", "readout"}
    for name, grid in grids.items():
        assert grid.weight_bits <= FINEST_BITS, name


def test_the_layer_before_a_maximum_takes_the_grid_of_the_population_behind_it():
    graph, grids = snapped(0)
    # By its own sums alone it would keep the bits that the membranes behind it need: one per time step.
    own = math.floor(math.log2(2**SINGLE / certify(graph, RANGE, 4).nodes["second"].bound))
    assert grids["second"].bias_bits == own - 4


@given(seed=st.integers(0, 1000), node=st.sampled_from(["second", "left", "right"]))
@settings(max_examples=30, deadline=None)
def test_a_weight_off_the_grid_is_found(seed, node):
    graph, grids = snapped(seed)
    weight = graph.nodes[node].weight
    weight.flat[seed % weight.size] = np.float32(2.0 ** -(grids[node].weight_bits + 9))
    unproven = certify(graph, RANGE, 4).unproven
    # The readout's float64 would hold it; the residual stream, which torch adds up in float32, doesn't.
    assert ("b" if node == "second" else "sum") in unproven


def test_a_readout_weight_off_the_grid_is_found():
    graph, _ = snapped(0)
    graph.nodes["readout"].weight[0, 0] = np.float32(2.0**-60)
    certificate = certify(graph, RANGE, 4)
    assert certificate.unproven == ("readout",)
    assert "float64 has 53" in certificate.nodes["readout"].reason


def attending(node):
    """Attention `y` to neurons that read the input."""
    shape = tuple(node.input_shape)
    neurons = nir.Threshold(np.full(shape, 0.5, np.float32))
    nodes = {"input": nir.Input(np.array(shape)), "spikes": neurons, "y": node}
    return nir.NIRGraph(nodes, [("input", "spikes"), ("spikes", "y")])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.sampled_from([0.125, 0.5, 4.0]), st.integers(0, 999))
def test_attention_sums_are_the_same_in_every_type_and_order(heads, channels, size, scale, seed):
    tokens = size * size
    node = SpikingSelfAttention(np.array([3 * heads * channels, size, size]), heads, scale)
    bound = propagate(attending(node), bounded(0, 1, 0, constant=True))[1]["y"]
    rng = np.random.default_rng(seed)
    for density in (0.1, 0.5, 1.0):
        q, k, v = (rng.random((3, heads, channels, tokens)) < density).astype(np.float32)
        single = np.float32(scale) * ((v @ k.swapaxes(1, 2)) @ q)
        q, k, v = (x.astype(np.float64) for x in (q, k, v))
        np.testing.assert_array_equal(single, scale * (v @ (k.swapaxes(1, 2) @ q)))
        np.testing.assert_array_equal(single, scale * ((v * scale) @ k.swapaxes(1, 2) @ q) / scale)
        assert single.max() <= bound.bound
        np.testing.assert_array_equal(np.ldexp(single, bound.bits), np.round(np.ldexp(single, bound.bits)))
    assert single.max() == bound.bound  # all of them spike: the bound is reached


@pytest.mark.parametrize(
    ("heads", "scale", "exact", "reason"),
    [
        (2, 0.125, True, ""),
        (1, 0.125, False, "need 13 bits; float32 has 12"),
        (2, 0.3, False, "scale is 0.3; expected a power of two"),
    ],
)
def test_what_is_claimed_of_attention(heads, scale, exact, reason, monkeypatch):
    """Heads of 2^6 channels and 2^6 tokens: 2^12 terms for 12 bits. One head of twice the channels is too much."""
    monkeypatch.setattr(rounding, "SINGLE", 12)
    node = SpikingSelfAttention(np.array([3 * 2**7, 2**3, 2**3]), heads, scale)
    found = certify(attending(node), bounded(0, 1, 0, constant=True), 4).nodes["y"]
    assert (found.exact, found.limit) == (exact, 12)
    assert reason in found.reason


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_maxima_lie_in_the_bounds_of_what_they_read(seed):
    graph, _ = snapped(seed)
    _, returns = propagate(graph, RANGE)
    weight, bias = (getattr(graph.nodes["second"], part).astype(np.float64) for part in ("weight", "bias"))
    rng = np.random.default_rng(seed)
    for sign in (1, -1):  # the spikes that drive one channel furthest, and random ones
        best = (sign * weight[seed % 12] > 0).astype(np.float64)
        for spikes in (best, rng.integers(0, 2, best.shape)):
            y = (weight * spikes).sum((1, 2, 3)) + bias
            assert (y <= returns["max"].reach.high.max((1, 2))).all()
            assert (y >= returns["max"].reach.low.min((1, 2))).all()
    assert returns["max"].bits == returns["second"].bits


@pytest.mark.parametrize(("source", "limit"), [("o", SINGLE), ("attention", DOUBLE)])
@pytest.mark.parametrize("time_steps", [1, 4])
def test_readouts_without_a_residual_stream(source, limit, time_steps):
    """One of spikes counts, and stays in float32; one of attention sums is one of currents."""
    graph = net(0, readout_scale=0.01)
    nodes = {name: node for name, node in graph.nodes.items() if name not in ("left", "right")}
    edges = [edge for edge in graph.edges if not {"left", "right"} & set(edge)]
    graph = nir.NIRGraph(nodes, [*edges, (source, "sum")])
    grids = snap(graph, RANGE, time_steps)
    certificate = certify(graph, RANGE, time_steps)
    assert certificate.exact
    assert {certificate.nodes[name].limit for name in ("sum", "readout")} == {limit}
    assert {node.limit for name, node in certificate.nodes.items() if name not in ("sum", "readout")} == {SINGLE}
    assert certificate.nodes["readout"].grid_bits == grids["readout"].bias_bits


@given(seed=st.integers(0, 2**20), readout_scale=st.sampled_from([0.01, 1.0, 50.0]))
@settings(max_examples=30, deadline=None)
def test_float64_reads_currents_out_without_rounding(seed, readout_scale):
    """Tokens anywhere on the stream's grid, extremes included, summed in random orders, against fractions."""
    graph, _ = snapped(seed, readout_scale=readout_scale)
    reads, returns = propagate(graph, RANGE)
    stream, affine = reads["sum"], graph.nodes["readout"].weight.astype(np.float64)
    p, n = stream.reach.high.max((1, 2)), -stream.reach.low.min((1, 2))
    rng = np.random.default_rng(seed)
    high, low = (np.floor(np.ldexp(v, stream.bits)).astype(np.int64) for v in (p, n))
    row = seed % CLASSES
    random = rng.integers(-low[:, None], high[:, None], (4, 16), endpoint=True)
    extreme = np.repeat(np.where(affine[row] > 0, high, -low)[:, None], 16, 1)
    for integers in (random, extreme, -extreme.clip(-low[:, None], high[:, None])):
        values = integers / 2.0**stream.bits
        assert (values == values.astype(np.float32)).all()
        exact = sum(
            Fraction(affine[row, c]) * sum(Fraction(int(i)) for i in integers[c]) / Fraction(2) ** stream.bits
            for c in range(4)
        )
        for _ in range(3):
            sums = np.array([np.cumsum(rng.permutation(v))[-1] for v in values])
            total = np.cumsum(rng.permutation(affine[row] * sums))
            assert Fraction(total[-1]) == exact
            assert np.abs(total).max() <= returns["readout"].bound


def test_float32_would_round_the_readout():
    """Why the limit is 53: the same sums in float32 depend on their order."""
    graph, _ = snapped(0)
    stream = propagate(graph, RANGE)[0]["sum"]
    rng = np.random.default_rng(0)
    top = int(np.ldexp(stream.reach.high.max(), stream.bits))
    values = (rng.integers(top // 2, top, 16) / 2.0**stream.bits).astype(np.float32)
    products = values * graph.nodes["readout"].weight[0, 0]
    assert len({float(np.cumsum(rng.permutation(products), dtype=np.float32)[-1]) for _ in range(50)}) > 1
