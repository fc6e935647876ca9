"""Parity of a user's module: its own code, with the graph's numbers, against a trace of the graph."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from export.frontend.door import PreparedModule
from export.frontend.recording import ModuleRecording
from neuromorphic.ir.parity import ROUNDING, NumberParity, ParityReport, compare
from neuromorphic.ir.trace import Trace
from spikeclip.errors import RefusedInput

SINGLE = 1e-6
"""The error of rounding sums of a few numbers to float32, relative to the largest."""


def compare_module(prepared: PreparedModule, trace: Trace, recording: ModuleRecording) -> ParityReport:
    """Compare every spike of the module's neurons, and what it returns, with a trace of its graph.

    Gates between the neurons, which no module computes by itself, are compared by what they cause.

    Args:
        prepared: the module.
        trace: of its graph on some frames.
        recording: of the module on the same frames.

    Raises:
        RefusedInput: the trace is of another graph, or of other frames.
    """
    missing = sorted(set(recording.spikes) - set(trace.spikes))
    if missing:
        raise RefusedInput(f"the trace has no population {missing[0]!r}; expected one of the module's own graph")
    names = [name for name in trace.spikes if name in recording.spikes]
    common = replace(trace, spikes={name: trace.spikes[name] for name in names}, membranes=None)
    expected, found = _results(prepared, recording), _returned(prepared, trace)
    if expected.shape != found.shape:
        raise RefusedInput(f"the module returns {list(expected.shape)}; the trace holds {list(found.shape)}")
    own = replace(common, producer="torch", spikes={name: recording.spikes[name] for name in names})
    report = compare(common, own)
    same = (expected.argmax(1) == found.argmax(1)).sum()
    # A trace rounds outputs to float32 once per step, which the module's float64 shows.
    numbers = NumberParity.of(found, expected, SINGLE if prepared.certificate.exact else ROUNDING)
    return replace(report, outputs=numbers, scores=numbers, predictions_agree=int(same))


def _results(prepared: PreparedModule, recording: ModuleRecording) -> NDArray[np.float64]:
    """The results of the module: `[images, ...]`, of every time step or of their sum."""
    result = recording.result if prepared.readout is not None else recording.result.swapaxes(0, 1)
    return result.reshape(len(result), -1)


def _returned(prepared: PreparedModule, trace: Trace) -> NDArray[np.float64]:
    """The results that the trace holds: `[images, ...]`, as `_results` arranges them."""
    if prepared.readout is None:
        return trace.outputs.astype(np.float64).reshape(len(trace.outputs), -1)
    return prepared.readout.scores(trace.outputs)
