"""The ANN twin as an ONNX model: what an encoder is compared with, for any runtime, and for others to count.

Operators that multiply are named after the layers of the twin's table (`spikeclip.twin.twin_table`).  The twin computes
in floats like every conventional network: runtimes agree up to rounding.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.metadata import origin
from export.onnx.builder import Builder
from export.onnx.images import BATCH, add_frames
from export.onnx.model import LIBRARIES, finish
from neuromorphic.ir.metadata import FORMAT_VERSION
from spikeclip.checkpoint import check_labels
from spikeclip.labels import LabelSet
from spikeclip.twin import heads, twin_table
from spikeclip.twin_checkpoint import TwinCheckpoint

FORMAT = "spikeclip-twin-onnx"


def twin_to_onnx(twin: TwinCheckpoint, labels: LabelSet | None = None) -> onnx.ModelProto:
    """`embedding = head(norm(mean_tokens(block(norm(stem(image))))))`, or `scores = L embedding` of labels L.

    The input is `images`, uint8 `[N, H, W, C]`, as in `model.to_onnx`.  The output is `embedding`, float32
    `[N, embedding_width]`, or `scores`, float32 `[N, classes]`: with the label vectors that the twin was trained with,
    folded into its head, and without the cosine's division by the embedding's length, which changes no prediction.

    Raises:
        RefusedInput: labels of another width, or more weights than fit into one file.
    """
    head, outputs = twin.model.head, twin.config.embedding_width
    weight, bias = _double(head.weight), _double(head.bias)
    if labels is not None:
        check_labels(twin.path or "twin", twin.config, twin.card, labels)
        vectors = labels.compared(twin.cosine)
        weight, bias, outputs = vectors @ weight, vectors @ bias, len(vectors)
    builder = Builder()
    lowering = _Lowering(builder, twin)
    frames = add_frames(builder, twin.preprocessing)
    mean = builder.add("ReduceMean", "mean", lowering.blocks(lowering.stem(frames)), builder.integers(1), keepdims=0)
    name = "embedding" if labels is None else "scores"
    _linear(builder, "head", weight, bias, lowering.norm("post_norm", mean), name)
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "preprocessing": twin.preprocessing.to_dict(),
        "label_names": [] if labels is None else list(labels.names),
        "cosines": {"scale": twin.scale, "centred": twin.centred},
        "twin": twin_table(twin.config, outputs),
        **origin(twin, *LIBRARIES),
    }
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, outputs])
    return finish(builder, twin.preprocessing, [output], document)


class _Lowering:
    """The twin, part by part: each method adds the operators of one and returns the name of its output.

    Attributes:
        builder: gets the operators.
        twin: has the weights.
        linears: its linear layers, by name.
        norms: its layer normalisations, by name.
    """

    def __init__(self, builder: Builder, twin: TwinCheckpoint) -> None:
        self.builder, self.twin = builder, twin
        modules = dict(twin.model.named_modules())
        self.linears = {name: module for name, module in modules.items() if isinstance(module, nn.Linear)}
        self.norms = {name: module for name, module in modules.items() if isinstance(module, nn.LayerNorm)}

    def stem(self, x: str) -> str:
        """Convolutions with their normalisations folded in: `[N, C, H, W]` to `[N, D, H / 4, W / 4]`."""
        add = self.builder.add
        window: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        modules = list(copy.deepcopy(self.twin.model.get_submodule("stem")).modules())
        convs = [module for module in modules if isinstance(module, nn.Conv2d)]
        norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        for i, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
            if i in self.twin.config.stem_pools:
                x = add("MaxPool", f"stem.{i}.pool", x, strides=[2, 2], **window)
            folded = fuse_conv_bn_eval(conv.double(), norm.double()).float()
            name = f"stem.{i}.conv"
            x = add("Conv", name, x, *self._constants(name, folded), **window)
        return x

    def blocks(self, x: str) -> str:
        """`block(norm(tokens))`: `[N, D, H, W]` to `[N, H W, D]`."""
        add, config = self.builder.add, self.twin.config
        flat = add("Reshape", "tokens/flat", x, self.builder.integers(0, config.width, -1))
        x = self.norm("pre_norm", add("Transpose", "tokens", flat, perm=[0, 2, 1]))
        for i in range(config.depth):
            name = f"block.{i}"
            x = add("Add", f"{name}.attn", x, self.attention(f"{name}.attn", self.norm(f"{name}.attn_norm", x)))
            x = add("Add", f"{name}.mlp", x, self.mlp(f"{name}.mlp", self.norm(f"{name}.mlp_norm", x)))
        return x

    def attention(self, name: str, x: str) -> str:
        """`out(softmax(Q Kᵀ / sqrt(d)) V)` per head of d channels."""
        add, shape, config = self.builder.add, self.builder.integers, self.twin.config
        count = heads(config)
        width = config.width // count
        split = []
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            by_head = add(
                "Reshape", f"{name}.{part}/heads", self.linear(f"{name}.{part}", x), shape(0, -1, count, width)
            )
            split.append(add("Transpose", f"{name}.{part}/ordered", by_head, perm=order))
        q, k, v = split
        scaled = add("Mul", f"{name}.q/scaled", q, self.builder.number(width**-0.5))
        weights = add("Softmax", f"{name}.softmax", add("MatMul", f"{name}.scores", scaled, k), axis=-1)
        tokens = add("Transpose", f"{name}.mix/ordered", add("MatMul", f"{name}.mix", weights, v), perm=[0, 2, 1, 3])
        return self.linear(f"{name}.out", add("Reshape", f"{name}.mix/joined", tokens, shape(0, -1, config.width)))

    def mlp(self, name: str, x: str) -> str:
        """`proj(a)` with `a = h · sigmoid(1.702 h)` of `h = hidden(x)`."""
        add, hidden = self.builder.add, self.linear(f"{name}.hidden", x)
        gate = add(
            "Sigmoid", f"{name}.gelu/gate", add("Mul", f"{name}.gelu/scaled", hidden, self.builder.number(1.702))
        )
        return self.linear(f"{name}.proj", add("Mul", f"{name}.gelu", hidden, gate))

    def norm(self, name: str, x: str) -> str:
        """The layer normalisation of that name."""
        norm = self.norms[name]
        return self.builder.add("LayerNormalization", name, x, *self._constants(name, norm), axis=-1, epsilon=norm.eps)

    def linear(self, name: str, x: str) -> str:
        """The linear layer of that name."""
        linear = self.linears[name]
        return _linear(self.builder, name, _double(linear.weight), _double(linear.bias), x, f"{name}/biased")

    def _constants(self, name: str, module: nn.Module) -> Iterator[str]:
        for part in ("weight", "bias"):
            yield self.builder.constant(f"{name}.{part}", module.get_parameter(part).detach().numpy())


def _linear(
    builder: Builder, name: str, weight: NDArray[np.float64], bias: NDArray[np.float64], x: str, output: str
) -> str:
    """`x Wᵀ + b`: a product that is called `name`, and an addition that returns `output`."""
    transposed = builder.constant(f"{name}.weight", weight.T.astype(np.float32))
    product = builder.add("MatMul", name, x, transposed)
    return builder.add("Add", output, product, builder.constant(f"{name}.bias", bias.astype(np.float32)))


def _double(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().double().numpy())
