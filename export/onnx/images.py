"""The input of a model: images as they come from a file, and the frames that the encoder reads."""

import numpy as np
import onnx
from onnx import helper

from export.onnx.builder import Builder
from spikeclip.preprocess import Preprocessing

BATCH = "N"
"""Name of the batch axis, whose length each run chooses."""

INPUT = "images"


def images(preprocessing: Preprocessing) -> onnx.ValueInfoProto:
    """The model's input: uint8 `[N, H, W, C]`, squares of the encoder's size."""
    size = preprocessing.image_size
    return helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, [BATCH, size, size, len(preprocessing.mean)])


def add_frames(builder: Builder, preprocessing: Preprocessing, input_bits: int | None = None) -> str:
    """`x = round(2^b (pixel - mean) / std) / 2^b`, halves to even: `frames.encode`, operation by operation in float32.

    Args:
        builder: gets the operators.
        preprocessing: has mean and std.
        input_bits: b; None for no rounding.

    Returns:
        The name of the frames, float32 `[N, C, H, W]`.
    """
    mean, std = (np.asarray(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    x = builder.cast("input/pixels", INPUT, np.float32)
    x = builder.add("Sub", "input/centred", x, builder.constant("input/mean", mean))
    x = builder.add("Div", "input/scaled", x, builder.constant("input/std", std))
    if input_bits is not None:
        x = builder.add("Mul", "input/steps", x, builder.number(2.0**input_bits))
        x = builder.add("Round", "input/rounded", x)
        x = builder.add("Mul", "input/snapped", x, builder.number(2.0**-input_bits))
    return builder.add("Transpose", "input", x, perm=[0, 3, 1, 2])
