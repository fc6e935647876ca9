"""Traces survive their file; their comparison finds every difference and names the first."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.metadata import Readout
from neuromorphic.ir.parity import compare
from neuromorphic.ir.trace import SpikeTrain, Trace, growing


def trace_of(spikes: dict, outputs=None) -> Trace:
    images, steps = next(iter(spikes.values())).shape[:2]
    outputs = np.zeros((images, steps, 3), np.float32) if outputs is None else outputs
    return Trace("reference", "float", {n: SpikeTrain.pack(s) for n, s in spikes.items()}, outputs)


@given(arrays(np.bool_, array_shapes(min_dims=3, max_dims=5, max_side=7)))
def test_packing_loses_nothing(spikes):
    train = SpikeTrain.pack(spikes)
    np.testing.assert_array_equal(train.unpack(), spikes)
    assert train.count() == int(spikes.sum())
    assert train.neurons == int(np.prod(spikes.shape[2:]))


@given(st.data())
def test_mismatches_equal_a_plain_comparison(data):
    shape = data.draw(array_shapes(min_dims=3, max_dims=4, max_side=5))
    first = {n: data.draw(arrays(np.bool_, shape)) for n in ("near", "far")}
    second = {n: data.draw(arrays(np.bool_, shape)) for n in ("near", "far")}
    report = compare(trace_of(first), trace_of(second))
    for name in first:
        assert report.nodes[name].mismatches == int((first[name] != second[name]).sum())
        assert report.nodes[name].compared == first[name].size
    places = [
        (image, step, order, name, index)
        for order, name in enumerate(first)
        for image, step, *index in np.argwhere(first[name] != second[name]).tolist()
    ]
    if not places:
        assert report.exact
        assert report.first_mismatch is None
        return
    image, step, _, name, index = min(places)
    found = report.first_mismatch
    assert (found.image, found.step, found.node, list(found.index)) == (image, step, name, index)
    assert found.found == first[name][image, step, *index]
    assert found.expected == second[name][image, step, *index]
    assert not report.exact


def test_a_different_prediction_alone_is_no_parity():
    spikes = {"a": np.zeros((1, 2, 4), np.bool_)}
    outputs = np.zeros((1, 2, 3), np.float32)
    outputs[0, 1, 2] = 1
    report = compare(trace_of(spikes), trace_of(spikes, outputs))
    assert (report.mismatches, report.predictions_agree, report.exact) == (0, 0, False)
    assert report.output_difference == 1.0


def test_the_report_is_json_with_the_promised_keys():
    spikes = {"a": np.zeros((2, 2, 4), np.bool_)}
    changed = {"a": spikes["a"].copy()}
    changed["a"][1, 0, 3] = True
    report = compare(trace_of(changed), trace_of(spikes)).to_dict()
    assert report["nodes"] == {
        "a": {"compared": 16, "mismatches": 1, "membranes_compared": 0, "membrane_mismatches": 0}
    }
    assert report["first_mismatch"] == {
        "image": 1,
        "step": 0,
        "node": "a",
        "index": [3],
        "expected": False,
        "found": True,
    }
    assert {"exact", "images", "spikes_compared", "mismatches"} <= set(report)


def test_a_trace_survives_its_file(tmp_path):
    rng = np.random.default_rng(0)
    trace = trace_of(
        {"z.lif": rng.random((3, 4, 2, 5, 5)) < 0.3, "a.lif": rng.random((3, 4, 7)) < 0.3},
        rng.normal(size=(3, 4, 6)).astype("f4"),
    )
    trace.write(tmp_path / "run.h5")
    back = Trace.read(tmp_path / "run.h5")
    assert list(back.spikes) == ["z.lif", "a.lif"]
    assert compare(back, trace).exact
    np.testing.assert_array_equal(back.outputs, trace.outputs)
    assert (back.producer, back.precision, back.time_steps) == ("reference", "float", 4)
    assert list(tmp_path.iterdir()) == [tmp_path / "run.h5"]


def test_a_file_grows_by_parts_into_the_trace_of_all_images(tmp_path):
    rng = np.random.default_rng(0)
    trace = trace_of({"z": rng.random((37, 2, 2, 5)) < 0.3, "a": rng.random((37, 2, 7)) < 0.3})
    trace = replace(trace, membranes={"z": rng.integers(-9, 9, (37, 2, 5), np.int32), "a": np.zeros((37, 7), np.int32)})
    trace.write(tmp_path / "whole.h5")
    with growing(tmp_path / "parts.h5") as add:
        for images in (slice(0, 3), slice(3, 30), slice(30, 37)):
            add(Trace.read(tmp_path / "whole.h5", images))
    for back in (Trace.read(tmp_path / "whole.h5"), Trace.read(tmp_path / "parts.h5")):
        report = compare(back, trace)
        assert (report.exact, report.membranes_compared) == (True, 37 * 17)
        assert list(back.spikes) == ["z", "a"]
    assert (tmp_path / "parts.h5").stat().st_size < 100_000  # what was set aside is given back


def test_what_fails_while_a_file_grows_leaves_nothing(tmp_path):
    def fail():
        with growing(tmp_path / "run.h5") as add:
            add(trace_of({"a": np.zeros((20, 2, 4), np.bool_)}))
            raise RefusedInput("later")

    with pytest.raises(RefusedInput, match="later"):
        fail()
    assert not list(tmp_path.iterdir())


def with_readout(weights, bias):
    spikes = {"a": SpikeTrain.pack(np.zeros((2, 3, 4), np.bool_))}
    outputs = np.arange(12, dtype=np.float32).reshape(2, 3, 2) ** 2
    return Trace("torch", "float", spikes, outputs, Readout(np.array(weights, np.float64), np.array(bias, np.float64)))


def test_scores_weigh_the_steps_and_add_the_bias():
    trace = with_readout([1.0, -0.5, 0.25], [0.0, -7.5])
    # Of image 0, the outputs are (0, 1), (4, 9), (16, 25); of image 1, (36, 49), (64, 81), (100, 121).
    np.testing.assert_array_equal(trace.scores, [[2.0, 2.75 - 7.5], [29.0, 38.75 - 7.5]])
    assert trace.predictions.tolist() == [0, 1]
    assert with_readout([1.0, -0.5, 0.25], []).predictions.tolist() == [1, 1]


def test_without_a_readout_scores_are_means():
    outputs = np.array([[[1, 5], [3, 0]]], np.float32)
    trace = trace_of({"a": np.zeros((1, 2, 4), np.bool_)}, outputs)
    np.testing.assert_array_equal(trace.scores, [[2.0, 2.5]])


@pytest.mark.parametrize("bias", [[], [0.1, 0.2]])
def test_the_readout_survives_the_file(tmp_path, bias):
    trace = with_readout([0.1, 0.2, 0.7], bias)
    trace.write(tmp_path / "run.h5")
    back = Trace.read(tmp_path / "run.h5")
    np.testing.assert_array_equal(back.scores, trace.scores)
    np.testing.assert_array_equal(back.readout.time_weights, [0.1, 0.2, 0.7])


@pytest.mark.parametrize(("weights", "bias"), [([1.0, 2.0], []), ([1.0, 2.0, 3.0], [1.0])])
def test_a_readout_that_does_not_fit_its_outputs_is_refused(tmp_path, weights, bias):
    with_readout(weights, bias).write(tmp_path / "run.h5")
    with pytest.raises(RefusedInput, match="readout"):
        Trace.read(tmp_path / "run.h5")


def test_traces_of_different_graphs_or_runs_are_refused():
    one = trace_of({"a": np.zeros((1, 2, 4), np.bool_)})
    with pytest.raises(RefusedInput, match="different graphs"):
        compare(one, trace_of({"b": np.zeros((1, 2, 4), np.bool_)}))
    with pytest.raises(RefusedInput, match="different runs"):
        compare(one, trace_of({"a": np.zeros((1, 3, 4), np.bool_)}))
    with pytest.raises(RefusedInput, match="shape"):
        compare(one, trace_of({"a": np.zeros((1, 2, 5), np.bool_)}))


def test_files_that_are_no_trace_are_refused(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("no")
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.attrs["format_version"] = 99
    for path in (text, other, tmp_path / "missing.h5"):
        with pytest.raises(RefusedInput, match=path.name):
            Trace.read(path)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "run.h5"
    trace_of({"a": np.ones((2, 3, 12), np.bool_)}).write(path)
    return path


def test_a_trace_that_links_into_another_file_is_refused(written, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.zeros((2, 3, 2), np.uint8)
    with h5py.File(written, "r+") as file:
        del file["spikes/a"]
        file["spikes/a"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/a")
    with pytest.raises(RefusedInput, match="link into another file"):
        Trace.read(written)


@pytest.mark.parametrize(
    ("bits", "shape"),
    [
        (np.zeros((2, 3, 1), np.uint8), (12,)),  # a byte too few
        (np.zeros((2, 4, 2), np.uint8), (12,)),  # a step too many
        (np.zeros((2, 3, 2), np.float32), (12,)),
        (np.zeros((2, 3, 2), np.uint8), (100,)),
    ],
)
def test_bits_that_do_not_fit_are_refused(written, bits, shape):
    with h5py.File(written, "r+") as file:
        del file["spikes/a"]
        file["spikes"].create_dataset("a", data=bits).attrs["shape"] = shape
    with pytest.raises(RefusedInput, match=r"run\.h5: node 'a'"):
        Trace.read(written)


@pytest.mark.parametrize(("neurons", "bit"), [(3, 4), (3, 0), (13, 2)])
def test_a_trace_with_spikes_of_no_neuron_is_refused(tmp_path, neurons, bit):
    """Spikes are counted in packed bits, of which the last byte may have more than there are neurons."""
    spikes = {"n": SpikeTrain.pack(np.ones((2, 4, neurons), np.bool_))}
    Trace("reference", "float", spikes, np.zeros((2, 4, 1), np.float32)).write(tmp_path / "run.h5")
    assert Trace.read(tmp_path / "run.h5").spikes["n"].count() == 2 * 4 * neurons
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file["spikes/n"][1, 2, -1] |= 1 << bit
    with pytest.raises(RefusedInput, match="node 'n' has bits behind its last neuron"):
        Trace.read(tmp_path / "run.h5")


def test_a_trace_without_its_parts_is_refused(written):
    with h5py.File(written, "r+") as file:
        del file["outputs"]
    with pytest.raises(RefusedInput, match="not a readable trace"):
        Trace.read(written)
