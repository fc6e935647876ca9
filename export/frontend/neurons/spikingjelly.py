"""Neurons of SpikingJelly, and of its former `clock_driven`: LIF, IF and parametric LIF.

    LIF:   v += (x - (v - r)) / tau       or v += x - (v - r) / tau without `decay_input`
    PLIF:  the same with 1 / tau = sigmoid(w)
    IF:    v += x

They fire at `v >= v_threshold`; with `v_reset` None they subtract it.  What a backend computes isn't looked at, the
parameters say it all; so neurons for cupy and triton are read without either.
"""

from typing import Any

import torch

from export.frontend.neurons.equations import Neurons, Reset
from spikeclip.errors import RefusedInput

_LIF = frozenset({"LIFNode", "SimpleLIFNode", "MultiStepLIFNode"})
_PARAMETRIC = frozenset({"ParametricLIFNode", "MultiStepParametricLIFNode"})
_IF = frozenset({"IFNode", "SimpleIFNode", "MultiStepIFNode"})


def read(module: Any, key: str) -> Neurons | None:
    """As `libraries.READERS`."""
    if not hasattr(module, "v_threshold") or not hasattr(module, "surrogate_function"):
        return None
    name = type(module).__name__
    multi_step = name.startswith("MultiStep") or getattr(module, "step_mode", "s") == "m"
    if name in _IF:
        decay, gain = 0.0, 1.0
    elif name in _LIF | _PARAMETRIC:
        decay = _decay(module, name)
        gain = decay if getattr(module, "decay_input", True) else 1.0
    else:
        known = ", ".join(sorted(_LIF | _PARAMETRIC | _IF))
        raise RefusedInput(
            f"module {key!r}: neuron {type(module).__module__}.{name} has no lowering; known are {known}"
        )
    reset = module.v_reset
    rest, kind = (0.0, Reset.SOFT) if reset is None else (float(reset), Reset.HARD)
    return Neurons(decay, gain, float(module.v_threshold), kind, rest, multi_step=multi_step).checked(key)


def _decay(module: Any, name: str) -> float:
    if name in _PARAMETRIC:
        w: torch.Tensor = module.w
        return float(w.detach().double().sigmoid())
    return 1 / float(module.tau)


def set_threshold(module: Any, threshold: float) -> None:
    """Give a neuron another threshold, in place."""
    module.v_threshold = threshold
