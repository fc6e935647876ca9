"""Synapses without windows: matrices, and factors element by element."""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Self, final

import nir
import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.errors import RefusedInput
from neuromorphic.ops.dyadic import fraction_bits
from neuromorphic.ops.operation import Biased, Weighted
from neuromorphic.ops.parameters import finite, per_channel
from neuromorphic.ops.types import (
    Conventions,
    Float32,
    Float64,
    Int64,
    Interval,
    Kernel,
    Kind,
    Mask,
    Shape,
    Shapes,
    Typed,
)
from neuromorphic.ops.widths import WEIGHT_EXPONENT


@final
@dataclass(frozen=True)
class Affine(Biased):
    """`y = W x + b`, W float32 `[out, in]`, b float32 `[out]`; x is flattened, whatever the shape of the input."""

    nir_types: ClassVar = (nir.Affine, nir.Linear)
    kind: ClassVar[Kind] = "linear"
    largest_exponent: ClassVar = WEIGHT_EXPONENT

    @classmethod
    def read(cls, node: nir.Affine | nir.Linear, shape: Shape, where: str, given: Conventions) -> Typed:
        weight = finite(node.weight, "weight", where)
        while weight.ndim > 2 and len(weight) == 1:  # a batch's axis
            weight = weight[0]
        if weight.ndim != 2 or weight.shape[1] != prod(shape):
            raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; its input has {list(shape)}")
        given_bias = node.bias if isinstance(node, nir.Affine) else 0.0
        bias = per_channel(given_bias, len(weight), "bias", where)
        out = (len(weight),)
        return Typed(cls(weight, bias), Shapes((weight.shape[1],), out), out)

    def write(self, shapes: Shapes, dt: float, like: nir.NIRNode | None = None) -> nir.NIRNode:
        """An `Affine`; or a `Linear` where there is no bias, unless `like` is an `Affine`."""
        if self.bias.any() or isinstance(like, nir.Affine):
            return nir.Affine(self.weight, self.bias)
        return nir.Linear(self.weight)

    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        return np.asarray(x @ self.weight.T.astype(np.float64) + self.bias)

    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        transposed = np.ascontiguousarray(self.weight.T, dtype=dtype)
        return lambda x: np.asarray(x.astype(transposed.dtype, copy=False) @ transposed)

    def fan_out(self, shapes: Shapes) -> Int64:
        return np.full(shapes.input, len(self.weight), np.int64)

    def taps(self, shapes: Shapes) -> int:
        return int(self.weight.size)

    def reached(self, arriving: Mask, shapes: Shapes) -> Mask:
        return np.broadcast_to(arriving.any(-1, keepdims=True), (*arriving.shape[:2], *shapes.output)).copy()


@final
@dataclass(frozen=True)
class Scale(Weighted):
    """`y = s x`, element by element; s is float32 of the node's shape."""

    nir_types: ClassVar = (nir.Scale,)
    kind: ClassVar[Kind] = "scale"
    weighs: ClassVar = "spikes"
    largest_exponent: ClassVar = WEIGHT_EXPONENT

    scale: Float32

    @classmethod
    def read(cls, node: nir.Scale, shape: Shape, where: str, given: Conventions) -> Typed:
        scale = finite(node.scale, "scale", where)
        if scale.size != 1 and scale.shape != shape:
            raise RefusedInput(f"{where}: scale has the shape {list(scale.shape)}; expected {list(shape)}")
        whole = np.broadcast_to(scale.reshape(()) if scale.size == 1 else scale, shape)
        return Typed.elementwise(cls(whole), shape)

    def write(self, shapes: Shapes, dt: float, like: nir.Scale | None = None) -> nir.Scale:
        return nir.Scale(np.array(self.scale))

    @property
    def weights(self) -> Float32:
        return self.scale

    def with_weights(self, weights: Float32) -> Self:
        return replace(self, scale=weights)

    @property
    def bias_values(self) -> Float32:
        return np.zeros(0, np.float32)

    def with_bias(self, bias: Float32) -> Self:
        """A TypeError: it has none."""
        raise TypeError("a Scale has no bias")

    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        return self.scale * x

    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        scale = self.scale.astype(dtype)
        return lambda x: np.asarray(scale * x)

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        return Interval.between(self.scale * x.low, self.scale * x.high)

    def grid(self, bits: int | None, steps: int) -> int | None:
        return None if bits is None else bits + fraction_bits(self.scale)

    def fan_out(self, shapes: Shapes) -> Int64:
        return np.ones(shapes.input, np.int64)

    def taps(self, shapes: Shapes) -> int:
        return prod(shapes.output)

    def reached(self, arriving: Mask, shapes: Shapes) -> Mask:
        return arriving

    def refusal(self, reads_currents: bool) -> str:
        """Refused where it reads currents: factors are weights of synapses, which read spikes."""
        if not reads_currents or not np.any(self.scale != 1):
            return ""
        return (
            "scales currents; the chip has no factors but weights, expected one factor per channel behind synapses "
            "that only it reads"
        )
