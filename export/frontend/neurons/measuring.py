"""Measures the equation of neurons: a module that takes currents to spikes is identified by the spikes that it sends.

The least current that makes a neuron fire in its first step is its threshold h (an input of 1 raises v by 1).  The
current that it needs in the second step, after one below h and after one above it, says which share k of v it keeps and
what a spike does to v:

    v = k v + x        a spike where v >= h (or v > h); then v = 0, or v = v - h, in this step or the next, or nothing

A measured equation is used only if the module sends exactly its spikes on random currents, below and far above h, of
the shape that the network gives it.  A module that sends spikes but fits no such equation is refused.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from export.frontend.neurons.equations import Neurons, Reset
from spikeclip.errors import RefusedInput

SCALES = (0.5, 1.5, 6.0)
"""Random currents that a reading is checked on, of their thresholds."""

BELOW, ABOVE = 0.75, 1.6180339887
"""Currents of the first step, of the threshold: the second tells resets apart for any k."""

TINY, LARGEST = 2.0**-20, 2.0**16
"""Between them thresholds are looked for: a comparison with 0 is a part of neurons."""

SMALL = 4
"""Elements along the axes of the tensors that a reading is made on; it is checked on whole ones."""


@dataclass(frozen=True)
class _Probe:
    """A module of the user's, run from rest.

    Attributes:
        module: the user's.
        shape: of what it reads in one call.
        time_axis: of `shape`; None for one call per time step.
        time_steps: T.
    """

    module: nn.Module
    shape: tuple[int, ...]
    time_axis: int | None
    time_steps: int

    @property
    def count(self) -> int:
        """Neurons and images."""
        size = torch.Size(self.shape).numel()
        return size if self.time_axis is None else size // self.time_steps

    def spikes(self, currents: Tensor) -> Tensor | None:
        """The spikes that currents `[T, count]` cause: bool `[T, count]`; None if the module returns anything else.

        Raises whatever the module raises.
        """
        own: Any = copy.deepcopy(self.module)
        if self.time_axis is None:
            found = [own(x) for x in currents.view(self.time_steps, *self.shape)]
            if not all(isinstance(y, Tensor) and y.shape == self.shape for y in found):
                return None
            sent = torch.stack(found)
        else:
            lead = list(self.shape)
            del lead[self.time_axis]
            sent = own(currents.view(self.time_steps, *lead).movedim(0, self.time_axis).contiguous())
            if not isinstance(sent, Tensor) or sent.shape != torch.Size(self.shape):
                return None
            sent = sent.movedim(self.time_axis, 0)
        sent = sent.reshape(self.time_steps, -1)
        return sent != 0 if bool(((sent == 0) | (sent == 1)).all()) else None

    def fires(self, *steps: Tensor | float) -> Tensor:
        """Whether the last of some currents, one step after the other from rest, makes a spike: bool `[n]`."""
        values = [torch.as_tensor(x, dtype=torch.float64).reshape(-1) for x in steps]
        size = max(len(value) for value in values)
        flat = torch.stack([value.expand(size) for value in values])
        results = []
        for start in range(0, size, self.count):
            part = flat[:, start : start + self.count]
            currents = torch.zeros(self.time_steps, self.count, dtype=torch.float64)
            currents[: len(steps), : part.shape[1]] = part
            sent = self.spikes(currents)
            if sent is None:
                raise _NoNeuron
            results.append(sent[len(steps) - 1, : part.shape[1]])
        return torch.cat(results)

    def least(self, *before: float, low: float, high: float) -> float:
        """The least current, in float64, that makes a spike behind others; `low` is silent, `high` fires."""
        if bool(self.fires(*before, low)[0]) or not bool(self.fires(*before, high)[0]):
            raise _NoNeuron
        while True:
            grid = torch.linspace(low, high, 66, dtype=torch.float64)[1:-1].clamp(low, high)
            grid = grid[(grid > low) & (grid < high)]
            if not len(grid):
                return high
            fired = self.fires(*before, grid)
            first = int(fired.int().argmax()) if bool(fired.any()) else len(grid)
            high = float(grid[first]) if first < len(grid) else high
            low = float(grid[first - 1]) if first else low


class _NoNeuron(Exception):
    """A module that is none of these neurons."""


def measured(module: nn.Module, path: str, shapes: list[tuple[int, ...]], time_steps: int) -> Neurons | None:
    """The equation of a module that is called on tensors of `shapes`; None of one that sends no spikes.

    Raises:
        RefusedInput: it sends spikes, but by no equation of those above.
    """
    refused = False
    for axis in _time_axes(shapes, time_steps):
        probe = _Probe(module, shapes[0], axis, time_steps)
        try:
            sent = probe.spikes(_random(probe, 2 ** torch.linspace(-6, 12, probe.count, dtype=torch.float64)))
            if sent is None or not bool(sent.any()) or bool(sent.all()):
                continue
            refused = True
            found = _parameters(_smaller(probe))
        except Exception:  # none of these neurons, or the user's own code on tensors that it isn't made for
            continue
        whole = (replace(probe, shape=shape) for shape in dict.fromkeys(shapes))
        if all(_same(each, found) for each in whole):
            return replace(found, multi_step=axis is not None, time_axis=axis or 0)
    if refused:
        raise RefusedInput(
            f"module {path!r} ({type(module).__name__}) sends spikes by no equation that is known here; expected a "
            "module that holds its membranes itself: v = k v + x, a spike where v reaches a threshold above 0, and "
            "then v = 0, v less the threshold, or neither"
        )
    return None


def _time_axes(shapes: list[tuple[int, ...]], time_steps: int) -> Iterator[int | None]:
    """Axes that may be time: the first, second or last one of a call; None where each time step is a call."""
    for axis in (0, 1, -1):
        if all(len(shape) > 1 and shape[axis] == time_steps for shape in shapes):
            yield axis
    if len(shapes) == time_steps and len(set(shapes)) == 1:
        yield None


def _random(probe: _Probe, scale: float | Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.rand(probe.time_steps, probe.count, dtype=torch.float64, generator=generator)
    return scale * 2 * (numbers - 0.4)


def _smaller(probe: _Probe) -> _Probe:
    """The same probe with a small tensor, if the module accepts one."""
    sizes = [min(n, SMALL) for n in probe.shape]
    if probe.time_axis is not None:
        sizes[probe.time_axis] = probe.time_steps
    small = replace(probe, shape=tuple(sizes))
    try:
        return probe if small.spikes(torch.zeros(probe.time_steps, small.count, dtype=torch.float64)) is None else small
    except Exception:  # the user's own code, which takes its own shape only
        return probe


def _parameters(probe: _Probe) -> Neurons:
    """The equation by what it takes to fire.

    Raises:
        _NoNeuron: it takes something else.
    """
    threshold = _clean(probe.least(low=0.0, high=LARGEST))
    if not threshold > TINY:
        raise _NoNeuron
    at_threshold = bool(probe.fires(threshold)[0])
    below, above = BELOW * threshold, ABOVE * threshold
    if probe.time_steps == 1:
        return Neurons(1.0, 1.0, threshold, Reset.HARD, at_threshold=at_threshold)
    reach = {"low": -4 * threshold, "high": 4 * threshold}
    kept = _clean((threshold - probe.least(below, **reach)) / below)
    if not 0 <= kept <= 1:
        raise _NoNeuron
    left = threshold - probe.least(above, **reach)
    resets = {
        Reset.HARD: 0.0,
        Reset.SOFT: kept * (above - threshold),
        Reset.SOFT_LATE: kept * above - threshold,
        Reset.NONE: kept * above,
    }
    fitting = [kind for kind, value in resets.items() if abs(left - value) < 1e-9 * threshold]
    if not fitting:
        raise _NoNeuron
    return Neurons(1 - kept, 1.0, threshold, fitting[0], at_threshold=at_threshold)


def _clean(value: float) -> float:
    """The decimal of ten digits that a number is but for rounding; the number itself where it is none."""
    short = float(f"{value:.10g}")
    return short if abs(value - short) <= 1e-13 * abs(value) or abs(value) < 1e-13 else value


def _same(probe: _Probe, neurons: Neurons) -> bool:
    """Whether a module sends the spikes of an equation, on random currents of three scales."""
    for scale in SCALES:
        currents = _random(probe, scale * neurons.threshold)
        sent = probe.spikes(currents)
        if sent is None or not torch.equal(sent, neurons.spikes(currents)):
            return False
    return True
