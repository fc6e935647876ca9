"""Files as lenient as nir's own reader takes them, and files that are none."""

import pickle

import h5py
import nir
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph

DT = 1e-4
WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2) / 8 - 0.25


def lif(shape=(3,)):
    full = np.ones(shape, np.float32)
    return nir.LIF(full * 2e-4, full, 0 * full, full / 2, 0 * full)


def net(first, read=(2,), answers=(3,), neurons=None):
    """input -> first -> lif -> output."""
    nodes = {"input": nir.Input(np.array(read)), "first": first, "lif": neurons or lif(answers)}
    nodes["output"] = nir.Output(np.array(answers))
    return nir.NIRGraph(nodes, [("input", "first"), ("first", "lif"), ("lif", "output")], type_check=False)


def stored(tmp_path, graph):
    path = tmp_path / "net.nir"
    nir.write(path, graph)
    return path


def edited(path, node, **changes):
    """The file with other parameters of a node; None removes one."""
    with h5py.File(path, "r+") as file:
        group = file[f"node/nodes/{node}"]
        for key, value in changes.items():
            if key in group:
                del group[key]
            if value is not None:
                group[key] = value
    return path


@pytest.mark.parametrize("bias", [np.float32(0.5), np.array([0.5], np.float32), 0.5])
def test_one_bias_stands_for_all_channels(tmp_path, bias):
    path = edited(stored(tmp_path, net(nir.Affine(WEIGHT, np.zeros(3, np.float32)))), "first", bias=bias)
    assert np.array_equal(read_graph(path, DT).nodes["first"].operation.bias, np.full(3, 0.5, np.float32))


def test_a_bias_of_false_is_none(tmp_path):
    path = edited(stored(tmp_path, net(nir.Affine(WEIGHT, np.zeros(3, np.float32)))), "first", bias=False)
    assert not read_graph(path, DT).nodes["first"].operation.bias.any()


@pytest.mark.parametrize("keys", [("r",), ("tau", "v_threshold"), ("r", "v_leak", "v_reset"), ("v_reset",)])
def test_single_numbers_stand_beside_arrays(tmp_path, keys):
    path = stored(tmp_path, net(nir.Linear(WEIGHT)))
    plain = read_graph(path, DT).nodes["lif"].operation
    with h5py.File(path) as file:
        numbers = {key: file[f"node/nodes/lif/{key}"][0] for key in keys}
    mixed = read_graph(edited(path, "lif", **numbers), DT).nodes["lif"].operation
    for key in ("decay", "gain", "threshold", "leak", "reset"):
        assert np.array_equal(getattr(mixed, key), getattr(plain, key))


@pytest.mark.parametrize("hw", [(5, 7), (6, 4)])
def test_a_convolution_needs_no_input_shape(tmp_path, hw):
    kernel = np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32)
    conv = nir.Conv2d(hw, kernel, (2, 1), (1, 0), (1, 1), 1, np.zeros(3, np.float32))
    shape = (3, (hw[0] + 1) // 2, hw[1] - 2)
    path = stored(tmp_path, net(conv, (2, *hw), shape))
    graph = read_graph(edited(path, "first", input_shape=None), DT)
    assert graph.nodes["first"].shape == shape


@pytest.mark.parametrize(("kernel", "size"), [((4, 2), (6, 5)), ((2, 3), (5, 4)), ((4, 4), (4, 7))])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch says that it copies
def test_same_padding_of_even_kernels_is_pytorchs(kernel, size, dilation):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    weight = (rng.integers(-4, 5, (3, 2, *kernel)) / 4).astype(np.float32)
    x = (rng.integers(-4, 5, (2, 1, 2, *size)) / 4).astype(np.float32)
    conv = nir.Conv2d(size, weight, (1, 1), "same", (dilation, dilation), 1, np.zeros(3, np.float32))
    nodes = {"input": nir.Input(np.array((2, *size))), "conv": conv, "output": nir.Output(np.array((3, *size)))}
    graph = from_nir(nir.NIRGraph(nodes, [("input", "conv"), ("conv", "output")], type_check=False), dt=DT)
    expected = torch.nn.functional.conv2d(
        torch.tensor(x[:, 0]), torch.tensor(weight), padding="same", dilation=dilation
    )
    for executor in (run, run_in_batches):
        assert np.array_equal(executor(graph, x).outputs[:, 0], expected.numpy())


def test_ends_are_added_where_a_graph_has_none():
    graph = nir.NIRGraph({"fc": nir.Linear(WEIGHT), "lif": lif()}, [("fc", "lif")], type_check=False)
    read = from_nir(graph, dt=DT)
    assert (read.nodes[read.input].shape, read.nodes[read.output].shape) == ((2,), (3,))
    assert sum("is taken for it" in said for said in read.metadata.assumed) == 2


def checked_ends(nodes, edges):
    """The names of the ends in nir's own eyes, which adds those that are missing."""
    checked = nir.NIRGraph(dict(nodes), list(edges))
    return sorted(checked.inputs), sorted(checked.outputs)


def test_two_nodes_that_begin_a_graph_get_an_input_each_as_in_nir():
    nodes, edges = {"a": nir.Linear(WEIGHT), "b": nir.Linear(WEIGHT), "lif": lif()}, [("a", "lif"), ("b", "lif")]
    read = from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    assert [*read.inputs] == checked_ends(nodes, edges)[0] == ["input_a", "input_b"]


def test_a_node_that_begins_beside_an_input_gets_one_too_as_in_nir():
    nodes = {"input": nir.Input(np.array([2])), "fc": nir.Linear(WEIGHT), "bias": nir.Affine(WEIGHT, WEIGHT[:, 0])}
    nodes |= {"lif": lif(), "output": nir.Output(np.array([3]))}
    edges = [("input", "fc"), ("fc", "lif"), ("bias", "lif"), ("lif", "output")]
    read = from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    assert [*read.inputs] == checked_ends(nodes, edges)[0] == ["input", "input_bias"]
    assert any("'bias' is taken for it as 'input_bias'" in said for said in read.metadata.assumed)


def test_two_ends_without_outputs_are_two_outputs_as_in_nir():
    nodes = {"input": nir.Input(np.array([2])), "a": nir.Linear(WEIGHT), "b": nir.Linear(2 * WEIGHT)}
    edges = [("input", "a"), ("input", "b")]
    read = from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    assert [*read.outputs] == checked_ends(nodes, edges)[1] == ["output_a", "output_b"]


def test_a_node_without_edges_is_refused():
    nodes = {"input": nir.Input(np.array([2])), "fc": nir.Linear(WEIGHT), "lost": lif()}
    nodes["output"] = nir.Output(np.array([3]))
    with pytest.raises(RefusedInput, match="node 'lost' has no sources"):
        from_nir(nir.NIRGraph(nodes, [("input", "fc"), ("fc", "output")], type_check=False), dt=DT)


def test_a_subgraph_has_the_shape_that_arrives_at_it():
    inner_nodes = {"input": nir.Input(np.array([2])), "lif": lif(), "output": nir.Output(np.array([3]))}
    inner = nir.NIRGraph(inner_nodes, [("input", "lif"), ("lif", "output")], type_check=False)
    nodes = {"input": nir.Input(np.array([2])), "fc": nir.Linear(WEIGHT), "inner": inner}
    nodes["output"] = nir.Output(np.array([3]))
    edges = [("input", "fc"), ("fc", "inner"), ("inner", "output")]
    graph = from_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    assert graph.nodes["inner.lif"].shape == (3,)
    assert any(said.startswith("inner.input has the shape that arrives") for said in graph.metadata.assumed)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (pickle.dumps({"a": 1}), "a pickle"),
        (pickle.dumps([1.5], protocol=2), "a pickle"),
        (b"\x93NUMPY\x01\x00", "a .npy array"),
        (b"<html>", "no HDF5 file"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_graph_is_named(tmp_path, content, words):
    path = tmp_path / "net.nir"
    path.write_bytes(content)
    with pytest.raises(RefusedInput, match=words):
        read_graph(path)


def test_a_node_that_was_written_in_part_is_named(tmp_path):
    path = stored(tmp_path, net(nir.Linear(WEIGHT)))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/lif/type"]
    with pytest.raises(RefusedInput, match="node 'lif' has no type: the file was written in part"):
        read_graph(path, DT)
