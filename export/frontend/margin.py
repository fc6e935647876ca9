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

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import neuromorphic.ops as ops
from export.frontend.door import PreparedModule
from export.frontend.neurons.stepping import Stepping
from export.frontend.recording import made_in, rest, watched
from export.populations import thresholds
from neuromorphic.analysis.partial_sums import partial_sums
from neuromorphic.cluster.ranges import batches
from neuromorphic.reading.build import from_nir

ROUNDING = 1.01 * 2.0**-53
"""The error of one operation in float64, relative to its result, with some room for products of errors."""

ROUNDED = 12
"""Six roundings of a membrane's step, of numbers of up to 2 M."""


@dataclass(frozen=True)
class Margin:
    """The margin of one population in a run, in the unit of the graph's membranes.

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
    with ExitStack() as hooks:
        for key, (_, shadow) in shadows.items():
            hooks.enter_context(module.get_submodule(key).register_forward_pre_hook(partial(_step_beside, shadow)))
        for images in batches(len(frames), batch):
            rest(module)
            for _, shadow in shadows.values():
                shadow.reset()
            with torch.no_grad(), watched(module, prepared.places, dtype), made_in(dtype):
                module(prepared.inputs.tensor(frames[images], dtype))
    errors = errors_of(prepared)
    nearest: dict[str, float] = {}
    for name, shadow in shadows.values():
        nearest[name] = min(nearest.get(name, np.inf), shadow.nearest)
    return {name: Margin(distance, errors[name]) for name, distance in nearest.items()}


def _step_beside(shadow: Stepping, neuron: nn.Module, currents: tuple[Tensor, ...]) -> None:
    """A hook that gives a neuron's currents to a stepper too."""
    shadow(currents[0].double())


def _shadowed(prepared: PreparedModule) -> dict[str, tuple[str, Stepping]]:
    """The population of each neuron, and a `Stepping` of the same equation to run beside it, by the neuron's path."""
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
    """The largest error of float64 in the membranes of each population, by name."""
    graph, steps = from_nir(prepared.graph, "the module"), prepared.time_steps
    reads, _ = partial_sums(graph, prepared.inputs.sums, steps)

    @cache
    def terms(name: str) -> int:
        """The most numbers that are added on the way to what a node sends, since the last exact ones."""
        operation = graph.nodes[name].operation
        return 0 if isinstance(operation, ops.Population | ops.Source) else read(name) + _terms(operation)

    def read(name: str) -> int:
        # Two more of each, for factors and means that the module multiplies by and the graph folds.
        sources = graph.nodes[name].sources
        return len(sources) + 2 + max(terms(source) for source in sources)

    found = {}
    for node in graph.populations:
        membrane, synapse = f"{node.name}.membrane", f"{node.name}.synapse"
        holder = membrane if membrane in graph.nodes else node.name
        entrance = synapse if synapse in graph.nodes else holder
        reach = reads[entrance].reach
        magnitude = float((reach.high - reach.low).max())
        current = read(entrance) * ROUNDING * magnitude
        if synapse in graph.nodes or isinstance(node.operation, ops.CubaLif):
            current = steps * (current + ROUNDED * ROUNDING * magnitude)
        threshold = float(np.max(np.abs(thresholds(prepared.graph.nodes[node.name]))))
        found[node.name] = _membrane_error(graph.nodes[holder].operation, threshold, current, magnitude, steps)
    return found


def _membrane_error(holder: ops.AnyOperation, threshold: float, current: float, magnitude: float, steps: int) -> float:
    match holder:
        case ops.If() | ops.Integrator():
            largest = steps * magnitude + threshold
            return float(steps * (current + ROUNDED * ROUNDING * largest))
        case ops.Lif() | ops.Li() | ops.CubaLif():
            resistance = float(np.max(np.abs(holder.gain)))
            largest = resistance * magnitude + float(np.max(np.abs(holder.leak))) + threshold
            return float(steps * (resistance * current + ROUNDED * ROUNDING * largest))
        case other:
            raise TypeError(f"{other.nir_name} has no membrane")


def _terms(operation: ops.AnyOperation) -> int:
    """The number of terms, products and bias, that an operation adds up for one output element."""
    match operation:
        case ops.Conv2d() | ops.Affine():
            return int(np.prod(operation.weight.shape[1:])) + 1
        case ops.SumPool2d():
            return int(np.prod(operation.kernel_size))
        case ops.Scale() | ops.SelfAttention():  # whose sums are of spikes, exact but for the factor
            return 1
        case ops.Delay() | ops.Sink() | ops.MaxPool2d():
            return 0
        case other:
            raise TypeError(f"{other.nir_name} is no sum")
