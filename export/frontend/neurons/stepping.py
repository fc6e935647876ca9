"""A torch module of the one equation, with the numbers of the graph's nodes, for neurons whose own code rounds.

SpikingJelly divides by tau, and compares with what it subtracts; this multiplies by the decay as the graph has it:

    i += d' (x / f - i)                    where there is a synaptic current, else i = x / f
    u += d (l + R (i + back) - u)          or u += i + back without a decay; a spike where u > threshold
"""

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from export.frontend.neurons.equations import Neurons, Reset
from export.frontend.neurons.libraries import returned_states
from export.frontend.neurons.standing import StateReset
from export.frontend.populations import decay_of, unit
from export.populations import thresholds


class Stepping(StateReset, nn.Module):
    """Neurons in the unit and with the numbers of their population in the graph.

    Shapes: currents `[T, B, ...]` of a multi-step module, else `[B, ...]`, to spikes of the same shape; beside them as
    many states as the module it stands for returns, which it doesn't read.

    Attributes:
        nearest: the least distance of a membrane from the threshold since it was last cleared.
    """

    def __init__(self, neurons: Neurons, factor: float, numbers: Mapping[str, float], states: int) -> None:
        super().__init__()
        self.neurons, self.factor, self.numbers, self.states = neurons, factor, dict(numbers), states
        self.recurrent: Tensor | None = None
        self.recurrent_bias: Tensor | float = 0.0
        self.step_mode = "m" if neurons.multi_step else "s"
        self.nearest = float("inf")
        self.reset()

    @classmethod
    def of(
        cls, neurons: Neurons, factor: float, nodes: Mapping[str, nir.NIRNode], name: str, original: nn.Module
    ) -> "Stepping":
        """A stand-in for `original`, with the numbers of the node `name` and of those that belong to it.

        Args:
            neurons: the equation of `original`.
            factor: of its currents in the graph's.
            nodes: of the graph.
            name: of the node that sends the spikes.
            original: the module's own neuron.
        """
        sender = nodes[name]
        membrane = nodes.get(f"{name}.membrane", sender)
        numbers = {
            "threshold": _first(thresholds(sender)),
            "rest": _first(getattr(sender, "v_reset", 0.0)),
            "back": _first(nodes[f"{name}.back"].scale) if f"{name}.back" in nodes else 0.0,
        }
        for key, attribute in (("decay", "tau"), ("decay", "tau_mem"), ("synapse", "tau_syn")):
            if hasattr(membrane, attribute):
                numbers[key] = decay_of(getattr(membrane, attribute))
        if f"{name}.synapse" in nodes:
            numbers["synapse"] = decay_of(nodes[f"{name}.synapse"].tau)
        if "decay" in numbers:
            numbers["resistance"] = _first(membrane.r)
        made = cls(neurons, factor, numbers, returned_states(original))
        made._feed_back(nodes.get(f"{name}.recurrent"))
        return made

    @classmethod
    def alone(cls, neurons: Neurons) -> "Stepping":
        """The equation by itself, before there is a graph."""
        scale, resistance = unit(neurons, 1.0)
        threshold, decays = neurons.threshold / scale, neurons.decay > 0
        taken = {Reset.SOFT: 1 - neurons.decay, Reset.SOFT_LATE: 1.0}.get(neurons.reset, 0.0) * threshold
        numbers = {
            "threshold": float(np.nextafter(threshold, -np.inf)) if neurons.at_threshold else threshold,
            "rest": neurons.rest / scale,
            "back": -taken / (neurons.decay * resistance) if decays else -taken,
            **({"decay": neurons.decay, "resistance": resistance} if decays else {}),
            **({} if neurons.synapse is None else {"synapse": 1 - neurons.synapse}),
        }
        made = cls(neurons, 1.0, numbers, 0)
        if neurons.recurrence is not None:
            made.recurrent = neurons.recurrence.weight
            made.recurrent_bias = 0.0 if neurons.recurrence.bias is None else neurons.recurrence.bias
        return made

    def _feed_back(self, node: nir.NIRNode | None) -> None:
        if isinstance(node, nir.Scale):
            self.recurrent = torch.tensor(_first(node.scale), dtype=torch.float64)
        elif node is not None:
            self.recurrent = torch.from_numpy(np.asarray(node.weight, np.float64))
            self.recurrent_bias = torch.from_numpy(np.asarray(node.bias, np.float64))

    def reset(self) -> None:
        """Back to rest."""
        self.v: Tensor | None = None
        self.i: Tensor | None = None
        self.spikes: Tensor | None = None

    def forward(self, x: Tensor, *states: Tensor, **named: Tensor) -> Any:
        if self.neurons.multi_step:
            self.reset()
            axis = self.neurons.time_axis
            spikes = torch.stack([self._step(current) for current in x.movedim(axis, 0)]).movedim(0, axis)
        else:
            spikes = self._step(x)
        return (spikes, *(torch.zeros_like(x) for _ in range(self.states))) if self.states else spikes

    def _step(self, x: Tensor) -> Tensor:
        numbers = self.numbers
        current = x / self.factor
        if self.v is None:
            self.v = torch.full_like(current, numbers["rest"])
        spikes = torch.zeros_like(current) if self.spikes is None else self.spikes.to(current.dtype)
        if self.recurrent is not None:
            back = spikes * self.recurrent if self.recurrent.ndim == 0 else spikes @ self.recurrent.T
            current = current + back + self.recurrent_bias
        if "synapse" in numbers:
            self.i = torch.zeros_like(current) if self.i is None else self.i
            self.i = self.i + numbers["synapse"] * (current - self.i)
            current = self.i
        current = current + numbers["back"] * spikes
        if "decay" in numbers:
            self.v = self.v + numbers["decay"] * (numbers["rest"] + numbers["resistance"] * current - self.v)
        else:
            self.v = self.v + current
        self.nearest = min(self.nearest, float((self.v - numbers["threshold"]).abs().min()))
        fired = self.v > numbers["threshold"]
        if self.neurons.reset is Reset.HARD:
            self.v = torch.where(fired, torch.full_like(self.v, numbers["rest"]), self.v)
        self.spikes = fired.to(x.dtype)
        return self.spikes


def _first(values: Any) -> float:
    return float(np.asarray(values, np.float64).reshape(-1)[0])
