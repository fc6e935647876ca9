"""Self-attention of spikes, without softmax."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import nir
import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ops import extensions
from neuromorphic.ops.dyadic import fraction_bits
from neuromorphic.ops.operation import Nonlinear, lacks
from neuromorphic.ops.parameters import check_declared_shape
from neuromorphic.ops.types import Array, Conventions, Float64, Int64, Interval, Kernel, Mask, Shape, Shapes, Typed
from neuromorphic.ops.windows import map_shape


@final
@dataclass(frozen=True)
class SelfAttention(Nonlinear):
    """`y = scale · Q (Kᵀ V)` per head; Q, K and V are thirds of the channels of one population's spikes.

    An extension of NIR (`extensions` has the sums written out).  x is `[3 D, H, W]`, y is `[D, H, W]`; heads divide D.
    """

    nir_types: ClassVar = (extensions.SpikingSelfAttention,)
    weighs: ClassVar = "always"

    heads: int
    scale: float

    @classmethod
    def read(cls, node: extensions.SpikingSelfAttention, shape: Shape, where: str, given: Conventions) -> Typed:
        channels = map_shape(shape, where)[0]
        check_declared_shape(node.input_shape, shape, where)
        heads, scale = np.asarray(node.heads), np.asarray(node.scale)
        if heads.size != 1 or not np.issubdtype(heads.dtype, np.integer) or heads.min() < 1:
            raise RefusedInput(f"{where}: heads is {shown(node.heads)}; expected an integer of at least 1")
        if channels % (3 * heads.item()):
            raise RefusedInput(
                f"{where}: its input has {channels} channels; expected Q, K and V of equal size in {heads.item()} heads"
            )
        if scale.size != 1 or scale.dtype.kind not in "iuf" or not 0 < scale.item() < np.inf:
            raise RefusedInput(f"{where}: scale is {shown(node.scale)}; expected a finite number above 0")
        out = (channels // 3, *shape[1:])
        return Typed(cls(heads.item(), float(scale.item())), Shapes(shape, out), out)

    def write(self, shapes: Shapes, dt: float, like: nir.NIRNode | None = None) -> nir.NIRNode:
        """The extension node.  A node of a file stays as it is: quantising changes its scale in the scheme alone."""
        if like is not None:
            return like
        return extensions.SpikingSelfAttention(np.array(shapes.input), self.heads, self.scale)

    def head(self, shapes: Shapes) -> tuple[int, int]:
        """Channels of one head, and the number of tokens."""
        return shapes.output[0] // self.heads, prod(shapes.input[1:])

    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        images, channels, height, width = x.shape
        size = channels // 3 // self.heads
        q, k, v = x.reshape(images, 3, self.heads, size, height * width).swapaxes(0, 1)
        k_v = np.einsum("bhim,bhjm->bhij", k, v)
        y = self.scale * np.einsum("bhin,bhij->bhjn", q, k_v)
        return np.asarray(y.reshape(images, channels // 3, height, width))

    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        """Two matrix products per image and head, `Kᵀ V` first, whose size doesn't depend on the number of tokens."""
        return _Attention(self, shapes, dtype)

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        size, tokens = self.head(shapes)
        return Interval(np.zeros(shapes.output), np.full(shapes.output, self.scale * size * tokens))

    def grid(self, bits: int | None, steps: int) -> int | None:
        """The grid of the scale: y is an integer times it."""
        return fraction_bits(np.array(self.scale))

    def products(self, shapes: Shapes) -> int:
        return 2 * prod(shapes.output) * (shapes.output[0] // self.heads)

    def largest_array(self, shapes: Shapes) -> int:
        return max(prod(shapes.input), self.heads * (shapes.output[0] // self.heads) ** 2)

    def fan_out(self, shapes: Shapes) -> Int64:
        """A TypeError: it has no synapses; spikes select the spikes that are added up."""
        lacks(self, "synapses")

    def reached(self, arriving: Mask, shapes: Shapes) -> Mask:
        """All outputs of a token and head where Q has a spike in some channel."""
        frames = arriving.shape[:2]
        q = arriving.reshape(*frames, 3, self.heads, -1, *shapes.input[1:])[:, :, 0].any(3, keepdims=True)
        return q.repeat(shapes.output[0] // self.heads, axis=3).reshape(*frames, *shapes.output)

    def refusal(self, reads_currents: bool) -> str:
        """None: a chip's neurons could multiply spikes (docs/extensions.md)."""
        return ""


class _Attention:
    def __init__(self, attention: SelfAttention, shapes: Shapes, dtype: DTypeLike) -> None:
        size, tokens = attention.head(shapes)
        self.stacked = (3, attention.heads, size, tokens)
        self.scale, self.dtype, self.shape = attention.scale, dtype, shapes.output

    def __call__(self, x: Array) -> Array:
        q, k, v = x.astype(self.dtype, copy=False).reshape(len(x), *self.stacked).swapaxes(0, 1)
        v_k = v @ k.swapaxes(-1, -2)
        y = v_k @ q
        y *= self.scale
        return np.asarray(y.reshape(len(x), *self.shape))
