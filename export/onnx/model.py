"""ONNX models: images in, scores out, and on request every spike; with the metadata that a `.nir` has."""

import json
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper

from export.convert import Prepared, prepare
from export.metadata import origin
from export.onnx.builder import Builder
from export.onnx.images import BATCH, INPUT, add_frames, images
from export.onnx.unroll import unroll
from neuromorphic.ir.metadata import KEY
from spikeclip.checkpoint import Checkpoint
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing

FORMAT = "spikeclip-onnx"
LIBRARIES = ("onnx",)


def to_onnx(checkpoint: Checkpoint, spikes: bool = False) -> onnx.ModelProto:
    """The ONNX model of a checkpoint (`build`), exact where its certificate says so.

    Raises:
        RefusedInput: a module that has no lowering, by name, or what `build` refuses.
    """
    return build(prepare(checkpoint), spikes)


def build(prepared: Prepared, spikes: bool = False) -> onnx.ModelProto:
    """`scores = Σ_t w_t y_t + b` of images, with T time steps unrolled; standard operators only.

    The input is `images`, uint8 `[N, H, W, C]`, as they come from a file, squares of the encoder's size.  The output is
    `scores`, float64 `[N, classes]`, or `embedding` where the checkpoint has no labels.

    Args:
        prepared: as `convert.prepare` returns it.
        spikes: whether every population is an output too, under its name in the `.nir`: bool `[N, T, C, H, W]`.

    Raises:
        RefusedInput: a node of the graph has the name of the model's input or output, or the weights are more than
            fit into one file.
    """
    checkpoint, steps = prepared.checkpoint, prepared.certificate.time_steps
    score = "scores" if checkpoint.label_names else "embedding"
    for name in (INPUT, score):
        if name in prepared.graph.nodes:
            raise RefusedInput(f"module {name!r} has the name of the ONNX model's input or output; expected another")
    builder = Builder()
    frames = add_frames(builder, checkpoint.preprocessing, prepared.input_bits)
    unrolled = unroll(builder, prepared.graph, frames, steps)
    time_weights, bias = prepared.model.time_weights.numpy(), prepared.model.bias.numpy()
    _add_scores(builder, score, unrolled.outputs, time_weights, bias)
    outputs = [helper.make_tensor_value_info(score, TensorProto.DOUBLE, [BATCH, len(bias)])]
    for name, fired in unrolled.fired.items() if spikes else ():
        alone = [builder.add("Unsqueeze", f"{s}/step", s, builder.integers(1)) for s in fired]
        builder.add("Concat", name, *alone, axis=1)
        shape = (int(n) for n in prepared.graph.nodes[name].output_type["output"])
        outputs.append(helper.make_tensor_value_info(name, TensorProto.BOOL, [BATCH, steps, *shape]))
    document = {**json.loads(prepared.graph.metadata[KEY]), "format": FORMAT, **origin(checkpoint, *LIBRARIES)}
    return finish(builder, checkpoint.preprocessing, outputs, document)


def finish(
    builder: Builder, preprocessing: Preprocessing, outputs: list[ValueInfoProto], document: dict[str, Any]
) -> onnx.ModelProto:
    """The checked model of images (`Builder.model`), with the producer that its metadata name."""
    producer = document["producer"]
    names = {"producer_name": producer["name"], "producer_version": producer["version"] or ""}
    return builder.model("SpikeCLIP", images(preprocessing), outputs, document, **names)


def _add_scores(
    builder: Builder, name: str, outputs: tuple[str, ...], time_weights: NDArray[np.float64], bias: NDArray[np.float64]
) -> None:
    """`Σ_t w_t y_t + b` in float64: what the metadata of a `.nir` leaves to the host."""
    terms = []
    for t, (y, weight) in enumerate(zip(outputs, time_weights, strict=True)):
        wide = builder.cast(f"{name}/float64.{t}", y, np.float64)
        factor = builder.constant(f"{name}/weight.{t}", weight)
        terms.append(builder.add("Mul", f"{name}/term.{t}", wide, factor))
    builder.add("Sum", name, *terms, builder.constant(f"{name}/bias", bias))
