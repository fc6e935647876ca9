"""Neurons of snnTorch: Leaky, Synaptic, and both with recurrence.

    Leaky:      v = beta v + x
    Synaptic:   i = alpha i + x;  v = beta v + i
    RLeaky, RSynaptic: x + V s, s the spikes of the step before, V a matrix or one weight per neuron

They fire at `v > threshold`.  By default a spike resets at the beginning of the next step.  "subtract" then takes the
threshold off what has decayed already.  "zero" clears a `Leaky` before its input arrives, which is a hard reset; of the
others it takes the input of that step away too, which no equation of NIR says.  With `reset_delay=False` the reset is
done at once; "subtract" then subtracts a second time, in the next step, where a membrane is still above the threshold.
"""

from typing import Any

import torch
from torch import nn

from export.frontend.neurons.equations import Neurons, Recurrence, Reset, number, package_of
from spikeclip.errors import RefusedInput

_KNOWN = ("Leaky", "Synaptic", "RLeaky", "RSynaptic")


def is_of_snntorch(module: Any) -> bool:
    """Whether a module is one of snnTorch's."""
    return package_of(type(module)) == "snntorch"


def read(module: Any, key: str) -> Neurons | None:
    """The equation of a neuron of snnTorch; None of any other module (`libraries.READERS`)."""
    if not is_of_snntorch(module) or not hasattr(module, "threshold"):
        return None
    name = type(module).__name__
    if name not in _KNOWN:
        known = ", ".join(_KNOWN)
        raise RefusedInput(f"module {key!r}: neuron snntorch.{name} has no lowering; known are {known}")
    for setting in ("inhibition", "state_quant"):
        if getattr(module, setting, False):
            raise RefusedInput(f"module {key!r}: snntorch.{name} with {setting} has no lowering")
    if number(getattr(module, "graded_spikes_factor", 1.0), key, "graded_spikes_factor") != 1:
        raise RefusedInput(f"module {key!r}: snntorch.{name} with graded spikes has no lowering; expected spikes of 1")
    beta = min(max(number(module.beta, key, "beta"), 0.0), 1.0)
    synaptic = name.endswith("Synaptic")
    alpha = min(max(number(module.alpha, key, "alpha"), 0.0), 1.0) if synaptic else None
    recurrence = _recurrence(module, key) if name.startswith("R") else None
    threshold = number(module.threshold, key, "threshold")
    reset = _reset(module, key)
    return Neurons(
        1 - beta, 1.0, threshold, reset, 0.0, at_threshold=False, multi_step=False, synapse=alpha, recurrence=recurrence
    ).checked(key)


def _reset(module: Any, key: str) -> Reset:
    delayed = bool(getattr(module, "reset_delay", True))
    if type(module).__name__ == "RSynaptic" and not delayed:
        raise RefusedInput(
            f"module {key!r} is an RSynaptic that resets at once, which snnTorch 1.0 does by the spikes of the step "
            "before; expected reset_delay=True"
        )
    match module.reset_mechanism, delayed:
        case "subtract", True:
            return Reset.SOFT_LATE
        case "zero", False:
            return Reset.HARD
        case "zero", True if type(module).__name__ == "Leaky":
            return Reset.HARD
        case "zero", True:
            found = "resets to zero one step late, which takes the next input away too"
            expected = "reset_delay=False"
        case "subtract", False:
            found = "subtracts at once, and again in the next step where its membrane is still above the threshold"
            expected = "reset_delay=True"
        case "none", _:
            return Reset.NONE
        case other, _:
            found, expected = f"resets by {other!r}", "'subtract', 'zero' or 'none'"
    raise RefusedInput(f"module {key!r} {found}; NIR has no such neuron: expected {expected}")


def _recurrence(module: Any, key: str) -> Recurrence:
    recurrent = module.recurrent
    if isinstance(recurrent, nn.Linear):
        bias = None if recurrent.bias is None else recurrent.bias.detach().double()
        return Recurrence(recurrent.weight.detach().double(), bias)
    weight = getattr(recurrent, "V", None)
    if weight is None:
        raise RefusedInput(f"module {key!r} feeds back by {type(recurrent).__name__}; expected a matrix or one weight")
    weight = torch.as_tensor(weight).detach().double()
    return Recurrence(weight.reshape(()) if weight.numel() == 1 else torch.diag(weight.reshape(-1)))


def set_threshold(module: Any, threshold: float) -> None:
    """Give a neuron another threshold, in place."""
    with torch.no_grad():
        module.threshold.fill_(threshold)
