"""Stand-ins for what public models import and never use at inference: torchvision, timm, and `clock_driven`.

`clock_driven` is what `activation_based` was called: the neurons of the same equations, multi-step by their names.
"""

import sys
import types
from typing import Any

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn


def _module(name: str, **members: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made
    return made


class MultiStepLIFNode(neuron.LIFNode):
    """`clock_driven`'s LIF; its backend, cupy in the public models, changes no result."""

    def __init__(self, tau: float = 2.0, decay_input: bool = True, v_threshold: float = 1.0, **settings: Any) -> None:
        super().__init__(tau, decay_input, v_threshold, settings.get("v_reset", 0.0), step_mode="m")


class MultiStepParametricLIFNode(neuron.ParametricLIFNode):
    """`clock_driven`'s parametric LIF."""

    def __init__(
        self, init_tau: float = 2.0, decay_input: bool = True, v_threshold: float = 1.0, **settings: Any
    ) -> None:
        super().__init__(init_tau, decay_input, v_threshold, settings.get("v_reset", 0.0), step_mode="m")


class MultiStepIFNode(neuron.IFNode):
    """`clock_driven`'s IF."""

    def __init__(self, v_threshold: float = 1.0, v_reset: float | None = 0.0, **settings: Any) -> None:
        super().__init__(v_threshold, v_reset, step_mode="m")


class SeqToANNContainer(nn.Sequential):
    """Layers without a memory, for times and images at once."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.flatten(0, 1))
        return y.view(*x.shape[:2], *y.shape[1:])


class DropPath(nn.Identity):
    """Which evaluation switches off."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()


def install() -> None:
    """Enter the stand-ins among the imported modules."""
    nothing = {"load_state_dict_from_url": None}
    for name in (
        "torchvision.models.utils",
        "torchvision._internally_replaced_utils",
        "torchvision.models",
        "torchvision",
    ):
        _module(name, **nothing)
    neurons = {c.__name__: c for c in (MultiStepLIFNode, MultiStepParametricLIFNode, MultiStepIFNode)}
    parts = {
        "neuron": _module("spikingjelly.clock_driven.neuron", **neurons),
        "layer": _module("spikingjelly.clock_driven.layer", SeqToANNContainer=SeqToANNContainer),
        "functional": _module("spikingjelly.clock_driven.functional"),
        "surrogate": _module("spikingjelly.clock_driven.surrogate"),
    }
    _module("spikingjelly.clock_driven", **parts)
    _module("spikingjelly.cext", neuron=_module("spikingjelly.cext.neuron", **neurons))
    pair = {"to_2tuple": lambda x: x if isinstance(x, tuple) else (x, x), "trunc_normal_": nn.init.trunc_normal_}
    _module("timm.models.layers", DropPath=DropPath, **pair)
    _module("timm.models.registry", register_model=lambda function: function)
    _module("timm.models.vision_transformer", _cfg=lambda *a, **k: {})
    _module("timm.models", create_model=None)
    for name in ("timm", "torchinfo"):
        _module(name)
    torch.set_num_threads(1)
