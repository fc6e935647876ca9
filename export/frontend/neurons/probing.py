"""Whether a neuron of the user's computes the equation that its parameters say, by running it."""

import copy
from typing import Any

import torch

from export.frontend.neurons.equations import Neurons
from spikeclip.errors import RefusedInput

STEPS, COUNT = 16, 256
"""Time steps and neurons of the run."""


@torch.no_grad()
def check_equation(module: Any, neurons: Neurons, key: str, name: str) -> None:
    """Compare the spikes of a module with those of `neurons` on random currents, in float64.

    Args:
        module: without a synaptic current or recurrence.
        neurons: the equation that it is taken for.
        key: path of the module.
        name: of the class that it is taken for.

    Raises:
        RefusedInput: it raises, or a spike differs.
    """
    reach = (neurons.threshold - neurons.rest) / (neurons.gain or 1.0)
    numbers = torch.rand(STEPS, COUNT, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    currents = 6 * reach * (numbers - 0.45)
    own: Any = copy.deepcopy(module).double().eval()
    what = f"{type(module).__module__}.{type(module).__name__}"
    try:
        own.reset()
        found = own(currents) if neurons.multi_step else torch.stack([own(current) for current in currents])
    except Exception as error:  # the user's own code
        raise RefusedInput(f"module {key!r}: {what} raises {type(error).__name__}: {error}") from error
    if not torch.equal(found, neurons.spikes(currents).double()):
        raise RefusedInput(
            f"module {key!r}: {what} computes something else than {name} of the same parameters; expected its equation"
        )
