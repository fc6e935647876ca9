"""Neurons with a soft reset: a spike takes an amount off the current of the next time step.

NIR has no node for them.  Files hold them as membranes, a `Threshold`, and a loop through a `Scale` and a `Delay` back
to the membranes; `analysis.soft_resets` makes one operation of these.
"""

from dataclasses import dataclass
from typing import Any, NoReturn, final

from neuromorphic.ops.charging import ZERO, Charging
from neuromorphic.ops.neuron_roles import Integrating, Leaky
from neuromorphic.ops.neurons import FloatPopulation
from neuromorphic.ops.operation import lacks
from neuromorphic.ops.types import Conventions, Float32, Float64, Mask, Shape, Shapes, State, Typed


class SoftPopulation(FloatPopulation):
    """Populations in which a spike lowers the input x of the next step by `back`.

    A spike leaves v as it is, so that v still says, in the next step, which neurons have fired.

    Attributes:
        threshold: float32 of the population's shape; none is below v at the start of an image.
        back: float32 of the population's shape, in the unit of x.
    """

    back: Float32

    @classmethod
    def read(cls, node: Any, shape: Shape, where: str, given: Conventions) -> Typed:
        """A TypeError: no node of NIR is read as one."""
        lacks(cls, "node in NIR")

    def write(self, shapes: Shapes, dt: float, like: Any = None) -> NoReturn:
        """A TypeError: NIR has four nodes for it."""
        lacks(self, "node in NIR")

    def charge(self, state: State, x: Float64) -> None:
        super().charge(state, x - self.back * (state.v > self.threshold))

    def _reset(self, state: State, fired: Mask) -> None:
        """Nothing in this step."""

    subtracts = False
    rests_after_spike = False


@final
@dataclass(frozen=True)
class SoftLif(SoftPopulation, Leaky):
    """`v += decay (leak + gain (x - back s) - v)`, s the spikes of the step before; a spike where `v > threshold`.

    Attributes as of `Lif` and `SoftPopulation`.  An image begins at `v = leak`, s = 0.
    """

    decay: Float32
    gain: Float32
    threshold: Float32
    leak: Float32
    back: Float32

    @property
    def start(self) -> Float32:
        return self.leak

    @property
    def charging(self) -> Charging:
        return Charging(self.gain, (self.decay,), self.leak, threshold=self.threshold, back=self.back)

    @property
    def always_updated(self) -> bool:
        """No: it rests at its leak."""
        return False


@final
@dataclass(frozen=True)
class SoftIf(SoftPopulation, Integrating):
    """`v += gain (x - back s)`, s the spikes of the step before; a spike where `v > threshold`.

    Attributes as of `If` and `SoftPopulation`.  An image begins at v = 0, s = 0.
    """

    gain: Float32
    threshold: Float32
    back: Float32

    @property
    def start(self) -> Float32:
        return ZERO

    @property
    def charging(self) -> Charging:
        return Charging(self.gain, threshold=self.threshold, back=self.back)
