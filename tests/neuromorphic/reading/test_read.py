"""Files from anywhere: truncated, hostile or merely wrong ones are refused in one sentence."""

import h5py
import nir
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import MaxPool2d, SelfAttention
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.graphs import attention, chain, lif, max_pool, small_net


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "net.nir"
    nir.write(file, small_net())
    return file


def refused(path, *words):
    with pytest.raises(RefusedInput) as caught:
        read_graph(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_written_graph_is_read(path):
    graph = read_graph(path)
    assert graph.source == str(path)
    assert [n.name for n in graph.populations] == ["lif", "lif2"]


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.nir", "no such file")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(path, kept):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    refused(path, "not a readable NIR graph" if path.stat().st_size else "is empty")


def test_an_external_link_is_refused_and_not_followed(path, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["weight"] = np.zeros((4, 2, 3, 3), np.float32)
    with h5py.File(path, "r+") as file:
        del file["node/nodes/conv/weight"]
        file["node/nodes/conv/weight"] = h5py.ExternalLink(secret.name, "/weight")  # found beside the file
    refused(path, "link into another file", "secret.h5")


def test_external_storage_is_refused(path, tmp_path):
    (tmp_path / "raw.bin").write_bytes(bytes(20))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/conv/bias"]
        file["node/nodes/conv"].create_dataset("bias", (4,), "f4", external=[(str(tmp_path / "raw.bin"), 0, 16)])
    refused(path, "/node/nodes/conv/bias", "another file")


def test_a_virtual_dataset_is_refused(path, tmp_path):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "x.h5"), "d", (4,))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/conv/bias"]
        file["node/nodes/conv"].create_virtual_dataset("bias", layout)
    refused(path, "/node/nodes/conv/bias", "another file")


def test_a_loop_of_groups_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["node/nodes/conv/self"] = file["node/nodes"]
    refused(path, "another name")


def test_a_soft_link_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["node/nodes/again"] = h5py.SoftLink("/node/nodes/conv")
    refused(path, "soft link")


def test_a_huge_declared_array_is_refused_without_reading_it(path):
    with h5py.File(path, "r+") as file:
        del file["node/nodes/conv/weight"]
        file["node/nodes/conv"].create_dataset("weight", (1 << 20, 1 << 20), "f4", chunks=(64, 64))
    refused(path, "/node/nodes/conv/weight", "expected at most")


@pytest.mark.parametrize("version", ["2.0", "v2.1", "10.0.1"])
def test_a_version_to_come_is_refused(path, version):
    with h5py.File(path, "r+") as file:
        del file["version"]
        file["version"] = version
    refused(path, "NIR version")


@pytest.mark.parametrize("version", [None, "", "latest", "unknown", "v1.0.4"])
def test_a_file_needs_no_number_of_a_version(path, version):
    expected = read_graph(path)
    with h5py.File(path, "r+") as file:
        del file["version"]
        if version is not None:
            file["version"] = version
    found = read_graph(path)
    assert found.nodes.keys() == expected.nodes.keys()
    assert found.metadata.reset == expected.metadata.reset


def test_nan_weights_are_refused(path):
    with h5py.File(path, "r+") as file:
        file["node/nodes/conv/weight"][0, 0, 0, 0] = np.nan
    refused(path, "'conv'", "finite")


def test_an_unknown_node_type_is_refused(path):
    with h5py.File(path, "r+") as file:
        del file["node/nodes/lif/type"]
        file["node/nodes/lif/type"] = "SoftResetLIF"
    refused(path, "node 'lif' is of type 'SoftResetLIF'; expected one of ", "LIF")


def test_a_single_node_is_a_graph(tmp_path):
    path = tmp_path / "node.nir"
    nir.write(path, nir.Affine(np.ones((3, 2)), np.ones(3)))
    graph = read_graph(path, dt=1e-4)
    assert [*graph.nodes] == ["input", "affine", "output"]
    assert (graph.nodes["input"].shape, graph.nodes["output"].shape) == ((2,), (3,))


def test_another_hdf5_file_is_refused(tmp_path):
    path = tmp_path / "trace.h5"
    with h5py.File(path, "w") as file:
        file["spikes"] = [1, 2]
    refused(path, "no NIR node")


def test_extension_nodes_are_read(tmp_path):
    nodes = {"max": max_pool((6, 5, 4)), "lif": lif((6, 3, 2)), "attention": attention((6, 3, 2), heads=2, scale=0.125)}
    file = tmp_path / "net.nir"
    nir.write(file, chain(nodes, (6, 5, 4), (2, 3, 2)))
    graph = read_graph(file)
    assert graph.nodes["max"].operation == MaxPool2d((3, 3), (2, 2), (1, 1))
    assert graph.nodes["attention"].operation == SelfAttention(2, 0.125)


@pytest.mark.parametrize(
    ("node", "key", "value"),
    [
        ("max", "stride", np.array([0, 2])),
        ("max", "kernel_size", np.array([3])),
        ("max", "input_shape", np.array([2, 3, 4, 5])),
        ("attention", "heads", np.array([1, 2])),
        ("attention", "scale", np.float64("nan")),
        ("attention", "input_shape", np.array([[6], [3], [2]])),
    ],
)
def test_extension_nodes_with_odd_parameters_are_refused(tmp_path, node, key, value):
    nodes = {"max": max_pool((6, 5, 4)), "lif": lif((6, 3, 2)), "attention": attention((6, 3, 2))}
    file = tmp_path / "net.nir"
    nir.write(file, chain(nodes, (6, 5, 4), (2, 3, 2)))
    with h5py.File(file, "r+") as data:
        del data[f"node/nodes/{node}/{key}"]
        data[f"node/nodes/{node}/{key}"] = value
    refused(file)
