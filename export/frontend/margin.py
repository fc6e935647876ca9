"""The margin of a run: how near membranes came to their thresholds, against how far float64 can be off.

Where no proof covers every input, it may still cover those of a run.  Say that every implementation in float64, in
whatever order it adds, computes a membrane within e of the exact one.  Then a membrane that was seen further than 2 e
from its threshold lies on the same side of it in every one of them.  So, step by step and node by node, all spikes are
those that were seen.

The error e.  A sum of n rounded products is off by at most n u A, with u = 2^-53 (to first order, 1.01 n u A as long as
n < 2^40) and A the sum of the products' magnitudes; behind further sums n adds up, and A is that of the whole.  Spikes
and frames are exact.  A step `v += d (l + R x - v)`, 0 <= d <= 1, multiplies the error of v by 1 - d, adds that of R x,
and rounds six numbers of at most 2 M, M = |l| + R A + h; T steps add up T times as much, and a synaptic current before
it T times that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.bounds import POPULATIONS, propagate, sources
from export.frontend.door import PreparedModule
from export.frontend.neurons.stepping import Stepping
from export.frontend.recording import rest, watched
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention

ROUNDING = 1.01 * 2.0**-53
"""What one operation in float64 is off by, relative to its result, and some room for products of errors."""

ROUNDED = 12
"""Six roundings of a membrane's step, of numbers of up to 2 M."""


@dataclass(frozen=True)
class Margin:
    """Of one population, in the unit of the graph's membranes.

    Attributes:
        nearest: the least distance of a membrane from the threshold, over all inputs and steps.
        error: how far float64 is off at most, in any order of sums.
    """

    nearest: float
    error: float

    def to_dict(self) -> dict[str, float | bool]:
        """The margin as a JSON-compatible dictionary."""
        return {"nearest": self.nearest, "error": self.error, "covered": self.covered}

    @property
    def covered(self) -> bool:
        """Whether no implementation in float64 sends other spikes on these inputs."""
        return self.nearest > 2 * self.error


def margins(prepared: PreparedModule, frames: NDArray[np.float32], batch: int = 4) -> dict[str, Margin]:
    """The margin of every population of a module in a run of its own code, by name.

    Args:
        prepared: the module.
        frames: that it reads.
        batch: images per forward pass.
    """
    shadows = _shadowed(prepared)
    module = prepared.module
    dtype = next((p.dtype for p in module.parameters()), torch.float64)
    hooks = [
        module.get_submodule(key).register_forward_pre_hook(_beside(shadow)) for key, (_, shadow) in shadows.items()
    ]
    try:
        for start in range(0, len(frames), batch):
            rest(module)
            for _, shadow in shadows.values():
                shadow.reset()
            with torch.no_grad(), watched(module, prepared.places, dtype):
                module(prepared.inputs.tensor(frames[start : start + batch], dtype))
    finally:
        for hook in hooks:
            hook.remove()
    errors = errors_of(prepared)
    nearest: dict[str, float] = {}
    for name, shadow in shadows.values():
        nearest[name] = min(nearest.get(name, np.inf), shadow.nearest)
    return {name: Margin(distance, errors[name]) for name, distance in nearest.items()}


def _beside(shadow: Stepping) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that gives a neuron's currents to a stepper too."""

    def hook(neuron: nn.Module, currents: tuple[Tensor, ...]) -> None:
        shadow(currents[0].double())

    return hook


def _shadowed(prepared: PreparedModule) -> dict[str, tuple[str, Stepping]]:
    """For the path of each neuron, its population and a stepper of the same equation beside it."""
    found = {}
    for key, placed in prepared.neurons.items():
        own = prepared.module.get_submodule(key)
        if isinstance(own, Stepping):
            shadow = Stepping(own.neurons, own.factor, own.numbers, 0)
            shadow.recurrent, shadow.recurrent_bias = own.recurrent, own.recurrent_bias
        else:
            shadow = Stepping.of(placed.neurons, placed.factor, prepared.graph.nodes, placed.node, own)
        found[key] = (placed.node, shadow)
    return found


def errors_of(prepared: PreparedModule) -> dict[str, float]:
    """What float64 is off by at most in the membranes of each population, by name."""
    graph, steps = prepared.graph, prepared.time_steps
    reads, _ = propagate(graph, prepared.inputs.range, steps)
    before = sources(graph)

    @cache
    def terms(name: str) -> int:
        """The most numbers that are added on the way to what a node returns, since the last exact ones."""
        node = graph.nodes[name]
        if isinstance(node, (*POPULATIONS, nir.Input)):
            return 0
        return read(name) + _terms(node)

    def read(name: str) -> int:
        # Two more of each, for factors and means that the module multiplies by and the graph folds.
        return len(before[name]) + 2 + max(terms(source) for source in before[name])

    found = {}
    for name, node in graph.nodes.items():
        if not isinstance(node, POPULATIONS):
            continue
        membrane, synapse = f"{name}.membrane", f"{name}.synapse"
        holder = membrane if membrane in graph.nodes else name
        entrance = synapse if synapse in graph.nodes else holder
        magnitude = float(np.max(reads[entrance].positive + reads[entrance].negative))
        current = read(entrance) * ROUNDING * magnitude
        if synapse in graph.nodes or isinstance(node, nir.CubaLIF):
            current = steps * (current + ROUNDED * ROUNDING * magnitude)
        found[name] = _membrane_error(graph.nodes[holder], node, current, magnitude, steps)
    return found


def _membrane_error(holder: nir.NIRNode, node: nir.NIRNode, current: float, magnitude: float, steps: int) -> float:
    threshold = np.max(np.abs(node.threshold if isinstance(node, nir.Threshold) else node.v_threshold))
    match holder:
        case nir.IF() | nir.I():
            largest = steps * magnitude + threshold
            return float(steps * (current + ROUNDED * ROUNDING * largest))
        case nir.LIF() | nir.LI() | nir.CubaLIF():
            resistance = float(np.max(np.abs(holder.r)))
            largest = resistance * magnitude + float(np.max(np.abs(holder.v_leak))) + threshold
            return float(steps * (resistance * current + ROUNDED * ROUNDING * largest))
    raise TypeError(f"{type(holder).__name__} has no membrane")


def _terms(node: nir.NIRNode) -> int:
    """How many products and a bias a node adds up in one of its outputs."""
    match node:
        case nir.Conv2d() | nir.Affine():
            return int(np.prod(node.weight.shape[1:])) + 1
        case nir.SumPool2d():
            return int(np.prod(np.broadcast_to(node.kernel_size, 2)))
        case nir.Scale() | SpikingSelfAttention():  # whose sums are of spikes, exact but for the factor
            return 1
        case nir.Flatten() | nir.Delay() | nir.Output() | MaxPool2d():
            return 0
    raise TypeError(f"{type(node).__name__} is no sum")
