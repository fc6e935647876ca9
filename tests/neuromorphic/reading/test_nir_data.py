"""NIR's own data format as frames: steps of events, counts, names of nodes, and what is refused."""

from dataclasses import replace
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.reading.frames import find_frames
from neuromorphic.reading.read import read_graph

DT = 1e-4


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """Three neurons behind an input of three."""
    ones = np.ones(3)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "if": nir.IF(r=ones, v_threshold=ones, v_reset=0 * ones),
        "output": nir.Output({"output": np.array([3])}),
    }
    path = tmp_path / "graph.nir"
    nir.write(path, nir.NIRGraph(nodes, [("input", "if"), ("if", "output")]))
    read = read_graph(path)
    return replace(read, metadata=replace(read.metadata, dt=DT))


def written(folder: Path, data: object, node: str = "input", observable: str = "spikes") -> Path:
    """A file of NIR's data with one observable of one node."""
    path = folder / "data.h5"
    nir.write_data(path, nir.NIRGraphData({node: nir.NIRNodeData({observable: data})}))
    return path


def events(idx: list[int], time: list[float], t_max: float = 8e-4) -> nir.EventData:
    """Events of one sample of three neurons."""
    return nir.EventData(np.array([idx]), np.array([time]), 3, t_max)


def test_an_event_lies_in_the_step_that_its_time_names(graph: Graph, tmp_path: Path) -> None:
    found = find_frames(graph, written(tmp_path, events([0, 1, 2, -1], [1e-4, 6e-4, 7.99e-4, np.inf]))).values
    expected = np.zeros((1, 8, 3), bool)
    expected[0, 1, 0] = expected[0, 6, 1] = expected[0, 7, 2] = True
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, expected)


def test_every_multiple_of_dt_is_its_own_step(graph: Graph, tmp_path: Path) -> None:
    steps = 3000
    times = [step * DT for step in range(steps)]
    found = find_frames(
        graph, written(tmp_path, events([step % 3 for step in range(steps)], times, steps * DT))
    ).floats()
    assert found.shape == (1, steps, 3)
    np.testing.assert_array_equal(found[0], np.eye(3)[np.arange(steps) % 3])


def test_events_that_share_a_step_are_counted(graph: Graph, tmp_path: Path) -> None:
    found = find_frames(graph, written(tmp_path, events([1, 1, 1], [2e-4, 2.5e-4, 3e-4]))).floats()
    assert found[0, :, 1].tolist() == [0, 0, 2, 1, 0, 0, 0, 0]


def test_values_of_events_are_added(graph: Graph, tmp_path: Path) -> None:
    data = nir.ValuedEventData(np.array([[2, 2]]), np.array([[0.0, 5e-5]]), 3, 1e-4, value=np.array([[0.5, -2.0]]))
    np.testing.assert_array_equal(find_frames(graph, written(tmp_path, data)).floats(), [[[0, 0, -1.5]]])


@pytest.mark.parametrize("dtype", [bool, np.float64])
def test_frames_per_step_come_as_they_are(graph: Graph, tmp_path: Path, dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 2, (4, 5, 3)).astype(dtype)
    found = find_frames(graph, written(tmp_path, nir.TimeGriddedData(x, DT))).values
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, x)


def test_a_single_node_of_another_name_is_the_input(graph: Graph, tmp_path: Path) -> None:
    found = find_frames(graph, written(tmp_path, events([0], [0.0], DT), node="sensor", observable="events")).floats()
    np.testing.assert_array_equal(found, [[[1, 0, 0]]])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (nir.EventData(np.array([[0]]), np.array([[0.0]]), 4, DT), "events of 4 neurons"),
        (events([0], [9e-4]), "less than t_max"),
        (events([0], [-1e-4]), "expected 0 s"),
        (events([3], [0.0]), "event of neuron 3"),
        (events([-2], [0.0]), "event of neuron -2"),
        (events([0], [float("nan")]), "not finite"),
        (events([0], [0.0], 0.0), "not finite"),
        (events([0], [0.0], 1e9), "expected frames of at most"),
        (nir.TimeGriddedData(np.zeros((1, 2, 3)), 1e-3), "time step is 0.001 s"),
        (nir.TimeGriddedData(np.zeros((1, 2, 4)), DT), "frames of 4 neurons"),
        (nir.TimeGriddedData(np.full((1, 2, 3), np.nan), DT), "not finite"),
    ],
)
def test_what_does_not_fit_is_refused(graph: Graph, tmp_path: Path, data: object, says: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(RefusedInput, match=says) as refused:
        find_frames(graph, path).floats()
    assert str(refused.value).startswith(str(path))


def test_another_hdf5_is_refused_by_name(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(RefusedInput, match="not NIR's data format"):
        find_frames(graph, path).floats()
    with h5py.File(path, "a") as file:
        file.attrs["__type__"] = "NIRGraphData"
    with pytest.raises(RefusedInput, match="not readable as NIR's data"):
        find_frames(graph, path).floats()


def test_several_nodes_without_the_input_are_refused_by_name(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    node = nir.NIRNodeData({"spikes": events([0], [0.0])})
    nir.write_data(path, nir.NIRGraphData({"a": node, "b": node}))
    with pytest.raises(RefusedInput, match="nodes 'a', 'b'; expected input"):
        find_frames(graph, path).floats()
