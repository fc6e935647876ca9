"""Attention and max-pooling: by hand, and against loops over every term and every tap in plain Python."""

import csv
import io
from itertools import product

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import energy
import energy.attention
from energy.rows import write_layers
from energy.table import summary, table
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.reading.build import from_nir
from tests.energy.scatter import attention_terms
from tests.energy.test_sops import trace_of
from tests.neuromorphic.graphs import chain, conv, lif

TWIN = {"parameters": 1, "layers": [{"name": "head", "kind": "linear", "macs": 100}]}


def attention_graph(shape, heads, **more):
    """input -> LIF -> attention -> LIF -> output, on `[3 D, H, W]`."""
    out = (shape[0] // 3, *shape[1:])
    nodes = {"qkv": lif(shape), "product": SpikingSelfAttention(np.array(shape), heads, 0.125), "out": lif(out)}
    return from_nir(chain(nodes, shape, out, **more))


def count_attention(spikes, heads):
    """The counts of a run in which Q, K and V spike so: bool `[images, T, 3 D, H, W]`."""
    graph = attention_graph(spikes.shape[2:], heads, twin=TWIN)
    silent = np.zeros((*spikes.shape[:2], *graph.nodes["out"].shape), np.bool_)
    return energy.count(graph, trace_of(graph, qkv=spikes, out=silent))


def test_two_tokens_by_hand():
    # The example of docs/energy.md: one head of two channels, tokens side by side.
    q, k, v = [[1, 1], [0, 1]], [[1, 0], [0, 0]], [[1, 1], [0, 1]]
    spikes = np.array([q, k, v], np.bool_).reshape(1, 1, 6, 1, 2)
    counts = count_attention(spikes, heads=1)
    node = counts.layers["product"].attention
    # K's one spike, channel 0 of token 0, meets V's channel 0 there: Kᵀ V = [[1, 0], [0, 0]].
    sums, outputs = node.products["KV"], node.products["Q(KV)"]
    assert (sums.coincidences_per_step.tolist(), sums.one_sided_per_step.tolist(), sums.dense) == ([[1]], [[2]], 8)
    # Two spikes of Q select the first row, which has one sum that isn't 0; the third selects the empty one.
    found = (outputs.coincidences_per_step.tolist(), outputs.one_sided_per_step.tolist(), outputs.dense)
    assert found == ([[2]], [[6]], 8)
    assert (node.coincidences, node.one_sided, node.dense, node.dense_scores_first) == (3, 8, 16, 16)
    assert (counts.attention.coincidences, counts.sops, counts.macs) == (3, 0, 0)


@settings(max_examples=60, deadline=None)
@given(
    heads=st.integers(1, 3),
    width=st.integers(1, 4),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    steps=st.integers(1, 3),
    images=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_equals_every_term_looked_at(heads, width, size, steps, images, seed):
    rng = np.random.default_rng(seed)
    shape = (3, heads * width, *size)
    rates = rng.random((3, 1, 1, 1))
    spikes = (rng.random((images, steps, *shape)) < rates).reshape(images, steps, -1, *size)
    expected = np.array([[attention_terms(step, heads) for step in image] for image in spikes])
    counts = count_attention(spikes, heads)
    node = counts.layers["product"].attention
    products = node.products.values()
    parts = [part for p in products for part in (p.coincidences_per_step, p.one_sided_per_step)]
    np.testing.assert_array_equal(np.stack(parts, -1), expected[..., :4])
    assert all(part.dtype == np.int64 for part in parts)
    assert node.products["KV"].dense == node.products["Q(KV)"].dense == expected[..., 4].sum()
    tokens = size[0] * size[1]
    assert node.dense_scores_first == 2 * heads * width * tokens**2 * steps * images
    np.testing.assert_array_equal(node.per_step, expected[..., 0] + expected[..., 2])
    assert node.coincidences <= node.one_sided <= node.dense


def test_all_spikes_cost_the_dense_count_and_none_cost_nothing():
    every, none = (count_attention(np.full((2, 3, 12, 2, 2), fired), heads=2) for fired in (True, False))
    node = every.layers["product"].attention
    assert node.coincidences == node.one_sided == node.dense == 2 * 6 * 2 * (2 * 2 * 4)
    assert every.layers["product"].rate == 1.0
    empty = none.layers["product"].attention
    assert (empty.coincidences, empty.one_sided, empty.dense) == (0, 0, node.dense)


def test_chunks_change_nothing(monkeypatch):
    spikes = np.random.default_rng(2).random((7, 2, 12, 2, 3)) < 0.4
    whole = count_attention(spikes, heads=2).model_dump()
    assert whole["attention"]["coincidences"] > 0
    for chunk in (1, 400, 1000):
        monkeypatch.setattr(energy.attention, "CHUNK", chunk)
        assert count_attention(spikes, heads=2).model_dump() == whole


def test_attention_stands_on_its_own_in_json_csv_and_table():
    spikes = np.random.default_rng(4).random((2, 3, 12, 2, 2)) < 0.6
    counts = count_attention(spikes, heads=2)
    node = counts.layers["product"].attention
    snn = counts.model_dump()
    totals = {
        "coincidences": node.coincidences,
        "one_sided": node.one_sided,
        "dense": node.dense,
        "dense_scores_first": node.dense_scores_first,
    }
    assert snn["attention"] == totals
    assert 0 < node.coincidences < node.one_sided < node.dense
    layer = snn["layers"]["product"]
    assert (layer["kind"], layer["sops"], layer["dense"], layer["spiking_sources"]) == ("attention", 0, 0, ())
    assert layer["attention"] == {
        "source": "qkv",
        "spikes": int(spikes.sum()),
        **totals,
        "products": {
            name: {
                "coincidences": p.coincidences_per_step.sum(),
                "one_sided": p.one_sided_per_step.sum(),
                "dense": p.dense,
            }
            for name, p in node.products.items()
        },
    }
    assert snn["attention_per_image"]["maximum"] == max(node.per_step.sum(1)) > snn["attention_per_image"]["minimum"]
    text = io.StringIO()
    write_layers(counts, text)
    rows = {row["layer"]: row for row in csv.DictReader(io.StringIO(text.getvalue()))}
    assert {key: int(rows["product"][f"attention_{key}"]) for key in totals} == totals
    assert rows["head"]["attention_coincidences"] == ""
    additions, one_sided, dense = (f"{n / 2:,.0f}" for n in (node.coincidences, node.one_sided, node.dense))
    lines = summary(counts)
    assert f"{additions} additions of self-attention where spikes coincide ({one_sided} one-sided, {dense}" in lines[1]
    console = Console(file=io.StringIO(), width=120)
    graph = attention_graph((12, 2, 2), 2, twin=TWIN)
    console.print(table(counts, energy.assemble(graph, counts, [], energy.provenance(graph))))
    row = next(line for line in console.file.getvalue().splitlines() if line.startswith("product"))
    assert row.split() == ["product", "attention", f"{layer['rate']:.3f}", additions, dense]
    assert any(f"{node.coincidences / 200:.3f} additions of self-attention" in line for line in lines)


def pool(shape, kernel, stride, padding):
    return MaxPool2d(np.array(shape), np.array(kernel), np.array(stride), np.array(padding))


def pooled(shape, kernel, stride, padding):
    sizes = zip(shape[1:], kernel, stride, padding, strict=True)
    return (shape[0], *((n + 2 * p - k) // s + 1 for n, k, s, p in sizes))


def test_comparisons_by_hand():
    # Windows of 3×3, stride 2 and padding 1 on 4×4 hold 4, 6, 6 and 9 taps: 3 + 5 + 5 + 8 comparisons.
    shape = (2, 4, 4)
    nodes = {"conv": conv(np.ones((2, 2, 1, 1)), np.ones(2)), "pool": pool(shape, (3, 3), (2, 2), (1, 1))}
    graph = from_nir(chain({**nodes, "lif": lif((2, 2, 2))}, shape, (2, 2, 2)))
    counts = energy.count(graph, trace_of(graph, lif=np.zeros((3, 4, 2, 2, 2), np.bool_)))
    assert counts.comparisons == 2 * 21 * 12
    assert counts.comparisons_per_node == {"pool": counts.comparisons}
    assert list(counts.layers) == ["conv"]
    assert (counts.additions.bias, counts.additions.pooling, counts.additions.fan_in) == (32 * 12, 0, 0)
    assert any("168 comparisons of max-pooling" in line for line in summary(counts))


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_comparisons_equal_taps_looked_at(size, kernel, stride, padding):
    if any(2 * p > k or n + 2 * p < k for n, p, k in zip(size, padding, kernel, strict=True)):
        return  # the graph refuses such windows
    shape = (2, *size)
    out = pooled(shape, kernel, stride, padding)
    graph = from_nir(chain({"lif": lif(shape), "pool": pool(shape, kernel, stride, padding)}, shape, out))
    counts = energy.count(graph, trace_of(graph, lif=np.zeros((1, 2, *shape), np.bool_)))
    expected = 0
    for _, i, j in product(*map(range, out)):
        ys = [i * stride[0] - padding[0] + m for m in range(kernel[0])]
        xs = [j * stride[1] - padding[1] + n for n in range(kernel[1])]
        expected += sum(0 <= y < size[0] and 0 <= x < size[1] for y in ys for x in xs) - 1
    assert counts.comparisons == 2 * expected
    assert counts.sops == 0


def test_max_pooling_needs_the_sum_of_what_it_reads():
    # A current and a population: the sum is formed before the maximum, at every position, whoever spikes.
    shape = (1, 2, 2)
    nodes = {
        "input": nir.Input(np.array(shape)),
        "lif": lif(shape),
        "conv": conv(np.ones((1, 1, 1, 1)), hw=(2, 2)),
        "pool": pool(shape, (2, 2), (2, 2), (0, 0)),
        "output": nir.Output(np.array([1, 1, 1])),
    }
    edges = [("input", "lif"), ("lif", "conv"), ("conv", "pool"), ("lif", "pool"), ("pool", "output")]
    graph = from_nir(nir.NIRGraph(nodes, edges, metadata=chain({}, (1,), (1,)).metadata, type_check=False))
    counts = energy.count(graph, trace_of(graph, lif=np.zeros((1, 4, *shape), np.bool_)))
    assert (counts.additions.fan_in, counts.comparisons) == (4 * 4, 3 * 4)


@pytest.mark.parametrize(("nonlinear", "times"), [(False, 1), (True, 4)])
def test_only_what_leads_linearly_to_the_output_can_be_summed_over_time_first(nonlinear, times):
    shape = (2, 2, 2)
    nodes = {
        "first": conv(np.ones((2, 2, 1, 1)), hw=(2, 2)),
        "lif": lif(shape),
        "currents": conv(np.ones((2, 2, 1, 1)), np.ones(2), hw=(2, 2)),
        "readout": conv(np.ones((2, 2, 1, 1)), np.ones(2), hw=(2, 2)),
        **({"pool": pool(shape, (1, 1), (1, 1), (0, 0))} if nonlinear else {}),
    }
    graph = from_nir(chain(nodes, shape, shape))
    counts = energy.count(graph, trace_of(graph, lif=np.zeros((3, 4, *shape), np.bool_)))
    # The first convolution reads the input alone, but a population needs what it says in every step.
    first, readout = counts.layers["first"], counts.layers["readout"]
    assert (first.macs, first.macs_once, first.macs_summed) == (16 * 12, 16 * 3, 16 * 12)
    assert (readout.macs, readout.macs_once, readout.macs_summed) == (16 * 12, 16 * 12, 16 * 3 * times)
    assert counts.macs_summed == first.macs_summed + readout.macs_summed
