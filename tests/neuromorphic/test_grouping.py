"""Groups of convolutions are what the file declares; the values of a kernel say nothing."""

import json
from dataclasses import replace
from itertools import pairwise

import nir
import numpy as np
import pytest

import energy
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.loihi2.file import write_quantised
from neuromorphic.loihi2.quantise import calibrate
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph, read_nir
from tests.neuromorphic.graphs import DT, lif

SHAPE = (4, 3, 5)


def conv(weight, groups=1):
    weight = np.asarray(weight, np.float32)
    return nir.Conv2d(SHAPE[1:], weight, (1, 1), (0, 0), (1, 1), groups, np.zeros(len(weight), np.float32))


def network(node, declared=None, ours=False):
    """input -> LIF -> node -> LIF -> output; `declared` is what the metadata of a file of ours says of groups."""
    nodes = {
        "input": nir.Input(np.array(SHAPE)),
        "before": lif(SHAPE, 0.5),
        "conv": node,
        "behind": lif(SHAPE),
        "output": nir.Output(np.array(SHAPE)),
    }
    names = list(nodes)
    document = {"format_version": 1, "dt": DT, "time_steps": 3}
    if declared is not None:
        document["groups"] = declared
    metadata = {"spikeclip": json.dumps(document)} if ours or declared is not None else {}
    return nir.NIRGraph(nodes, list(pairwise(names)), metadata=metadata, type_check=False)


def groups(nir_graph):
    return from_nir(nir_graph, dt=DT).nodes["conv"].operation.groups


def sops(nir_graph):
    graph = from_nir(nir_graph, dt=DT)
    frames = np.full((1, 3, *SHAPE), 9.0, np.float32)
    return energy.count(graph, run(graph, frames)).layers["conv"].sops


DIAGONAL = np.eye(4, dtype=np.float32)[..., None, None]
DENSE = np.ones((4, 4, 1, 1), np.float32)
ALMOST = DIAGONAL.copy()
ALMOST[0, 1] = 1e-30
PAIRS = np.kron(np.eye(2), np.ones((2, 2))).astype(np.float32)[..., None, None]


def test_in_other_peoples_files_values_change_no_count():
    # 4 channels of 15 positions fire in all 3 steps, and each spike arrives at 4 synapses; in 4 groups at one.
    assert [sops(network(conv(weight))) for weight in (DENSE, DIAGONAL, ALMOST, 0 * DENSE)] == [4 * 15 * 3 * 4] * 4
    assert sops(network(conv(np.ones((4, 1, 1, 1)), groups=4))) == 4 * 15 * 3
    assert sops(network(conv(np.ones((4, 2, 1, 1)), groups=2))) == 4 * 15 * 3 * 2


@pytest.mark.parametrize(
    ("weight", "declared", "expected"),
    [(DIAGONAL, {}, 1), (DIAGONAL, {"conv": 4}, 4), (DIAGONAL, {"conv": 2}, 2), (DIAGONAL, {"other": 4}, 1),
     (PAIRS, {"conv": 2}, 2), (0 * DENSE, {"conv": 4}, 4), (DENSE, {"conv": 1}, 1)],
)  # fmt: skip
def test_our_files_say_it_in_their_metadata(weight, declared, expected):
    assert groups(network(conv(weight), declared)) == expected


@pytest.mark.parametrize(("weight", "expected"), [(DIAGONAL, 4), (PAIRS, 2), (ALMOST, 2), (0 * DENSE, 1)])
def test_our_older_files_leave_it_to_their_kernels(weight, expected):
    assert groups(network(conv(weight), ours=True)) == expected


@pytest.mark.parametrize(
    ("weight", "declared", "word"),
    [
        (DIAGONAL, {"conv": 3}, "declares 3 groups"),
        (PAIRS, {"conv": 4}, "declares 4 groups"),
        (DIAGONAL, {"conv": 0}, "metadata groups"),
        (DIAGONAL, {"conv": True}, "metadata groups"),
        (DIAGONAL, [4], "metadata groups"),
    ],
)
def test_groups_that_the_kernel_does_not_have_are_refused(weight, declared, word):
    with pytest.raises(RefusedInput, match=word):
        groups(network(conv(weight), declared))


def test_a_grouped_kernel_computes_what_its_dense_one_does():
    rng = np.random.default_rng(0)
    weight = PAIRS * rng.normal(size=PAIRS.shape).astype(np.float32)
    frames = rng.normal(size=(2, 3, *SHAPE)).astype(np.float32) * 3
    dense, grouped = (from_nir(network(conv(weight), declared)) for declared in ({}, {"conv": 2}))
    assert [g.nodes["conv"].operation.groups for g in (dense, grouped)] == [1, 2]
    for name, train in run(dense, frames).spikes.items():
        np.testing.assert_array_equal(run(grouped, frames).spikes[name].bits, train.bits)


@pytest.mark.parametrize("declared", [None, {}, {"conv": 4}])
def test_what_is_quantised_and_saved_keeps_its_groups(tmp_path, declared):
    path, saved = tmp_path / "m.nir", tmp_path / "q.nir"
    nir.write(path, network(conv(DIAGONAL), declared))
    graph = read_graph(path, DT)
    frames = np.random.default_rng(0).random((2, 3, *SHAPE)).astype(np.float32)
    graph = replace(graph, metadata=replace(graph.metadata, time_steps=3))
    quantised, scheme = calibrate(graph, frames)
    write_quantised(path, quantised, scheme, saved)
    assert read_graph(saved).nodes["conv"].operation.groups == graph.nodes["conv"].operation.groups
    assert np.shape(read_nir(saved).nodes["conv"].weight) == (4, 4, 1, 1)
