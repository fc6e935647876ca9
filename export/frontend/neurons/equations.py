"""The one equation that every understood neuron is a case of.

i = k i + x                      only where there is a synaptic current; else i = x
v = (1 - d) v + d r + g i        a spike where v >= h (or v > h)
then v = r (hard reset) or v = v - h (soft reset), in the same step or at the next one's beginning
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from spikeclip.errors import RefusedInput


def package_of(kind: type) -> str:
    """The package that defines a class: `snntorch` of `snntorch.Leaky`."""
    return kind.__module__.partition(".")[0]


def number(value: Any, key: str, what: str = "a parameter") -> float:
    """A parameter of the neurons of a module, which all of them have to share.

    Args:
        value: a number, or a tensor of equal numbers.
        key: path of the module, for messages.
        what: name of the parameter, for messages.

    Raises:
        RefusedInput: neurons have different values.
    """
    tensor = torch.as_tensor(value, dtype=torch.float64).reshape(-1)
    if not len(tensor) or bool((tensor != tensor[0]).any()):
        raise RefusedInput(f"module {key!r} has {len(tensor)} values of {what}; expected one for all neurons")
    return float(tensor[0])


class Reset(StrEnum):
    """The membrane behind a spike.

    A late soft reset subtracts h from what the membrane has decayed to in the next step; one at once decays with it.
    """

    HARD = "hard"
    SOFT = "soft"
    SOFT_LATE = "soft, one step late"
    NONE = "none"


@dataclass(frozen=True, eq=False)
class Recurrence:
    """`x += W s`, s the neurons' own spikes of the step before.

    Attributes:
        weight: float64 `[n, n]`, or `[]` for one weight of each neuron to itself.
        bias: float64 `[n]`, or None.
    """

    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True)
class Neurons:
    """Parameters of the equation above.

    Attributes:
        decay: d; 0 of integrate-and-fire.
        gain: g.
        threshold: h.
        reset: what a spike leaves.
        rest: r; an image begins there.
        at_threshold: whether v = h fires.
        multi_step: whether the module is called once with a time axis, not once a time step.
        time_axis: which one that is.
        synapse: k, of a synaptic current; None for none.
        recurrence: of the spikes; None for none.
    """

    decay: float
    gain: float
    threshold: float
    reset: Reset = Reset.HARD
    rest: float = 0.0
    at_threshold: bool = True
    multi_step: bool = True
    synapse: float | None = None
    recurrence: Recurrence | None = None
    time_axis: int = 0

    def __str__(self) -> str:
        sign = ">=" if self.at_threshold else ">"
        return f"v = {1 - self.decay:g} v + x, spikes at v {sign} {self.threshold:g}, reset {self.reset}"

    def spikes(self, currents: Tensor) -> Tensor:
        """The spikes that float64 currents `[T, n]` cause from rest, without synapse and recurrence: bool `[T, n]`."""
        v, fired, spikes = torch.full_like(currents[0], self.rest), torch.zeros_like(currents[0], dtype=torch.bool), []
        for current in currents:
            v = v + self.decay * (self.rest - v) + self.gain * current
            if self.reset is Reset.SOFT_LATE:
                v = v - self.threshold * fired
            fired = v >= self.threshold if self.at_threshold else v > self.threshold
            if self.reset is Reset.HARD:
                v = torch.where(fired, self.rest, v)
            elif self.reset is Reset.SOFT:
                v = v - self.threshold * fired
            spikes.append(fired)
        return torch.stack(spikes)

    def checked(self, key: str) -> "Neurons":
        """The neurons themselves, if their parameters make sense.

        Raises:
            RefusedInput: the decay is not between 0 and 1, or the threshold is not above rest.
        """
        if not 0 <= self.decay <= 1:
            raise RefusedInput(f"module {key!r} decays by {self.decay:g} per time step; expected 0 to 1")
        if not self.threshold > self.rest:
            raise RefusedInput(
                f"module {key!r} has the threshold {self.threshold:g} and rests at {self.rest:g}; expected it above"
            )
        return self
