"""Modules that stand for neurons of the user's, with the equation that was read off their code."""

from typing import Any

import torch
from torch import Tensor, nn

from export.frontend.neurons.equations import Neurons


class PlainNeurons(nn.Module):
    """Stands for neurons of the user's: their code, with the equation that was read off it.

    Attributes:
        neurons: the equation.
    """

    def __init__(self, original: nn.Module, neurons: Neurons) -> None:
        super().__init__()
        self.neurons = neurons
        self._original = (original,)  # hidden: its parts are none of the network's any more

    def forward(self, x: Tensor) -> Any:
        return self._original[0](x)


class StateReset:
    """The methods by which code around snnTorch's neurons asks for states at the beginning of an image.

    Attributes:
        states: how many states the neuron returns beside its spikes.
        neurons: its equation.
    """

    states: int
    neurons: Neurons

    def reset(self) -> None:
        """Back to rest."""

    def reset_mem(self) -> Any:
        """Back to rest, and empty states, as many as the neuron takes: whoever reads them takes them for zeros."""
        self.reset()
        states = [torch.zeros(0) for _ in range(self.states + (self.neurons.recurrence is not None))]
        return states[0] if len(states) == 1 else tuple(states)

    init_leaky = init_synaptic = init_rleaky = init_rsynaptic = reset_mem


class InTurn(nn.Module):
    """One module that the network calls several times, as often as it has parts: each call is another part's."""

    def __init__(self, parts: list[PlainNeurons]) -> None:
        super().__init__()
        self.count, self.calls = len(parts), 0
        for index, part in enumerate(parts, 1):
            self.add_module(str(index), part)

    def forward(self, x: Tensor) -> Any:
        self.calls = self.calls % self.count + 1
        return self.get_submodule(str(self.calls))(x)
