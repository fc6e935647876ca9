"""Neurons of SpikingJelly, and of its former `clock_driven`: LIF, IF and parametric LIF.

    LIF:   v += (x - (v - r)) / tau       or v += x - (v - r) / tau without `decay_input`
    PLIF:  the same with 1 / tau = sigmoid(w)
    IF:    v += x

They fire at `v >= v_threshold`, or above it where a surrogate function of the user's says so; with `v_reset` None they
subtract it.  What a backend computes isn't looked at, the parameters say it all; so neurons for cupy and triton are
read without either.  A class of the user's, derived from one of these or called like it, is run on random currents.
"""

from typing import Any

import torch

from export.frontend.neurons.equations import Neurons, Reset, number, package_of
from export.frontend.neurons.probing import check_equation
from spikeclip.errors import RefusedInput

_LIF = frozenset({"LIFNode", "SimpleLIFNode", "MultiStepLIFNode"})
_PARAMETRIC = frozenset({"ParametricLIFNode", "MultiStepParametricLIFNode"})
_IF = frozenset({"IFNode", "SimpleIFNode", "MultiStepIFNode"})
_KNOWN = _LIF | _PARAMETRIC | _IF


def read(module: Any, key: str) -> Neurons | None:
    """The equation of a neuron of SpikingJelly, or of its form; None of any other module (`libraries.READERS`)."""
    if not hasattr(module, "surrogate_function") or not (hasattr(module, "v_threshold") or _is_neuron(module)):
        return None
    name = next((kind.__name__ for kind in type(module).__mro__ if kind.__name__ in _KNOWN), type(module).__name__)
    multi_step = name.startswith("MultiStep") or getattr(module, "step_mode", "s") == "m"
    if name in _IF:
        decay, gain = 0.0, 1.0
    elif name in _LIF | _PARAMETRIC:
        decay = _decay(module, name, key)
        gain = decay if getattr(module, "decay_input", True) else 1.0
    else:
        known = ", ".join(sorted(_KNOWN))
        raise RefusedInput(
            f"module {key!r}: neuron {type(module).__module__}.{name} has no lowering; known are {known}"
        )
    reset = module.v_reset
    rest, kind = (0.0, Reset.SOFT) if reset is None else (number(reset, key, "v_reset"), Reset.HARD)
    threshold = number(module.v_threshold, key, "v_threshold")
    fires = _fires_at_threshold(module, key)
    found = Neurons(decay, gain, threshold, kind, rest, at_threshold=fires, multi_step=multi_step).checked(key)
    if type(module).__name__ != name or package_of(type(module)) != "spikingjelly":
        check_equation(module, found, key, name)
    return found


def _is_neuron(module: Any) -> bool:
    """Whether a module is of SpikingJelly's neurons, of which some (PSN) have no threshold of that name."""
    return type(module).__module__.startswith("spikingjelly.activation_based.neuron")


@torch.no_grad()
def _fires_at_threshold(module: Any, key: str) -> bool:
    """Whether `v = v_threshold` is a spike.

    Raises:
        RefusedInput: the surrogate function returns other values than 0 below and 1 above.
    """
    try:
        below, at, above = module.surrogate_function(torch.tensor([-1.0, 0.0, 1.0])).tolist()
    except Exception as error:  # perhaps the user's own code
        raise RefusedInput(f"module {key!r}: its surrogate function raises {type(error).__name__}: {error}") from error
    if (below, above) != (0, 1) or at not in (0, 1):
        raise RefusedInput(
            f"module {key!r}: its surrogate function makes {below:g}, {at:g}, {above:g} of membranes below, at and "
            "above the threshold; expected spikes, 0 and 1"
        )
    return bool(at)


def _decay(module: Any, name: str, key: str) -> float:
    if name in _PARAMETRIC:
        return number(module.w.detach().double().sigmoid(), key, "w")
    return 1 / number(module.tau, key, "tau")


def set_threshold(module: Any, threshold: float) -> None:
    """Give a neuron another threshold, in place."""
    module.v_threshold = threshold
