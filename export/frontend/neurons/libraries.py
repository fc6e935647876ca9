"""Which library a neuron is of, and what differs between them: who reads its equation, and what it returns."""

from typing import Any

from torch import nn

from export.frontend.neurons import norse, snntorch, spikingjelly
from export.frontend.neurons.equations import Neurons
from export.frontend.neurons.standing import PlainNeurons

READERS = (spikingjelly.read, snntorch.read, norse.read)
"""Functions that read a neuron's equation off a module of some library, whose path messages name; asked in this order.

Each returns None of a module that is none of its library, and refuses a neuron with another equation.
"""


def neurons_of(module: nn.Module) -> dict[str, Neurons]:
    """The equation of every neuron of a module, by path.

    Raises:
        RefusedInput: a neuron of a known library that no equation here describes.
    """
    found = {path: read(part, path) for path, part in module.named_modules()}
    return {path: neurons for path, neurons in found.items() if neurons is not None}


def read(module: nn.Module, path: str) -> Neurons | None:
    """The equation of a neuron at a path; None of a module that is none.

    Raises:
        RefusedInput: as of `neurons_of`.
    """
    if isinstance(module, PlainNeurons):
        return module.neurons
    return next((found for reader in READERS if (found := reader(module, path)) is not None), None)


def returned_states(module: Any) -> int:
    """How many states a neuron returns beside its spikes: snnTorch's unless it keeps them, Norse's as one tuple."""
    if norse.is_of_norse(module):
        return 1
    if not snntorch.is_of_snntorch(module) or (module.init_hidden and not module.output):
        return 0
    return 2 if type(module).__name__.endswith("Synaptic") else 1


def set_threshold(module: Any, threshold: float) -> None:
    """Give a neuron another threshold, in place."""
    library = norse if norse.is_of_norse(module) else spikingjelly if hasattr(module, "v_threshold") else snntorch
    library.set_threshold(module, threshold)
