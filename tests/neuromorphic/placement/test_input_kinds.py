"""What an input of spikes, counts or real numbers brings to the cores, counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.placement import Limits, place
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, lif, small_net


def test_an_input_of_spikes_sends_its_spikes_and_no_more():
    kinds = {}
    frames = np.random.default_rng(0).integers(0, 3, (3, 2, 6, 6)).astype(np.float32)
    for kind in ("real", "spikes", "counts"):
        shown = np.minimum(frames, 1) if kind == "spikes" else frames
        graph = from_nir(small_net())
        graph = replace(graph, metadata=replace(graph.metadata, input_kind=kind))
        kinds[kind] = place(graph, Limits(neurons=72), run(graph, shown), frames=shown).measured
    # The input's columns are heard by 1, 2, 2, 2, 2 and 1 of three cores, in each of 4 steps.
    heard = np.array([1, 2, 2, 2, 2, 1])
    assert kinds["real"].from_host == 3 * 4 * 2 * 6 * heard.sum()
    assert kinds["spikes"].from_host == 4 * ((frames > 0) * heard).sum()
    assert kinds["counts"].from_host == 4 * (frames * heard).sum()
    # Taps that see a row or a column: 2 at the ends, 3 between them; 4 channels out.
    taps = np.array([2, 3, 3, 3, 3, 2])
    seen = 4 * 4 * np.einsum("ncyx,y,x->", frames > 0, taps, taps)
    assert kinds["spikes"].operations[:3].sum() == seen


def test_an_input_of_spikes_over_time_is_counted_step_by_step():
    graph = from_nir(chain({"a": lif((2,))}, (2,), (2,)))
    graph = replace(graph, metadata=replace(graph.metadata, input_kind="spikes"))
    frames = np.zeros((1, 4, 2), np.float32)
    frames[0, 1:, 0] = 1
    placement = place(graph, trace=run(graph, frames), frames=frames)
    assert (placement.measured.from_host, placement.measured.operations.tolist()) == (3, [3])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (None, "its input are spikes, which a trace doesn't hold; expected the frames"),
        (np.zeros((2, 2, 6, 6), np.float32), r"shape \[2, 2, 6, 6\]; expected those of the run's 1 images"),
        (np.zeros((1, 2, 6, 5), np.float32), r"shape \[1, 2, 6, 5\]; expected .* of shape \[2, 6, 6\]"),
        (np.zeros((1, 9, 2, 6, 6), np.float32), r"shape \[1, 9, 2, 6, 6\]; expected .* time steps"),
    ],
)
def test_spikes_of_an_input_that_are_not_the_runs_are_refused(frames, message):
    graph = from_nir(small_net())
    graph = replace(graph, metadata=replace(graph.metadata, input_kind="spikes"))
    with pytest.raises(RefusedInput, match=message):
        place(graph, trace=run(graph, np.zeros((1, 2, 6, 6), np.float32)), frames=frames)
