"""What a graph's weights prove of float32, whatever its file claims; and of which frames."""

import json

import nir
import numpy as np
import pytest

from neuromorphic.analysis.exactness import doubles, doubles_on, exact_on
from neuromorphic.analysis.rounding import proven
from neuromorphic.execution import fast, reference
from neuromorphic.ir.parity import compare
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import DT, chain, conv, lif, metadata, small_net

CLAIM = {"exact": True, "limit": 24, "nodes": {}}
REAL = {"kind": "real", "axes": "BC", "low": -2.0, "high": 2.0, "bits": 2}


def claimed(nodes, shape, out, time_steps=4, **more):
    """A graph whose file claims to be exact, on frames of multiples of 1/4 within 2."""
    shown = REAL | {"axes": "B" + "CHW"[: len(shape)]}
    return from_nir(chain(nodes, shape, out, time_steps, certificate=CLAIM, **{"input": shown, **more}))


def affine(weight, bias=0.0):
    weight = np.atleast_2d(np.asarray(weight, np.float32))
    return nir.Affine(weight, np.full(len(weight), bias, np.float32))


def computing(graph):
    return {name for name in graph.nodes if name not in ("input", "output")}


def test_what_the_weights_prove_is_computed_in_float32():
    graph = claimed({"fc": affine([[0.5, -0.25]]), "lif": lif((1,))}, (2,), (1,))
    assert proven(graph).exact
    assert doubles(graph) == set()


@pytest.mark.parametrize(
    "nodes",
    [
        {"fc": affine([[0.3, 0.1]]), "lif": lif((1,))},
        {"fc": affine([[0.5, 0.5]], bias=0.1), "lif": lif((1,))},
        {"fc": affine([[0.5, 0.5]]), "lif": lif((1,), tau=3.0)},
        {"fc": affine([[0.5, 0.5]]), "lif": lif((1,), r=1 / 3)},
        {"fc": affine([[0.5, 0.5]]), "lif": lif((1,), v_reset=0.1)},
        {"fc": affine([[2.0**20, 2.0**-10]]), "lif": lif((1,))},
        {"fc": affine([[0.5, 0.5]]), "if": nir.IF(*(np.full(1, x, np.float32) for x in (0.3 / DT, 1.0, 0.0)))},
        {"fc": affine([[0.5, 0.5]]), "i": nir.I(np.full(1, 0.3 / DT, np.float32)), "t": nir.Threshold(np.ones(1))},
        {"pool": nir.AvgPool2d(np.array([1, 3]), np.array([1, 3]), np.array([0, 0])), "lif": lif((1, 1, 1))},
    ],
    ids=["weights", "bias", "decay", "gain", "reset", "range", "integrator", "membranes", "a mean"],
)
def test_a_claim_that_the_weights_do_not_bear_out_is_not_believed(nodes):
    shape = (1, 1, 3) if "pool" in nodes else (2,)
    graph = claimed(nodes, shape, (1, 1, 1) if "pool" in nodes else (1,))
    assert doubles(graph) == computing(graph)


@pytest.mark.parametrize("behind", [{}, {"wait": nir.Delay(np.full(1, 2 * DT))}], ids=["output", "delay"])
def test_a_sum_that_needs_more_bits_than_its_terms_is_not_proven(behind):
    terms = {"large": affine([[2.0**20, 2.0**20]]), "small": affine([[2.0**-3, 0.0]])}
    graph = chain({**terms, **behind}, (2,), (1,), certificate=CLAIM, input=REAL)
    meet = next(iter(behind), "output")
    edges = [*(("input", name) for name in terms), *((name, meet) for name in terms)]
    graph.edges = [*edges, *((name, "output") for name in behind)]
    found = proven(from_nir(graph))
    assert set(found.unproven) == {meet}
    graph.edges.remove(("small", meet))
    del graph.nodes["small"]
    graph.edges.remove(("input", "small"))
    assert proven(from_nir(graph)).exact


def test_the_spikes_of_a_lying_file_are_the_references():
    """0.3 + 0.1 is 0.4 in float64, and 0.40000004 > 0.4 in float32."""
    graph = claimed({"fc": affine([[0.3, 0.1]]), "out": nir.Threshold(np.float32([0.4]))}, (2,), (1,), time_steps=1)
    frames = np.ones((1, 2), np.float32)
    assert compare(fast.run_in_batches(graph, frames), reference.run(graph, frames)).exact


def test_other_weights_than_the_files_are_proven_anew():
    graph = claimed({"fc": affine([[0.5, -0.25]]), "lif": lif((1,))}, (2,), (1,))
    fc = graph.nodes["fc"].operation
    other = graph.with_operations({"fc": type(fc)(np.float32([[0.3, 0.1]]), fc.bias)})
    assert doubles(graph) == set()
    assert doubles(other) == computing(other)


def test_nothing_is_proven_where_the_file_does_not_say_what_its_frames_are():
    graph = claimed({"fc": affine([[0.5, -0.25]]), "lif": lif((1,))}, (2,), (1,), input=None)
    assert proven(graph) is None
    assert doubles(graph) == computing(graph)


@pytest.mark.parametrize(
    ("frames", "covered"),
    [
        ([[2.0, -2.0]], True),
        ([[2.25, 0.0]], False),
        ([[0.0, -2.25]], False),
        ([[0.125, 0.0]], False),
        ([[[1.0, 0.25]] * 4], True),
        ([[[1.0, 0.25]] * 3 + [[1.0, 0.5]]], False),
    ],
    ids=["edges", "above", "below", "off the grid", "the same at every step", "another at the last"],
)
def test_a_proof_covers_the_frames_that_it_is_of(frames, covered):
    graph = claimed({"fc": affine([[0.5, -0.25]]), "lif": lif((1,))}, (2,), (1,))
    frames = np.asarray(frames, np.float32)
    assert exact_on(graph, frames, 4) is covered
    assert doubles_on(graph, frames, 4) == (set() if covered else computing(graph))


def test_preprocessing_bounds_the_frames_of_pixels():
    net = small_net()
    net.metadata = {
        "spikeclip": json.dumps(
            {
                **json.loads(net.metadata["spikeclip"]),
                "certificate": CLAIM,
                "preprocessing": {"image_size": 6, "mean": [128.0, 64.0], "std": [64.0, 64.0]},
                "input_bits": 6,
            }
        )
    }
    graph = from_nir(net)
    frames = np.zeros((1, 2, 6, 6), np.float32)
    frames[0, :, 0, 0], frames[0, :, 0, 1] = (-2, -1), (127 / 64, 191 / 64)
    assert exact_on(graph, frames, 4)
    frames[0, 0, 0, 0] = -2 - 1 / 64
    assert not exact_on(graph, frames, 4)


def test_a_map_that_a_matrix_reads_is_flattened_for_the_proof():
    nodes = {
        "conv": conv(np.full((2, 1, 1, 1), 0.5), hw=(2, 3)),
        "lif": lif((2, 2, 3)),
        "flat": nir.Flatten({"input": np.array([2, 2, 3])}, 0, -1),
        "fc": affine(np.full((2, 12), 0.25)),
    }
    graph = claimed(nodes, (1, 2, 3), (2,))
    assert proven(graph).exact
    assert proven(graph).nodes["fc"].bound == 12 * 0.25


def test_biases_of_a_readout_in_float64_are_rounded_once_with_what_they_are_added_to():
    rng = np.random.default_rng(3)

    def fine(*shape):
        return (rng.integers(-(2**12), 2**12, shape) * 2.0**-12).astype(np.float32)

    nodes = {
        "first": nir.Affine(fine(6, 2), fine(6)),
        "lif": lif((6,), threshold=0.25),
        "second": nir.Affine(fine(5, 6), fine(5)),
        "third": nir.Affine(fine(40, 5), fine(40)),
    }
    graph = claimed(nodes, (2,), (40,), time_steps=2)
    frames = (rng.integers(-8, 9, (16, 2)) / 4).astype(np.float32)
    assert proven(graph).exact
    assert doubles(graph) == {"third"}
    assert compare(fast.run_in_batches(graph, frames), reference.run(graph, frames)).output_difference == 0


@pytest.mark.parametrize(("sources", "exact"), [(("a",), True), (("a", "b"), False)])
def test_a_comparison_adds_only_what_several_send_it(sources, exact):
    """Each current needs all 24 bits, `2 (2^20 - 1) + 1` on eighths, and so the sum of two 25."""
    weights = affine([[2.0**20 - 1, 0.5]])
    nodes = {"input": nir.Input(np.array([2])), "a": weights, "b": weights, "t": nir.Threshold(np.ones(1, np.float32))}
    edges = [*((source, "t") for source in sources), ("input", "a"), ("input", "b"), ("t", "output")]
    file = nir.NIRGraph(
        {**nodes, "output": nir.Output(np.array([1]))},
        edges,
        metadata=metadata(1, certificate=CLAIM, input=REAL),
        type_check=False,
    )
    found = proven(from_nir(file)).nodes["t"]
    assert (found.exact, found.bits_needed) == (exact, 0 if exact else 25)


@pytest.mark.parametrize(
    ("value", "time_steps", "covered"),
    [
        (2, 4, True),
        (-2, 4, True),
        (0.25, 4, True),
        (2.25, 4, False),
        (-2.25, 4, False),
        (0.125, 4, False),
        (2, 5, False),
    ],
)
def test_frames_are_covered_up_to_their_bounds_and_on_their_grid(value, time_steps, covered):
    graph = claimed({"fc": affine([[0.5, -0.25]]), "lif": lif((1,))}, (2,), (1,))
    assert exact_on(graph, np.array([[0, value]], np.float32), time_steps) is covered
