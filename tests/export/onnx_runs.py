"""ONNX models in ONNX Runtime, and what their spikes and scores should be."""

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper

import export
from export.onnx.builder import Builder
from export.onnx.model import finish
from spikeclip.preprocess import Preprocessing


def run(model, images, optimised=True, threads=1):
    """All outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 2  # warnings are shown; a clean model causes none
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images}), strict=True))


def assert_equal(prepared, model, images, trace, optimised=True, threads=1):
    """Every spike of the reference's trace, and scores summed over time as it sums them."""
    found = run(model, images, optimised, threads)
    assert set(found) == {"scores", *trace.spikes}
    for name, train in trace.spikes.items():
        expected = np.unpackbits(train.bits, axis=-1, count=int(np.prod(train.shape)))
        assert found[name].dtype == np.bool_
        np.testing.assert_array_equal(found[name], expected.reshape(found[name].shape), err_msg=name)
    np.testing.assert_array_equal(found["scores"], trace.scores)
    scores = prepared.model(torch.from_numpy(prepared.encode(images))).numpy()
    np.testing.assert_array_equal(found["scores"].argmax(1), scores.argmax(1))


def assert_recorded(prepared, model, images, optimised=True, threads=1):
    """Every spike and every prediction of the snapped torch model; returns how many spikes were compared."""
    frames = prepared.encode(images)
    recording, scores = export.record(prepared, frames), prepared.model(torch.from_numpy(frames)).numpy()
    found = run(model, images, optimised, threads)
    for name, train in recording.spikes.items():
        np.testing.assert_array_equal(found[name], train.unpack(), err_msg=name)
    np.testing.assert_array_equal(found["scores"].argmax(1), scores.argmax(1))
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-12, atol=1e-12)
    return sum(found[name].size for name in recording.spikes)


def run_operators(add, size=2, channels=1, dtype=TensorProto.FLOAT, rank=4):
    """Runs what `add(builder)` adds and returns the value of the tensor whose name it returns, for images.

    The model reads images of `size` pixels and `channels`; constants are what else `add` reads.
    """
    builder = Builder()
    name = add(builder)
    output = helper.make_tensor_value_info(name, dtype, [None] * rank)
    preprocessing = Preprocessing(size, (0.0,) * channels, (1.0,) * channels)
    document = {"producer": {"name": "test", "version": None}}
    model = finish(builder, preprocessing, [output], document)
    return lambda images: run(model, images)[name]
