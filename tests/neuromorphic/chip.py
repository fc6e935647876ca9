"""Neurons and synapses of the chip in plain Python integers, and small NIR nodes for them."""

import nir
import numpy as np

from neuromorphic.execution import reference
from neuromorphic.execution.fast import run
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from tests.neuromorphic.graphs import DT

LIMIT = 2**23


def neuron(currents, decay, threshold, bias):
    """Spikes and the last v of one neuron, from what it is sent in every step, in Python's integers."""
    v, spikes = 0, []
    for x in currents:
        u = (64 * x) % 2**24
        u -= 2**24 if u > LIMIT else 0
        kept = abs(v) * (4096 - decay) // 4096
        v = max(1 - LIMIT, min(LIMIT - 1, (kept if v >= 0 else -kept) + u + bias))
        spikes.append(v > 64 * threshold)
        v = 0 if spikes[-1] else v
    return spikes, v


def integrate_and_fire(shape, threshold=1.0, r=1.0):
    return nir.IF(np.full(shape, r / DT, np.float32), np.full(shape, threshold, np.float32))


def agree(graph, frames, models):
    """Whether the reference, the fast run and Lava agree on an integer graph, as the reference's trace."""
    expected = reference.run(graph, frames)
    for each in models:
        report = compare(simulate(graph, frames, precision="loihi2", models=each), expected)
        assert report.exact, (each, report.first_mismatch)
    if frames.ndim == len(graph.nodes[graph.input].shape) + 1:
        activity = run(graph, frames, expected.time_steps)
        for name, train in expected.spikes.items():
            assert np.array_equal(train.unpack(), activity.spikes[name]), name
            assert np.array_equal(expected.membranes[name], activity.membranes[name]), name
    return expected


def conv1d(x, weight, stride, padding, groups):
    """`[C, N]` lists of Python's integers, from NIR's equation."""
    per_group, size = len(weight[0]), len(x[0])
    length = (size + 2 * padding - len(weight[0][0])) // stride + 1
    result = []
    for o, kernel in enumerate(weight):
        first = o // (len(weight) // groups) * per_group
        result.append([
            sum(
                w * x[first + c][j * stride - padding + n]
                for c, taps in enumerate(kernel)
                for n, w in enumerate(taps)
                if 0 <= j * stride - padding + n < size
            )
            for j in range(length)
        ])  # fmt: skip
    return result


def whole(array):
    return np.asarray(array).astype(np.int64).tolist()


def fires(population, trains):
    """Spikes `[T][C][N]` and the last v `[C][N]` of a population from what arrives at it `[T][C][N]`."""
    rows, columns = len(trains[0]), len(trains[0][0])
    spikes, last = np.zeros((len(trains), rows, columns), int), np.zeros((rows, columns), int)
    for i, j in np.ndindex(rows, columns):
        threshold, bias = int(population.threshold[i, j]), int(population.bias[i, j])
        spikes[:, i, j], last[i, j] = neuron([x[i][j] for x in trains], population.decay, threshold, bias)
    return spikes.tolist(), last.tolist()
