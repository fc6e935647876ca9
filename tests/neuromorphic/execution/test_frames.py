"""T of a run: the graph's, else what is asked for, else that of the frames."""

from dataclasses import replace

import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.execution.frames import timed
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, lif

STILLS, RECORDINGS = np.zeros((2, 3), np.float32), np.zeros((2, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("stated", "frames", "asked", "steps"),
    [(None, RECORDINGS, None, 4), (None, STILLS, 5, 5), (None, None, 5, 5), (6, RECORDINGS, 5, 6), (6, None, None, 6)],
)
def test_a_graph_is_timed_by_whoever_says_it(stated, frames, asked, steps):
    graph = from_nir(chain({"lif": lif((3,))}, (3,), (3,)))
    graph = replace(graph, metadata=replace(graph.metadata, time_steps=stated))
    assert timed(graph, frames, asked).metadata.time_steps == steps
    if stated is asked is None:
        with pytest.raises(RefusedInput, match="how many time steps"):
            timed(graph, STILLS)
