"""Times and units of spikes in HDF5, laid out as the Spiking Heidelberg Digits are: steps, labels, what is refused."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.events import find_recordings, parse_bin
from neuromorphic.reading.frames import FrameOptions, find_frames
from tests.neuromorphic.graphs import chain, lif

UNITS, NAMES = 12, ("null", "eins", "zwei")


def digits(path: Path, samples, labels=None, names=NAMES) -> Path:
    """A file of samples [(times, units)], in the types of shd_train.h5."""
    with h5py.File(path, "w") as file:
        for place, (key, kind) in enumerate((("times", np.float16), ("units", np.uint16))):
            rows = file.create_dataset(f"spikes/{key}", (len(samples),), h5py.vlen_dtype(kind))
            for n, sample in enumerate(samples):
                rows[n] = np.asarray(sample[place], kind)
        if labels is not None:
            file["labels"] = np.asarray(labels, np.uint16)
            file["extra/keys"] = np.asarray(names, "S10")
            file["extra/speaker"] = np.zeros(len(samples), np.uint16)
            file["extra/meta_info/gender"] = np.asarray(["f", "m"], "S10")
    return path


def graph_of(*shape):
    graph = from_nir(chain({"lif": lif(shape)}, shape, shape))
    return replace(graph, metadata=replace(graph.metadata, time_steps=None))


def test_spikes_are_counted_one_at_a_time_from_time_zero(tmp_path):
    rng = np.random.default_rng(3)
    samples = [(np.sort(rng.random(n)).astype(np.float16), rng.integers(0, UNITS, n)) for n in (90, 0, 17)]
    path = digits(tmp_path / "shd_test.h5", samples, [2, 0, 1])
    found = find_frames(graph_of(UNITS), path, FrameOptions(bin=parse_bin("125ms"), time_steps=9))
    expected = np.zeros((3, 9, UNITS), int)
    for n, (times, units) in enumerate(samples):
        for t, unit in zip(times.tolist(), units.tolist(), strict=True):
            expected[n, int(t / 0.125), unit] += 1
    np.testing.assert_array_equal(found.values, expected)
    assert expected.max() > 1
    assert found.kind == "counts"
    assert (found.labels.tolist(), found.label_names) == ([2, 0, 1], NAMES)
    assert found.names == ("shd_test/0", "shd_test/1", "shd_test/2")


def test_whole_times_are_seconds_and_a_late_first_spike_leaves_steps_before_it(tmp_path):
    path = digits(tmp_path / "a.h5", [([2.0, 3.0], [0, 4])])
    found = find_frames(graph_of(UNITS), path, FrameOptions(bin=parse_bin("500ms")))
    assert np.argwhere(found.values).tolist() == [[0, 4, 0], [0, 6, 4]]
    assert (found.kind, found.labels) == ("spikes", None)


def test_the_first_samples_are_read_only(tmp_path):
    path = digits(tmp_path / "a.h5", [([0.5], [1]), ([0.25], [2]), ([-1.0], [0])], [0, 1, 2])
    source = find_recordings(path, 2)
    assert (len(source.recordings), source.labels.tolist()) == (2, [0, 1])


@pytest.mark.parametrize(
    ("samples", "labels", "says"),
    [
        ([([-0.5], [0])], [0], "sample 0: an event at -0.5; expected times from 0"),
        ([([np.nan], [0])], [0], "sample 0: times of its events are not finite"),
        ([([0.0, 0.1], [0])], [0], r"sample 0: events have x \[1\], t \[2\]"),
        ([([0.0], [0])], [3], r"a label is 3 \(sample 0\); extra/keys has 3 names"),
        ([([0.0], [0])], [0, 1], r"labels are uint16 \[2\]; expected integers \[1\]"),
        ([([0.0], [UNITS])], [0], "column 12; the input has 1 rows and 12 columns"),
        ([([], [])], [0], "holds no events"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, samples, labels, says):
    path = digits(tmp_path / "a.h5", samples, labels)
    with pytest.raises(RefusedInput, match=says) as caught:
        find_frames(graph_of(UNITS), path, FrameOptions(bin=parse_bin("1ms")))
    assert str(caught.value).startswith(str(path))


def test_other_rows_and_other_files_are_refused(tmp_path):
    path = digits(tmp_path / "a.h5", [([0.0], [0]), ([0.0], [0])])
    with h5py.File(path, "a") as file:
        del file["spikes/units"]
        file["spikes/units"] = np.zeros((2, 3))
    with pytest.raises(RefusedInput, match=r"spikes/units is .*; expected a row of numbers for each sample"):
        find_recordings(path)
    with h5py.File(path, "a") as file:
        del file["spikes/units"]
        file.create_dataset("spikes/units", (1,), h5py.vlen_dtype(np.uint16))
    with pytest.raises(RefusedInput, match="2 rows of spikes/times, 1 of spikes/units"):
        find_recordings(path)
    with h5py.File(path, "a") as file:
        file["more"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "/x")
    with pytest.raises(RefusedInput, match="/more is a link into another file"):
        find_recordings(path)


def test_frames_need_no_bin_and_trains_do(tmp_path):
    path = digits(tmp_path / "a.h5", [([0.0], [0])])
    with pytest.raises(RefusedInput, match="holds events; expected the time that a step takes"):
        find_frames(graph_of(UNITS), path)


def test_rows_of_any_length_are_refused_elsewhere(tmp_path):
    from neuromorphic.ir.hdf5 import survey

    path = digits(tmp_path / "a.h5", [([0.0], [0])])
    with h5py.File(path) as file, pytest.raises(RefusedInput, match="/spikes/times has the type"):
        survey(file, path)
