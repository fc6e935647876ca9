"""A convolution as Lava's process `Conv` takes it; this file imports nothing of Lava's.

`Conv` holds data as `[W, H, C]` and kernels as `[out, W, H, in]`, and computes a true convolution, which flips kernels.
NIR's `Conv2d` is a cross-correlation of `[C, H, W]`.
"""

from neuromorphic.ops import Conv2d, Float32
from neuromorphic.ops.windows import Pair


def conv_weight(conv: Conv2d) -> Float32:
    """The kernels, flipped: float32 `[out, width, height, in / groups]`, a view."""
    return conv.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)


def conv_windows(conv: Conv2d) -> dict[str, Pair]:
    """Stride, padding and dilation as (horizontal, vertical), by the names of `Conv`'s parameters."""
    return {key: getattr(conv, key)[::-1] for key in ("stride", "padding", "dilation")}
