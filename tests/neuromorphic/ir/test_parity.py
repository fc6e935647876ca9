"""The judge: every number that is compared counts, within what is allowed of it."""

from dataclasses import replace

import numpy as np
import pytest

from neuromorphic.ir.metadata import Readout
from neuromorphic.ir.parity import ROUNDING, NumberParity, compare
from neuromorphic.ir.trace import SpikeTrain, Trace


def trace(outputs=((1.0, 2.0), (3.0, -8.0)), readout=None):
    outputs = np.asarray(outputs, np.float32)[None]
    spikes = {"lif": SpikeTrain.pack(np.ones((1, 2, 5), np.bool_))}
    return Trace("reference", "float", spikes, outputs, readout)


def test_equal_runs_agree_in_every_bit():
    report = compare(trace(), trace())
    assert report.exact
    assert str(report.outputs) == "4 compared, equal in every bit"
    assert (report.outputs.compared, report.scores.compared, report.outputs.largest) == (4, 2, 8.0)


def test_a_doubled_readout_is_no_match_though_spikes_and_predictions_are():
    report = compare(trace(2 * trace().outputs[0]), trace())
    assert (report.mismatches, report.predictions_agree) == (0, 1)
    assert (report.outputs.differ, report.outputs.difference, report.outputs.tolerance) == (4, 8.0, 0.0)
    assert not report.exact
    assert report.to_dict()["exact"] is False


@pytest.mark.parametrize(("rounding", "exact"), [(0.0, False), (ROUNDING, True), (1e-8, False)])
def test_the_last_bit_counts_where_outputs_are_proven(rounding, exact):
    near = trace().outputs[0].copy()
    near[0, 0] = np.nextafter(near[0, 0], np.float32(2))
    assert compare(trace(near), trace(), rounding).exact is exact


def test_another_readout_in_the_file_shows_in_the_scores_alone():
    weights = np.array([0.5, 0.5])
    found = trace(readout=Readout(weights, np.array([0.0, 0.25])))
    report = compare(found, trace(readout=Readout(weights, np.array([0.0, 0.0]))))
    assert (report.outputs.differ, report.scores.differ, report.scores.difference) == (0, 1, 0.25)
    assert not report.exact


def test_frames_of_another_preprocessing_are_no_match():
    frames = np.zeros((2, 3), np.float32)
    other = frames + np.float32([0, 0.125, 0])
    report = replace(compare(trace(), trace()), frames=NumberParity.of(other, frames))
    assert (report.frames.compared, report.frames.differ, report.frames.difference) == (6, 2, 0.125)
    assert not report.exact
    assert replace(report, frames=NumberParity.of(frames, frames)).exact


@pytest.mark.parametrize(("difference", "agrees"), [(0.5, True), (0.5000001, False), (float("nan"), False)])
def test_what_is_allowed_is_allowed_to_the_edge_and_what_is_no_number_never(difference, agrees):
    assert NumberParity(1, 1, difference, 0.5, 1.0).agree is agrees


def test_the_difference_is_said_with_what_is_allowed():
    said = str(NumberParity.of(np.array([3.0, 1.0]), np.array([1.0, 1.0]), 0.01))
    assert said == "2 compared, 1 differ, by up to 2 (allowed: 0.01 for rounding); the largest is 1"
