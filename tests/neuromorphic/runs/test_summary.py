"""Sentences on a run: the unit in which an integer graph's outputs count."""

from types import SimpleNamespace

import nir
import numpy as np
import pytest

from neuromorphic.errors import number
from neuromorphic.execution.reference import run
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, with_scheme
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from neuromorphic.runs.summary import output_units, quantisation_sentences, table, unit_sentences
from tests.neuromorphic.graphs import DT, chain, lif


def readout(seed: int = 0) -> nir.NIRGraph:
    """Spiking neurons, a matrix, and membranes that are the output."""
    rng = np.random.default_rng(seed)
    nodes = {
        "in": nir.Linear(weight=rng.normal(size=(6, 5)).astype(np.float32)),
        "lif": lif((6,)),
        "out": nir.Linear(weight=rng.normal(size=(3, 6)).astype(np.float32)),
        "li": nir.LI(tau=np.full(3, 5 * DT), r=np.ones(3), v_leak=np.zeros(3)),
    }
    return chain(nodes, (5,), (3,), time_steps=30)


def test_integer_outputs_times_their_unit_are_the_float_graphs(tmp_path):
    nir.write(tmp_path / "float.nir", readout())
    graph = read_graph(tmp_path / "float.nir")
    frames = (np.random.default_rng(1).random((4, 30, 5)) < 0.4).astype(np.float32)
    floats, scheme = calibrate(graph, frames)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    whole = integer_graph(read_graph(tmp_path / "quantised.nir"))
    unit = output_units(whole)[whole.output]
    assert unit not in (None, 1.0)
    assert unit_sentences(whole) == [f"outputs are integers: 1 is {unit:.6g} of the float graph's unit"]
    expected, found = run(floats, frames).outputs, run(whole, graded(whole, frames)).outputs
    assert np.corrcoef(expected.ravel(), (found * unit).ravel())[0, 1] > 0.95
    assert 0.8 < np.abs(found * unit).max() / np.abs(expected).max() < 1.25


def test_floats_have_no_unit_of_their_own():
    graph = from_nir(readout())
    assert output_units(graph) == {}
    assert unit_sentences(graph) == []


@pytest.mark.parametrize(("count", "said"), [(0, "0 paths"), (1, "1 path"), (2, "2 paths"), (1234, "1,234 paths")])
def test_numbers_agree_with_their_nouns(count, said):
    assert number(count, "path") == said


def test_populations_whose_numbers_were_the_chips_are_counted():
    nodes = {"w": nir.Linear(np.array([[2.0, -4.0]], np.float32)), "lif": lif((1,), 5.0, tau=2.0, r=2.0)}
    graph = from_nir(chain(nodes, (2,), (1,), time_steps=3))
    floats, scheme = calibrate(graph, np.ones((1, 3, 2), np.float32))
    said = quantisation_sentences(integers(with_scheme(floats, scheme), scheme))
    assert said[0] == "integers: numbers of 1 of 1 populations are the chip's already: kept"
    assert said[1] == "integers: every spike as in floats, on the calibration frames"


@pytest.mark.parametrize(("images", "rows"), [(0, 0), (11, 11), (12, 12), (13, 12)])
def test_the_table_lists_the_first_dozen(images, rows):
    totals = SimpleNamespace(answers=SimpleNamespace(predictions=np.arange(images) % 3))
    found = table(from_nir(readout()), totals, [f"{i}.png" for i in range(images)], np.arange(images), ())
    assert [*found.columns[0].cells] == [f"{i}.png" for i in range(rows)]
    assert [*found.columns[1].cells] == [str(i % 3) for i in range(rows)]
    assert [*found.columns[2].cells] == [str(i) for i in range(rows)]
