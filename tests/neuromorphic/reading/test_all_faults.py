"""A graph that is refused is refused once: with a sentence for every node that is wrong, not for the first alone."""

import h5py
import nir
import numpy as np
import pytest

from neuromorphic.errors import LISTED, RefusedInput, all_of
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.graphs import chain, conv, lif


def refusal(graph, source="theirs.nir"):
    """What is said of a graph, sentence by sentence."""
    with pytest.raises(RefusedInput) as refused:
        from_nir(graph, source)
    first, *others = str(refused.value).removeprefix(f"{source}: ").split("; node ")
    return [first, *(f"node {other}" for other in others)]


def affine(rows, columns):
    return nir.Affine(np.zeros((rows, columns), np.float32), np.zeros(rows, np.float32))


def test_every_node_of_an_unknown_type_is_named():
    class Sigmoid(nir.Threshold):
        pass

    class Tanh(nir.Threshold):
        pass

    ones = np.ones(3, np.float32)
    nodes = {"fc": affine(3, 3), "squash": Sigmoid(ones), "a": lif((3,)), "bend": Tanh(ones), "b": lif((3,))}
    found = refusal(chain(nodes, (3,), (3,)))
    assert [said.split(";")[0].split(" expected")[0] for said in found] == [
        "node 'squash' is of type Sigmoid",
        "node 'bend' is of type Tanh",
    ]


def test_a_wrong_shape_before_and_a_wrong_parameter_behind_are_both_named():
    wrong = lif((4,))
    wrong.tau[...] = -1
    found = refusal(chain({"first": affine(3, 5), "second": affine(4, 3), "neurons": wrong}, (2,), (4,)))
    assert [said.split()[1].rstrip(":") for said in found] == ["'first'", "'neurons'"]
    assert "tau" in found[1]


def test_faults_on_two_branches_are_both_named():
    nodes = {
        "input": nir.Input(np.array([2])),
        "left": affine(3, 7),
        "right": affine(3, 9),
        "a": lif((3,)),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "left"), ("input", "right"), ("left", "a"), ("right", "a"), ("a", "output")]
    found = refusal(nir.NIRGraph(nodes, edges, metadata={"dt": 1e-4}, type_check=False))
    assert [said.split()[1].rstrip(":") for said in found] == ["'left'", "'right'"]


def test_a_sum_of_different_shapes_stands_beside_another_fault():
    silent = lif((2,))
    silent.tau[...] = np.nan
    nodes = {
        "input": nir.Input(np.array([2])),
        "three": affine(3, 2),
        "four": affine(4, 2),
        "sum": affine(2, 3),
        "quiet": silent,
        "output": nir.Output(np.array([2])),
    }
    edges = [
        ("input", "three"), ("input", "four"), ("three", "sum"), ("four", "sum"), ("sum", "quiet"), ("quiet", "output"),
    ]  # fmt: skip
    found = refusal(nir.NIRGraph(nodes, edges, metadata={"dt": 1e-4}, type_check=False))
    assert [said.split()[1].rstrip(":") for said in found] == ["'sum'", "'quiet'"]
    assert "different shapes" in found[0]


def test_what_only_follows_from_another_fault_is_not_named():
    """Behind a node that was refused shapes are unknown, which is nobody else's fault."""
    nodes = {"fc": affine(3, 5), "a": lif((3,)), "conv": conv(np.zeros((2, 1, 3, 3)), hw=(5, 5)), "b": lif((2, 3, 3))}
    assert [said.split()[1].rstrip(":") for said in refusal(chain(nodes, (2,), (2, 3, 3)))] == ["'fc'"]


def test_nodes_that_were_written_in_part_are_all_named(tmp_path):
    path = tmp_path / "part.nir"
    nir.write(path, chain({"fc": affine(3, 2), "a": lif((3,)), "g": affine(2, 3), "b": lif((2,))}, (2,), (2,)))
    with h5py.File(path, "a") as file:
        for name, key in (("fc", "weight"), ("a", "v_threshold"), ("a", "tau")):
            del file["node/nodes"][name][key]
    with pytest.raises(RefusedInput) as refused:
        read_graph(path)
    said = str(refused.value).removeprefix(f"{path}: ")
    assert set(said.split("; ")) == {
        "node 'fc' of type 'Affine' lacks weight",
        "node 'a' of type 'LIF' lacks tau, v_threshold",
    }
    with h5py.File(path, "a") as file:
        for name in ("g", "b"):
            del file["node/nodes"][name]["type"]
    with pytest.raises(RefusedInput, match=r"node 'b' has no type: .*; node 'g' has no type: ") as refused:
        read_graph(path)


def test_a_node_beside_one_that_is_wrong_is_not_named(tmp_path):
    """Some of NIR's constructors take entries out of what they are made of: it is made once more of all of them."""
    path = tmp_path / "flat.nir"
    flat = nir.Flatten({"input": np.array([1, 2])}, 0, -1)
    nir.write(path, chain({"flat": flat, "fc": affine(2, 2), "z": lif((2,))}, (1, 2), (2,)))
    with h5py.File(path, "a") as file:
        del file["node/nodes/z/tau"], file["node/nodes/fc/type"]
        file["node/nodes/fc/type"] = "Softmax"
    with pytest.raises(RefusedInput) as refused:
        read_graph(path)
    said = str(refused.value).removeprefix(f"{path}: ").split("; node ")
    assert [sentence.split()[0].strip("'") for sentence in (said[0].removeprefix("node "), said[1])] == ["fc", "z"]
    assert len(said) == 2
    assert "'Softmax'; expected one of Affine, " in said[0]
    assert said[1].endswith("of type 'LIF' lacks tau")


def test_nodes_of_subgraphs_are_named_with_them(tmp_path):
    inner = chain({"fc": affine(2, 2)}, (2,), (2,))
    path = tmp_path / "nested.nir"
    nir.write(path, chain({"block": inner}, (2,), (2,)))
    with h5py.File(path, "a") as file:
        del file["node/nodes/block/nodes/fc/bias"]
    with pytest.raises(RefusedInput, match=r"node 'block\.fc' of type 'Affine' lacks bias"):
        read_graph(path)


def test_of_very_many_faults_the_first_are_listed():
    reasons = [f"a.nir: node {i}" for i in range(LISTED + 5)]
    said = all_of(reasons, "a.nir")
    assert said.startswith("a.nir: node 0; node 1; ")
    assert said.endswith(f"node {LISTED - 1}; and 5 more faults")
    assert all_of(reasons[:1], "a.nir") == "a.nir: node 0"


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        (nir.LI, ("tau", "r", "v_leak")),
        (nir.LIF, ("tau", "r", "v_leak", "v_threshold")),
        (nir.IF, ("r", "v_threshold")),
        (nir.I, ("r",)),
        (nir.CubaLIF, ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold")),
        (nir.CubaLI, ("tau_syn", "tau_mem", "r", "v_leak")),
        (nir.Threshold, ("threshold",)),
        (nir.Scale, ("scale",)),
        (nir.Delay, ("delay",)),
    ],
)
def test_empty_parameters_are_refused_by_name(kind, keys):
    node = kind(**{key: np.zeros(0, np.float32) for key in keys})
    nodes = {"fc": affine(3, 3), "empty": node}
    edges = [("input", "fc"), ("fc", "empty"), ("empty", "output")]
    ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([3]))}
    found = refusal(nir.NIRGraph({**nodes, **ends}, edges, metadata={"dt": 1e-4}, type_check=False))
    assert any("'empty'" in said and ("empty; expected" in said or "shape [0]" in said) for said in found), found
