"""Neurons of Norse: LIF with a synaptic current, LIF without one (box), and IAF, by single steps or a whole time axis.

    IAF:     v += x
    LIFBox:  v += d (l - v + x)                       d = dt / tau_mem
    LIF:     i += x;  v += d (l - v + i);  i -= d' i  d' = dt / tau_syn

They fire at `v > v_th`, and set v to v_reset; `LIFBox` may subtract v_th instead.
"""

from typing import Any

import torch

from export.frontend.neurons.equations import Neurons, Reset, number, package_of
from spikeclip.errors import RefusedInput

_KNOWN = ("LIF", "LIFCell", "LIFBoxCell", "IAF", "IAFCell")


def is_of_norse(module: Any) -> bool:
    """Whether a module is one of Norse's."""
    return package_of(type(module)) == "norse"


def read(module: Any, key: str) -> Neurons | None:
    """The equation of a neuron of Norse; None of any other module (`libraries.READERS`)."""
    if not is_of_norse(module) or not hasattr(module, "state_fallback"):
        return None
    parameters = module.p
    name = type(module).__name__
    if name not in _KNOWN or getattr(module, "record_states", False):
        known = ", ".join(_KNOWN)
        raise RefusedInput(f"module {key!r}: neuron norse.{name} has no lowering; known are {known}, without a record")
    rest, multi_step = number(parameters.v_reset, key), not name.endswith("Cell")
    threshold = number(parameters.v_th, key)
    if name.startswith("IAF"):
        return Neurons(0.0, 1.0, threshold, rest=rest, at_threshold=False, multi_step=multi_step).checked(key)
    leak, decay = number(parameters.v_leak, key), number(module.dt * parameters.tau_mem_inv, key)
    reset = _reset(parameters, key)
    if leak != rest:
        raise RefusedInput(f"module {key!r} leaks to {leak:g} and resets to {rest:g}; expected one potential of rest")
    synapse = None if name == "LIFBoxCell" else 1 - number(module.dt * parameters.tau_syn_inv, key)
    return Neurons(
        decay, decay, threshold, reset, rest, at_threshold=False, multi_step=multi_step, synapse=synapse
    ).checked(key)


def _reset(parameters: Any, key: str) -> Reset:
    how = getattr(getattr(parameters, "reset_method", None), "__name__", "reset_value")
    kinds = {"reset_value": Reset.HARD, "reset_subtract": Reset.SOFT}
    if how not in kinds:
        raise RefusedInput(f"module {key!r} resets by {how!r}; expected {' or '.join(kinds)}")
    return kinds[how]


def set_threshold(module: Any, threshold: float) -> None:
    """Give a neuron another threshold, in place."""
    module.p = module.p._replace(v_th=torch.as_tensor(threshold))
