"""The layers of a netx file, in the integers of the chip.

    u = decayed(u) + 64 W s             decays are of 4096, as of `ops.loihi`
    v = decayed(v) + u + (bias << 6)
    spike where v > 64 threshold; there v = 0

This is what `lava/lib/dl/netx/hdf5.py` of lava-dl 0.6.0 makes of it, with Lava's Dense, Conv and LIF.
"""

from dataclasses import dataclass

from neuromorphic.ops import Int64
from neuromorphic.ops.windows import Pair

BIAS_EXPONENT = 6
"""Of every bias: netx knows no other."""

LEAST_WEIGHT, MOST_WEIGHT = -256, 255
"""The range that lava-dl clips the weights of dense layers to, and that a synapse of the chip holds."""

MOST_DELAY = 62
"""Steps that lava-dl clamps delays to."""


@dataclass(frozen=True)
class Neuron:
    """A CUBA neuron.

    Attributes:
        current_decay: of 4096, what u loses per step; `iDecay`.
        decay: of 4096, what v loses per step; `vDecay`.
        threshold: `vThMant`.
    """

    current_decay: int
    decay: int
    threshold: int


@dataclass(frozen=True)
class Input:
    """The input of the network: `[n]` or `[C, H, W]`; with neurons, frames reach these as biases do, behind u.

    Attributes:
        shape: of a frame.
        neuron: that reads it; None where frames are the spikes that the next layer reads.
        weight, bias: of the transform that makes frames of images, for whoever makes them.
    """

    shape: tuple[int, ...]
    neuron: Neuron | None = None
    weight: float = 64.0
    bias: float = 0.0


@dataclass(frozen=True)
class Flatten:
    """Maps `[C, H, W]` to a vector, in that order."""


@dataclass(frozen=True)
class Dense:
    """A matrix and neurons.

    Attributes:
        weight: `[out, in]`.
        bias: `[out]`.
        neuron: None where the layer only adds up its currents.
        delay: steps of every synapse, `[out, in]`; None for none.
        recurrent: weights `[out, out]` from the neurons to themselves, a step late; None for none.
    """

    weight: Int64
    bias: Int64
    neuron: Neuron | None
    delay: Int64 | None = None
    recurrent: Int64 | None = None


@dataclass(frozen=True)
class Conv:
    """A convolution and neurons; pairs are (vertical, horizontal).

    Attributes:
        weight: `[out, in / groups, height, width]`, a cross-correlation.
        bias: `[out]`, or one per neuron, `[C, H, W]`.
        neuron: of every output.
        shape: `[C, H, W]` of the outputs, as the file says.
        stride, padding, dilation: of the windows.
        groups: of channels.
    """

    weight: Int64
    bias: Int64
    neuron: Neuron
    shape: tuple[int, ...]
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


Layer = Input | Flatten | Dense | Conv
