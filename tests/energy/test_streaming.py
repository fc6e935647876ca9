"""Counts of batches, joined, are the counts of the whole."""

import numpy as np
import pytest

import energy
from energy.counts import OperationCounts
from energy.record import Record
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.energy.test_attention import attention_graph
from tests.neuromorphic.graphs import chain, conv, lif, max_pool, metadata, small_net

TWIN = {"parameters": 1, "layers": [{"name": "head", "kind": "linear", "macs": 100}]}


def same(a, b):
    """Whether two records are equal, arrays included."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Record):
        return type(a) is type(b) and all(same(getattr(a, name), getattr(b, name)) for name in type(a).model_fields)
    return a == b


def small():
    nir_graph = small_net()
    nir_graph.metadata = metadata(4, twin=TWIN)
    return from_nir(nir_graph)


def pooling():
    nodes = {
        "conv": conv(np.ones((2, 1, 3, 3)), padding=1, hw=(4, 4)),
        "max": max_pool((2, 4, 4)),
        "lif": lif((2, 2, 2)),
    }
    return from_nir(chain(nodes, (1, 4, 4), (2, 2, 2)))


@pytest.mark.parametrize("make", [small, pooling, lambda: attention_graph((12, 2, 2), 2, twin=TWIN)])
@pytest.mark.parametrize("batch", [1, 2, 7, 16])
def test_batches_are_the_whole(make, batch):
    graph = make()
    frames = np.random.default_rng(5).normal(size=(7, *graph.nodes[graph.input].shape)).astype(np.float32) * 3
    whole = energy.count(graph, run(graph, frames))
    assert same(energy.count_running(graph, frames, batch=batch), whole)
    assert whole.sops + whole.attention.coincidences + whole.comparisons > 0


@pytest.mark.parametrize("batch", [1, 3, 7, 16])
def test_a_trace_is_counted_as_it_is_read(tmp_path, batch):
    graph = small()
    trace = run(graph, np.random.default_rng(5).normal(size=(7, 2, 6, 6)).astype(np.float32) * 3)
    trace.write(tmp_path / "run.h5")
    counts, first = energy.count_stored(graph, tmp_path / "run.h5", batch)
    assert same(counts, energy.count(graph, trace))
    assert (first.producer, first.images) == ("reference", min(batch, 7))


@pytest.mark.parametrize(("batch", "expected"), [(3, [(3, 6), (6, 9), (7, 7)]), (7, [(7, 14), (7, 7)]), (8, [(7, 7)])])
def test_progress_of_a_trace_knows_its_images_only_at_its_end(tmp_path, batch, expected):
    graph, told = small(), []
    run(graph, np.zeros((7, 2, 6, 6), np.float32)).write(tmp_path / "run.h5")
    energy.count_stored(graph, tmp_path / "run.h5", batch, progress=lambda *done: told.append(done))
    assert told == expected


def test_what_differs_is_told_apart():
    graph = small()
    frames = np.random.default_rng(6).normal(size=(4, 2, 6, 6)).astype(np.float32) * 3
    one, two = (energy.count(graph, run(graph, part)) for part in (frames[:2], frames[2:]))
    assert not same(OperationCounts.joined([one, two]), OperationCounts.joined([two, one]))
    assert OperationCounts.joined([one, two]).sops == OperationCounts.joined([two, one]).sops


def test_progress_and_refusals():
    graph, told = small(), []
    energy.count_running(graph, np.zeros((3, 2, 6, 6), np.float32), batch=2, progress=lambda *done: told.append(done))
    assert told == [(0, 3), (2, 3), (3, 3)]
    with pytest.raises(RefusedInput, match="nothing to run on"):
        energy.count_running(graph, np.zeros((0, 2, 6, 6), np.float32))
