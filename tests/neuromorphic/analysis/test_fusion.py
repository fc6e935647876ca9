"""Matrices in a row as one, worked out by hand."""

import nir
import numpy as np

from neuromorphic.analysis.fusion import fused
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import lif, metadata

ONE, TWO, THREE = (np.float32(rows) for rows in ([[1, 2], [0, 1], [3, 0]], [[1, 0, -1], [2, 1, 0]], [[1, -1]]))
B1, B2, B3 = (np.float32(numbers) for numbers in ([1, 0, 2], [0, 5], [7]))


def graph_of(nodes, edges, shape, out):
    every = {"input": nir.Input(np.array([shape])), **nodes, "output": nir.Output(np.array([out]))}
    return from_nir(nir.NIRGraph(every, edges, metadata=metadata(2), type_check=False))


def test_three_matrices_in_a_row_are_one_under_the_last_ones_name():
    nodes = {"a": nir.Affine(ONE, B1), "b": nir.Affine(TWO, B2), "c": nir.Affine(THREE, B3), "lif": lif((1,))}
    edges = [("input", "a"), ("a", "b"), ("b", "c"), ("c", "lif"), ("lif", "output")]
    found = fused(graph_of(nodes, edges, 2, 1), ["c"])
    assert [*found.nodes] == ["input", "c", "lif", "output"]
    assert found.nodes["c"].sources == ("input",)
    assert found.nodes["c"].operation.weight.tolist() == (THREE @ TWO @ ONE).tolist()
    assert found.nodes["c"].operation.bias.tolist() == (THREE @ (TWO @ B1 + B2) + B3).tolist()


def test_a_sum_of_two_currents_and_spikes_becomes_a_product_for_each_and_adds_the_bias_once():
    nodes = {
        "s": lif((3,), 0.25),
        "a": nir.Affine(ONE, B1),
        "d": nir.Affine(2 * ONE, B1),
        "c": nir.Affine(TWO, B2),
        "lif": lif((2,), 4.0),
    }
    edges = [("input", "a"), ("input", "d"), ("a", "s"), ("a", "c"), ("d", "c"), ("s", "c"), ("c", "lif")]
    graph = graph_of(nodes, [*edges, ("lif", "output")], 2, 2)
    found = fused(graph, ["c"])
    assert {*found.nodes} == {"input", "a", "s", "c", "c.1", "c.2", "lif", "output"}, "s still reads a"
    assert {found.nodes[name].sources for name in ("c", "c.1", "c.2")} == {("input",), ("s",)}
    assert {*found.nodes["lif"].sources} == {"c", "c.1", "c.2"}
    biases = sum(found.nodes[name].operation.bias for name in ("c", "c.1", "c.2"))
    assert biases.tolist() == (TWO @ (B1 + B1) + B2).tolist()
    frames = np.float32([[1, -2], [3, 1], [0, 0]])
    one, other = run(graph, frames), run(found, frames)
    for name in ("s", "lif"):
        np.testing.assert_array_equal(one.spikes[name].bits, other.spikes[name].bits)
    assert 0 < one.spikes["lif"].count() < 12


def test_a_matrix_that_reads_spikes_stays_as_it_is():
    nodes = {"s": lif((2,)), "a": nir.Affine(ONE, B1), "lif": lif((3,))}
    graph = graph_of(nodes, [("input", "s"), ("s", "a"), ("a", "lif"), ("lif", "output")], 2, 3)
    assert fused(graph, ["a"]) is graph
