"""The two extension nodes, for operations of the published SpikeCLIP encoder that NIR 1.0 has no node for.

Importing this module makes `nir.read` accept the two types.  Without it `nir.read` fails on them (an AssertionError),
as a reader that doesn't know them must.
"""

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray


@dataclass(eq=False)
class MaxPool2d(nir.NIRNode):  # type: ignore[misc]
    """`y[c, i, j] = max_{m, n} x[c, i s - p + m, j s - p + n]` over the kernel's m, n that lie on the map.

    The maximum of the input of one time step, currents as well as spikes; there is no state.  Positions outside the map
    don't count (as in PyTorch's `MaxPool2d`, which pads with minus infinity; `ceil_mode` False).

    Attributes:
        input_shape: int `[3]`: channels, height and width of x.
        kernel_size, stride, padding: int `[2]`, (vertical, horizontal); padding is at most half of the kernel.
    """

    input_shape: NDArray[np.integer]
    kernel_size: NDArray[np.integer]
    stride: NDArray[np.integer]
    padding: NDArray[np.integer]

    def __post_init__(self) -> None:
        channels, *size = (int(n) for n in self.input_shape)
        windows = zip(size, self.kernel_size, self.stride, self.padding, strict=True)
        out = [(n + 2 * int(p) - int(k)) // int(s) + 1 for n, k, s, p in windows]
        self.input_type = {"input": np.array([channels, *size])}
        self.output_type = {"output": np.array([channels, *out])}


@dataclass(eq=False)
class SpikingSelfAttention(nir.NIRNode):  # type: ignore[misc]
    """`y = scale · Q (Kᵀ V)` per head: self-attention of spikes, without softmax (arXiv 2209.15425, equation 6).

    x holds the spikes of one population: Q in the first third of its channels, then K, then V, each with one head after
    the other.  With d = D / heads channels per head and tokens n, m = 1, ..., H W (the positions of the map),

        y[h d + j, n] = scale · Σ_i q[h d + i, n] · Σ_m k[h d + i, m] · v[h d + j, m]

    in every time step by itself; there is no state.  The sums are integers between 0 and d H W.

    Attributes:
        input_shape: int `[3]`: 3 D, height and width of x; y is `[D, H, W]`.
        heads: number of heads; divides D.
        scale: factor of the sums; a power of two keeps them exact in float32.
    """

    input_shape: NDArray[np.integer]
    heads: int
    scale: float

    def __post_init__(self) -> None:
        channels, height, width = (int(n) for n in self.input_shape)
        self.input_type = {"input": np.array([channels, height, width])}
        self.output_type = {"output": np.array([channels // 3, height, width])}


EXTENSIONS: tuple[type[nir.NIRNode], ...] = (MaxPool2d, SpikingSelfAttention)


def _register() -> None:
    """Enter the extension nodes into the closed list of types that `nir.read` builds (nir 1.0.8, `ir/__init__.py`).

    Raises:
        ImportError: this nir has a type of the same name, whose meaning may be another one.
    """
    module: Any = nir.ir
    known: list[str] = vars(module)["__all_ir"]
    for node in EXTENSIONS:
        if getattr(module, node.__name__, node) is not node:
            raise ImportError(f"nir {nir.version} has a node {node.__name__} of its own; expected nir 1.0.8")
        setattr(module, node.__name__, node)
        if node.__name__ not in known:
            known.append(node.__name__)


_register()
