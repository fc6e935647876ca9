"""How many images an executor takes at a time: as many as their spikes leave room for."""

import nir
import numpy as np
import pytest

from neuromorphic.cluster.ranges import batches
from neuromorphic.execution.batches import MOST, ROOM, fitting
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, lif


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, MOST), (ROOM // (8 * MOST), MOST), (ROOM // (8 * MOST) + 1, MOST - 1), (ROOM // 8, 1), (ROOM, 1)],
)
def test_a_batch_fits_and_has_an_image_at_least(steps, expected):
    graph = from_nir(chain({"a": lif((8,))}, (8,), (8,)))
    assert fitting(graph, steps) == expected


def test_a_graph_without_neurons_takes_the_most():
    graph = from_nir(chain({"a": nir.Linear(np.ones((2, 2), np.float32))}, (2,), (2,)))
    assert fitting(graph, 4) == MOST


@pytest.mark.parametrize(("count", "size"), [(1, 1), (7, 3), (6, 3), (2, 5)])
def test_batches_cover_everything_once_and_in_order(count, size):
    parts = list(batches(count, size))
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert all(0 < part.stop - part.start <= size for part in parts)
