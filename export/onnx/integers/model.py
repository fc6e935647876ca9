"""ONNX models of integers: frames or images in, sums and spikes out, and not one operator of floats."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, ValueInfoProto, helper

from export.onnx.builder import Builder, write
from export.onnx.images import BATCH
from export.onnx.integers.supported import FRAMES, IMAGES, OUTPUTS, refusals
from export.onnx.integers.unroll import unroll
from export.onnx.integers.values import Value, number
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.reading.frames import encode, image_size

FORMAT = "spikeclip-onnx-integers"


def build(graph: Graph, spikes: bool = False) -> onnx.ModelProto:
    """A graph in the chip's integers, its T time steps unrolled; standard operators of integers only.

    The input is `images`, uint8 `[N, H, W, C]`, where the metadata say how frames are made of them; else `frames`, int8
    `[N, T, *input shape]`, one per time step.  The output is `outputs`, int64 `[N, T, *output shape]`, of which the
    metadata's readout makes scores.

    Args:
        graph: of integers.
        spikes: whether every population is an output too, under its name, bool `[N, T, *shape]`, and its membranes
            after the last step, under its name with `/membranes`, int32 `[N, *shape]`.

    Raises:
        RefusedInput: with all reasons of `refusals`; or the images' frames are no bytes; or as of `Builder.model`.
    """
    if reasons := refusals(graph):
        raise RefusedInput("; ".join(reasons))
    steps = graph.metadata.time_steps or 1
    builder = Builder()
    read = _frames if graph.metadata.preprocessing is None else _images
    given, frames, first = read(builder, graph, steps)
    run = unroll(builder, graph, frames, _silence(builder, first))
    shape = graph.nodes[graph.output].shape
    wide = [builder.cast(f"{OUTPUTS}/wide.{t}", value.name, np.int64) for t, value in enumerate(run.outputs)]
    outputs = [_stacked(builder, OUTPUTS, wide, TensorProto.INT64, shape)]
    for node in graph.populations if spikes else ():
        neurons = run.neurons[node.name]
        outputs.append(_stacked(builder, node.name, neurons.fired, TensorProto.BOOL, node.shape))
        left = builder.add("Identity", f"{node.name}/membranes", neurons.v)
        outputs.append(helper.make_tensor_value_info(left, TensorProto.INT32, [BATCH, *node.shape]))
    return builder.model("integers", given, outputs, _document(graph), producer_name="spikeclip")


def save(graph: Graph, path: Path) -> None:
    """Write the model of `graph`, every spike and membrane among its outputs, to `path`, whole or not at all."""
    write(build(graph, spikes=True), path)


def _images(builder: Builder, graph: Graph, steps: int) -> tuple[ValueInfoProto, list[Value], str]:
    """`frame = table[channel][pixel]`: what `reading.frames.encode` makes of every level, looked up."""
    size, channels = image_size(graph), graph.nodes[graph.input].shape[0]
    levels = np.arange(256, dtype=np.uint8)[:, None, None, None]
    table = encode(graph, np.broadcast_to(levels, (256, size, size, channels)))[:, :, 0, 0].T
    if (table != np.rint(table)).any() or table.min() < -128 or table.max() > 127:
        raise RefusedInput(f"{graph.source}: frames of its images are no integers of -128 to 127")
    pixels = builder.cast("input/pixels", IMAGES, np.int32)
    planes = builder.add("Transpose", "input/planes", pixels, perm=[0, 3, 1, 2])
    offsets = builder.constant("input/rows", 256 * np.arange(channels, dtype=np.int32)[:, None, None])
    index = builder.add("Add", "input/index", planes, offsets)
    found = builder.add(
        "Gather", "input/frames", builder.constant("input/table", table.reshape(-1).astype(np.int32)), index
    )
    value = Value(found, np.int32, int(table.min()), int(table.max()))
    given = helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, [BATCH, size, size, channels])
    return given, [value] * steps, planes


def _frames(builder: Builder, graph: Graph, steps: int) -> tuple[ValueInfoProto, list[Value], str]:
    """One frame per time step."""
    shape = graph.nodes[graph.input].shape
    wide = builder.cast("input/wide", FRAMES, np.int32)
    names = [f"input/frame.{t}" for t in range(steps)]
    parts = builder.split(names, wide, axis=1) if steps > 1 else [wide]
    flat = [
        builder.add("Reshape", f"input/frame.{t}/alone", part, builder.integers(-1, *shape))
        for t, part in enumerate(parts)
    ]
    given = helper.make_tensor_value_info(FRAMES, TensorProto.INT8, [BATCH, steps, *shape])
    return given, [Value(name, np.int32, -128, 127) for name in flat], wide


def _silence(builder: Builder, first: str) -> str:
    """int32 `[N, 1]` of zeros, N that of the tensor `first` of int32."""
    flat = builder.add("Flatten", "input/flat", first, axis=1)
    column = builder.add("Slice", "input/column", flat, *(builder.integers(n) for n in (0, 1, 1)))
    return builder.add("Mul", "input/silence", column, number(builder, 0, np.int32))


def _stacked(
    builder: Builder, name: str, steps: list[str], kind: TensorProto.DataType, shape: tuple[int, ...]
) -> ValueInfoProto:
    """An output `[N, T, *shape]` of what happened in each step."""
    alone = [builder.add("Unsqueeze", f"{name}/step.{t}", s, builder.integers(1)) for t, s in enumerate(steps)]
    builder.add("Concat", name, *alone, axis=1)
    return helper.make_tensor_value_info(name, kind, [BATCH, len(steps), *shape])


def _document(graph: Graph) -> dict[str, Any]:
    """The metadata of the model."""
    metadata = graph.metadata
    document = {**metadata.document, "format": FORMAT, "time_steps": metadata.time_steps, "dt": metadata.dt}
    if metadata.readout is not None:
        readout = metadata.readout
        document["readout"] = {"time_weights": readout.time_weights.tolist(), "bias": readout.bias.tolist()}
    return document
