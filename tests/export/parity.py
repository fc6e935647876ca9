"""Parity of an export: the graph, executed by the reference, against the snapped torch model."""

import numpy as np
import torch

import export
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import encode


def images(prepared, n, seed):
    """Random pixels, and the extremes: black, white and a checkerboard of both."""
    config = prepared.checkpoint.config
    shape = (config.image_size, config.image_size, config.image_channels)
    board = np.indices(shape).sum(0) % 2 * 255
    random = np.random.default_rng(seed).integers(0, 256, (n, *shape))
    return np.concatenate([random, np.stack([np.zeros(shape), np.full(shape, 255), board])]).astype(np.uint8)


def assert_equal(prepared, n=2, seed=0):
    graph = from_nir(prepared.graph)
    pixels = images(prepared, n, seed)
    frames = prepared.encode(pixels)
    np.testing.assert_array_equal(frames, encode(graph, pixels))
    trace, recording = run(graph, frames), export.record(prepared, frames, batch=2)
    assert set(trace.spikes) == set(recording.spikes) == prepared.populations
    for name, train in trace.spikes.items():
        assert recording.spikes[name].shape == train.shape
        np.testing.assert_array_equal(recording.spikes[name].bits, train.bits, err_msg=name)
    np.testing.assert_array_equal(recording.outputs, trace.outputs)
    scores = prepared.model(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(scores, trace.scores, rtol=1e-12, atol=1e-12)  # sums over time, in another order
    return trace
