"""The layers of a netx file, which are in the integers of the chip.

    u = decayed(u) + 64 W s             decays are of 4096, as of `ops.loihi`
    v = decayed(v) + u + (bias << 6)
    spike where v > 64 threshold; there v = 0

So `lava/lib/dl/netx/hdf5.py` of lava-dl 0.6.0 computes them, with Lava's Dense, Conv and LIF.
"""

from dataclasses import dataclass

from neuromorphic.ops import Int64
from neuromorphic.ops.windows import Pair

BIAS_EXPONENT = 6
"""The exponent of every bias: netx has no other."""

LEAST_WEIGHT, MOST_WEIGHT = -256, 255
"""The range to which lava-dl clips the weights of dense layers, and which a synapse of the chip holds."""

MOST_DELAY = 62
"""Time steps to which lava-dl clamps delays."""


@dataclass(frozen=True)
class Neuron:
    """A CUBA neuron.

    Attributes:
        current_decay: share of u that is lost per step, of 4096; `iDecay`.
        decay: share of v that is lost per step, of 4096; `vDecay`.
        threshold: `vThMant`.
    """

    current_decay: int
    decay: int
    threshold: int


@dataclass(frozen=True)
class Input:
    """The input of the network.  Its neurons, if it has some, add frames to v, as biases are.

    Attributes:
        shape: of a frame, `[n]` or `[C, H, W]`.
        neuron: that reads it; None where frames are the spikes that the next layer reads.
        weight, bias: of the transform from images to frames, which is not part of the graph.
    """

    shape: tuple[int, ...]
    neuron: Neuron | None = None
    weight: float = 64.0
    bias: float = 0.0


@dataclass(frozen=True)
class Flatten:
    """Makes a vector of maps `[C, H, W]`, in that order."""


@dataclass(frozen=True)
class Dense:
    """A matrix and neurons.

    Attributes:
        weight: `[out, in]`.
        bias: `[out]`.
        neuron: None where the layer only adds up its currents.
        delay: time steps of every synapse, `[out, in]`; None without delays.
        recurrent: weights `[out, out]` from the neurons to themselves, in the next time step; None without these.
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
