"""Plots of a run: every spike is drawn, rates are the trace's, and what isn't there is refused."""

import matplotlib as mpl
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.ir import plots
from neuromorphic.ir.trace import SpikeTrain, Trace

mpl.use("Agg")


@pytest.fixture
def trace():
    random = np.random.default_rng(0)
    spikes = {"first": random.random((2, 3, 4, 5)) < 0.4, "second": random.random((2, 3, 1000)) < 0.1}
    packed = {name: SpikeTrain.pack(each) for name, each in spikes.items()}
    return Trace("fast", "float", packed, np.zeros((2, 3, 1), np.float32))


def close(axes):
    from matplotlib import pyplot

    pyplot.close(axes.figure)


def test_a_raster_has_a_point_for_every_spike_of_its_neurons(trace):
    axes = trace.raster(image=1)
    first, second = axes.collections
    spikes = trace.spikes["first"].unpack(1, 2)[0].reshape(3, -1)
    drawn = {(round((left + right) / 2), int(n)) for (left, n), (right, _) in first.get_segments()}
    assert drawn == {(int(t), int(n)) for t, n in zip(*np.nonzero(spikes), strict=True)}
    every_fifth = trace.spikes["second"].unpack(1, 2)[0][:, ::5]
    assert len(second.get_segments()) == every_fifth.sum()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second (1 in 5)"]
    close(axes)


def test_a_raster_of_chosen_populations_draws_no_other(trace):
    axes = trace.raster(nodes=["second"])
    assert len(axes.collections) == 1
    close(axes)


def test_rates_are_those_of_the_traces_side_by_side(trace):
    axes = trace.rates(against=trace)
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [trace.rate(name) for name in trace.spikes] * 2
    assert trace.rate("first") == trace.spikes["first"].count() / (2 * 3 * 20)
    close(axes)


def test_membranes_are_a_line_for_each_neuron(trace):
    values = np.arange(24.0).reshape(3, 2, 4)
    axes = plots.membranes(values, [(0, 1), (1, 3)], threshold=1.0)
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[1.0, 9.0, 17.0], [7.0, 15.0, 23.0]]
    assert len(axes.lines) == 3
    close(axes)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda trace: trace.raster(image=2), r"image 2; the trace has images 0 to 1"),
        (lambda trace: trace.raster(nodes=["frist"]), r"no population 'frist' in the trace; did you mean 'first'\?"),
        (
            lambda trace: trace.rates(against=Trace("fast", "float", {}, trace.outputs)),
            r"traces of different graphs: only one of them has first, second",
        ),
    ],
)
def test_what_is_not_in_a_trace_is_refused(trace, draw, words):
    with pytest.raises(RefusedInput, match=words):
        draw(trace)
